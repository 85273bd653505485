package afxdp

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Set is one worker's I/O: a socket on one queue of every interface, over one
// UMEM. Every chunk of that is always in exactly one place: free, lent to the
// worker, or in the receive or the transmit rings of one port; Account counts
// them.
//
// Recv, Send, Release, Alloc, Wait and Account belong to one goroutine. Wake,
// Close, Info, Stats and FD may be called from any; Close during a Wait ends
// it, and must not overlap the others.
type Set struct {
	waiter
	opts    Options
	umem    *umem
	mem     []byte   // the mapping; nil in tests on heap memory
	file    *os.File // whose it is
	ports   []port
	sockets []*socket
	info    []PortInfo

	next    int    // port that Recv looks at first
	sendSeq uint32 // numbers the Sends
	misused atomic.Uint64
}

// PortInfo is what one port got.
type PortInfo struct {
	Name       string
	Index      int // ifindex
	Queue      int
	ZeroCopy   bool // as read back from the socket
	NeedWakeup bool
	Budget     int // frames per kick in copy mode
	// Fallback says why frames are copied although zero-copy was granted; empty: they are not, or it was not.
	Fallback string
}

// Open makes the sockets and fills their rings. The program should be attached
// to the interfaces already, and the sockets be registered with it afterwards
// (Steering.Register with FD).
//
// All ports of a Set share the UMEM and so the mode: in ModeAuto one driver
// without zero-copy makes all of them copy. A queue that is in use is waited
// for about five seconds, then the error is EBUSY; EINVAL means that the interface
// has no such queue.
func Open(o Options) (*Set, error) {
	if err := o.normalize(); err != nil {
		return nil, fmt.Errorf("open AF_XDP: %w", err)
	}
	mem, file, err := mapUMEM(o.Frames, o.FrameSize, o.HugePages, o.Log)
	if err != nil {
		return nil, fmt.Errorf("open AF_XDP: %w", err)
	}
	s := newSet(o, mem)
	s.mem, s.file = mem, file
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open AF_XDP queue %d: %w", o.Queue, err), s.unmap())
	}
	return s, nil
}

// newSet makes a Set over mem without ports.
func newSet(o Options, mem []byte) *Set {
	return &Set{waiter: waiter{wakeFD: -1}, opts: o, umem: newUMEM(mem, o.FrameSize)}
}

func (s *Set) open() error {
	if err := s.setup(); err != nil {
		return err
	}
	if err := s.openSockets(); err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	if s.allZeroCopy() {
		if err := s.tryOut(s.selfTest(linkOf, patience())); err != nil {
			return err
		}
	}
	s.watch(s.fds())
	return nil
}

// begin makes ports of the sockets and fills their rings.
func (s *Set) begin() error {
	for i, sock := range s.sockets {
		s.addPort(&sock.rings, sock)
		if err := s.describe(i, sock); err != nil {
			return err
		}
	}
	for i := range s.ports {
		s.ports[i].refill(false)
	}
	return nil
}

// tryOut heeds what a self-test came to: who insists on zero-copy gets the error, others copies.
func (s *Set) tryOut(result error) error {
	if result == nil || s.opts.Mode == ModeZeroCopy {
		return result
	}
	return s.fallBack(result)
}

// openSockets opens and binds in the modes that Options allows.
func (s *Set) openSockets() error {
	if s.opts.Mode != ModeAuto {
		return s.openAs(s.opts.Mode)
	}
	err := s.openAs(ModeZeroCopy)
	if err == nil || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		return err
	}
	s.opts.Log.Info("no zero-copy, using copy mode", "queue", s.opts.Queue, "err", err)
	return s.openAs(ModeCopy)
}

// openAs opens all sockets in one mode, or none.
func (s *Set) openAs(mode Mode) error {
	for i, ifc := range s.opts.Interfaces {
		mem := s.mem
		if i > 0 {
			mem = nil
		}
		sock, err := openSocket(mem, s.opts.FrameSize, s.opts.RingSize)
		if err == nil {
			s.sockets = append(s.sockets, sock)
			err = sock.bind(s.address(i, mode))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s (%s): %w", ifc.Name, mode, err), s.closeSockets())
		}
	}
	return nil
}

// address is what port i binds to. The first decides the mode, the others share
// its UMEM and, as the kernel wants it, its flags.
func (s *Set) address(i int, mode Mode) *unix.SockaddrXDP {
	sa := &unix.SockaddrXDP{Ifindex: uint32(s.opts.Interfaces[i].Index), QueueID: uint32(s.opts.Queue)}
	switch {
	case i > 0:
		sa.Flags, sa.SharedUmemFD = unix.XDP_SHARED_UMEM, uint32(s.sockets[0].fd)
	default:
		sa.Flags = bindFlags(mode == ModeZeroCopy)
	}
	return sa
}

func bindFlags(zeroCopy bool) uint16 {
	if zeroCopy {
		return unix.XDP_ZEROCOPY | unix.XDP_USE_NEED_WAKEUP
	}
	return unix.XDP_COPY | unix.XDP_USE_NEED_WAKEUP
}

// addPort adds a port over r.
func (s *Set) addPort(r *rings, k kernel) {
	s.ports = append(s.ports, port0(r, k, s.umem, uint8(len(s.ports))))
	p := &s.ports[len(s.ports)-1]
	p.rxShare, p.txShare = s.opts.sharesOf(len(s.opts.Interfaces))
}

// port0 is a port before it has its share of the chunks.
func port0(r *rings, k kernel, u *umem, id uint8) port { return port{rings: r, k: k, u: u, id: id} }

// describe reads back what port i got, and logs it.
func (s *Set) describe(i int, sock *socket) error {
	p, err := s.inform(s.opts.Interfaces[i], sock)
	if err == nil {
		s.info = append(s.info, p)
	}
	return err
}

func (s *Set) inform(ifc Interface, sock *socket) (p PortInfo, err error) {
	zc, err := sock.zeroCopy()
	if err != nil {
		return p, err
	}
	p = PortInfo{Name: ifc.Name, Index: ifc.Index, Queue: s.opts.Queue, ZeroCopy: zc, NeedWakeup: true}
	p.Budget = sock.setBudget(s.opts.TXBudget)
	s.opts.Log.Info("AF_XDP socket open", "interface", p.Name, "queue", p.Queue, "zerocopy", p.ZeroCopy,
		"need_wakeup", p.NeedWakeup, "tx_budget", p.Budget, "frames", s.opts.Frames, "ring", s.opts.RingSize)
	return p, nil
}

// Info describes the ports, in the order of Frame.Port.
func (s *Set) Info() []PortInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]PortInfo(nil), s.info...)
}

// FD returns the socket of a port, for Steering.Register; -1 for an unknown
// port or after Close.
func (s *Set) FD(port int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if port < 0 || port >= len(s.sockets) {
		return -1
	}
	return s.sockets[port].fd
}

// Close ends a Wait, closes the sockets and unmaps rings and UMEM: frames still
// lent must not be touched any more. The queues can be opened again at once.
// A second Close does nothing.
func (s *Set) Close() error {
	if !s.end() {
		return nil
	}
	return s.unmap()
}

// unmap frees everything Open made.
func (s *Set) unmap() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := []error{s.closeSockets(), s.closeWake()}
	if s.mem != nil {
		errs = append(errs, unix.Munmap(s.mem), s.file.Close())
		s.mem, s.file = nil, nil
	}
	return errors.Join(errs...)
}

func (s *Set) closeSockets() error {
	var errs []error
	for _, sock := range s.sockets {
		errs = append(errs, sock.close())
	}
	s.sockets = nil
	return errors.Join(errs...)
}
