package afxdp

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// teardown is how long a driver may still write into chunks of a zero-copy socket that was closed: the kernel gives its
// queue back later (xp_release_deferred).
const teardown = 2 * time.Second

// Add opens another interface's socket over the same memory and returns its port. The others keep theirs. The worker
// has stopped; the socket has to be registered with the program afterwards.
func (s *Set) Add(ifc Interface) (port int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.slot(ifc)
	if at == MaxPorts {
		return 0, fmt.Errorf("add %s: %d interfaces are the most", ifc.Name, MaxPorts)
	}
	sock, err := s.join(ifc)
	if err != nil {
		return 0, fmt.Errorf("add %s: %w", ifc.Name, err)
	}
	if at == len(s.ports) {
		s.opts.Interfaces = append(s.opts.Interfaces[:at:at], ifc)
		s.sockets = append(s.sockets, sock)
		s.addPort(&sock.rings, sock)
		s.info = append(s.info, PortInfo{})
		s.polls = append(s.polls[:at:at], unix.PollFd{Events: unix.POLLIN}, s.polls[len(s.polls)-1])
	} else {
		s.ports[at].reclaim()
		s.opts.Interfaces[at], s.sockets[at] = ifc, sock
		s.ports[at] = port0(&sock.rings, sock, s.umem, uint8(at))
	}
	s.polls[at].Fd = int32(sock.fd)
	info, err := s.inform(ifc, sock)
	if err != nil {
		return 0, errors.Join(err, s.remove(at))
	}
	s.info[at] = info
	s.share()
	s.ports[at].refill(false)
	return at, nil
}

// Remove closes a port's socket. The others keep theirs. The worker has stopped, and the program does not lead to the
// socket any more.
func (s *Set) Remove(port int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(port)
}

// remove does that. A driver may still write into the chunks of a zero-copy socket: those wait for Add.
func (s *Set) remove(port int) error {
	p := &s.ports[port]
	s.forget(port)
	err := s.sockets[port].close()
	p.dead, p.stalled, p.freeAt = true, false, time.Now()
	p.c.dead.Store(true)
	if s.info[port].ZeroCopy {
		p.freeAt = p.freeAt.Add(teardown)
	} else {
		p.reclaim()
	}
	s.share()
	return err
}

// slot returns where a new port goes: in the place of one that was removed, if no driver can have its chunks any more.
func (s *Set) slot(ifc Interface) int {
	for i := range s.ports {
		p := &s.ports[i]
		if p.removed() && (s.opts.Interfaces[i].Index == ifc.Index || !time.Now().Before(p.freeAt)) {
			return i
		}
	}
	return len(s.ports)
}

// join opens a socket that shares the memory of those that are there; of none, it registers it anew.
func (s *Set) join(ifc Interface) (*socket, error) {
	sa := &unix.SockaddrXDP{Ifindex: uint32(ifc.Index), QueueID: uint32(s.opts.Queue), Flags: unix.XDP_SHARED_UMEM}
	mem, other := s.mem, -1
	for i := range s.ports {
		if !s.ports[i].dead {
			mem, other = nil, s.sockets[i].fd
		}
	}
	if other < 0 {
		sa.Flags = bindFlags(len(s.info) > 0 && s.info[0].ZeroCopy)
	} else {
		sa.SharedUmemFD = uint32(other)
	}
	sock, err := openSocket(mem, s.opts.FrameSize, s.opts.RingSize)
	if err != nil {
		return nil, err
	}
	if err := sock.bind(sa); err != nil {
		return nil, errors.Join(err, sock.close())
	}
	return sock, nil
}

// share divides the chunks anew among the ports that are there.
func (s *Set) share() {
	n := 0
	for i := range s.ports {
		if !s.ports[i].dead {
			n++
		}
	}
	rx, tx := s.opts.sharesOf(max(n, 1))
	for i := range s.ports {
		s.ports[i].rxShare, s.ports[i].txShare = rx, tx
	}
}
