package afxdp

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/asavie/xdp"
	"golang.org/x/sys/unix"

	"ulvs/packet"
)

// AsavieSet is a Set on the sockets of github.com/asavie/xdp v0.3.3 (io =
// "asavie"): the same methods, the same steering, another socket layer.
//
// Its limits against Set: every interface has a UMEM of its own and its TX
// chunks are set apart, so each frame sent is copied once more; bind flags are the
// kernel's choice (no Mode, no need_wakeup, no huge pages); on amd64 only,
// because the library's rings have no barriers. The library's Program, Attach
// and Detach are never used. What else it lacks is made up for here: kick (32
// frames per call), transmit (panics) and closeAsavie (rings left mapped).
type AsavieSet struct {
	waiter
	opts  Options
	ports []*asaviePort
	info  []PortInfo
	next  int
}

// OpenAsavie opens queue Options.Queue of every interface. Options.Frames is
// shared out among them. Mode must be ModeAuto.
func OpenAsavie(o Options) (*AsavieSet, error) {
	if err := o.normalize(); err != nil {
		return nil, fmt.Errorf("open AF_XDP (asavie): %w", err)
	}
	if runtime.GOARCH != "amd64" {
		return nil, errors.New("open AF_XDP (asavie): its rings need the memory order of amd64, use the own backend")
	}
	if o.Mode != ModeAuto {
		return nil, fmt.Errorf("open AF_XDP (asavie): mode %s cannot be chosen, only auto", o.Mode)
	}
	s := &AsavieSet{waiter: waiter{wakeFD: -1}, opts: o}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open AF_XDP (asavie) queue %d: %w", o.Queue, err), s.free())
	}
	return s, nil
}

func (s *AsavieSet) open() error {
	if err := s.setup(); err != nil {
		return err
	}
	frames := 1
	for frames*2*len(s.opts.Interfaces) <= s.opts.Frames {
		frames *= 2
	}
	s.ports = make([]*asaviePort, 0, len(s.opts.Interfaces))
	fds := make([]int, 0, len(s.opts.Interfaces)+1)
	for i, ifc := range s.opts.Interfaces {
		sock, err := openAsavieSocket(ifc, &s.opts, frames)
		if err != nil {
			return fmt.Errorf("%s: %w", ifc.Name, err)
		}
		s.ports = append(s.ports, newAsaviePort(uint8(i), sock, &s.opts, frames))
		s.ports[i].refill()
		fds = append(fds, sock.FD())
		s.describe(i, sock)
	}
	s.watch(fds)
	return nil
}

// openAsavieSocket opens one socket. The library forgets to unmap when it
// fails, so whether the queue is free is found out with a socket of our own.
func openAsavieSocket(ifc Interface, o *Options, frames int) (*xdp.Socket, error) {
	if err := probe(ifc, o.Queue); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		time.Sleep(bindPause) // the probe's socket is going away
		sock, err := xdp.NewSocket(ifc.Index, o.Queue, &xdp.SocketOptions{
			NumFrames: frames, FrameSize: o.FrameSize, FillRingNumDescs: o.RingSize,
			CompletionRingNumDescs: o.RingSize, RxRingNumDescs: o.RingSize, TxRingNumDescs: o.RingSize,
		})
		busy := err != nil && strings.Contains(err.Error(), unix.EBUSY.Error()) // it does not wrap
		if !busy || try == bindTries {
			return sock, err
		}
	}
}

// probe binds the queue with a small socket and lets it go.
func probe(ifc Interface, queue int) error {
	mem, file, err := mapUMEM(minRing, DefaultFrameSize, false, nil)
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(unix.Munmap(mem), file.Close()) }()
	sock, err := openSocket(mem, DefaultFrameSize, minRing)
	if err != nil {
		return err
	}
	return errors.Join(sock.bind(&unix.SockaddrXDP{Ifindex: uint32(ifc.Index), QueueID: uint32(queue)}), sock.close())
}

// describe sets the budget, reads back the mode and logs both.
func (s *AsavieSet) describe(i int, x *xdp.Socket) {
	own := socket{fd: x.FD()} // for the options of the same descriptor
	zc, err := own.zeroCopy()
	p := PortInfo{Name: s.opts.Interfaces[i].Name, Index: s.opts.Interfaces[i].Index, Queue: s.opts.Queue, ZeroCopy: zc}
	p.Budget = own.setBudget(s.opts.TXBudget)
	s.info = append(s.info, p)
	s.opts.Log.Info("AF_XDP socket open (asavie)", "interface", p.Name, "queue", p.Queue,
		"zerocopy", p.ZeroCopy, "tx_budget", p.Budget, "err", err)
}

// Info describes the ports, in the order of Frame.Port.
func (s *AsavieSet) Info() []PortInfo { return append([]PortInfo(nil), s.info...) }

// FD returns the socket of a port, for Steering.Register; -1 for an unknown
// port or after Close.
func (s *AsavieSet) FD(port int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() || port < 0 || port >= len(s.ports) {
		return -1
	}
	return s.ports[port].sock.FD()
}

// Recv is that of Set.
func (s *AsavieSet) Recv(frames []packet.Frame) int {
	if s.closed.Load() {
		return 0
	}
	n := 0
	for i := range s.ports {
		s.ports[i].service()
		n += s.ports[(s.next+i)%len(s.ports)].recv(frames[n:])
	}
	s.next = (s.next + 1) % len(s.ports)
	return n
}

// Send is that of Set, with a copy into a chunk of the port's own.
func (s *AsavieSet) Send(frames []packet.Frame) int {
	if s.closed.Load() {
		return 0
	}
	sent := 0
	for i := range frames {
		f := &frames[i]
		if int(f.Port) < len(s.ports) && s.ports[f.Port].copyOut(f) {
			sent++
		}
	}
	for i := range s.ports {
		s.ports[i].flush()
	}
	s.Release(frames)
	return sent
}

// Release takes frames back unsent.
func (s *AsavieSet) Release(frames []packet.Frame) {
	if s.closed.Load() {
		return
	}
	for i := range frames {
		s.release(&frames[i])
	}
}

// release frees the chunk of one frame; a frame that is not lent is counted.
func (s *AsavieSet) release(f *packet.Frame) {
	if home := f.Addr >> asavieShift; home < uint64(len(s.ports)) {
		p := s.ports[home]
		if c, ok := p.u.index(f.Addr & (1<<asavieShift - 1)); ok && p.u.owner[c] == ownerLent {
			p.u.push(c)
			return
		}
	}
	bump(&s.ports[0].misused, 1)
	if s.opts.Debug {
		panic("afxdp: a frame was given back twice, or is not of this queue")
	}
}

// Alloc is that of Set; the frames are the first port's.
func (s *AsavieSet) Alloc(frames []packet.Frame) int {
	if s.closed.Load() {
		return 0
	}
	p := s.ports[0]
	n := min(len(frames), len(p.u.free))
	for i := range n {
		c := p.u.pop(ownerLent)
		frames[i] = packet.Frame{Buf: p.u.chunk(c), Addr: uint64(c) << p.u.shift, Off: Headroom}
	}
	return n
}

// Wait is that of Set.
func (s *AsavieSet) Wait(timeout time.Duration) error { return s.wait(timeout, s.failed) }

func (s *AsavieSet) failed() error {
	for i := range s.ports {
		p := s.ports[i]
		if !s.live(i) {
			continue
		}
		own := socket{fd: p.sock.FD()}
		if errno := own.pendingError(); errno != 0 {
			p.fail()
			s.forget(i)
			return &PortError{Port: i, Name: s.opts.Interfaces[i].Name, Err: errno}
		}
	}
	return nil
}

// Close is that of Set.
func (s *AsavieSet) Close() error {
	if !s.end() {
		return nil
	}
	return s.free()
}

func (s *AsavieSet) free() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := []error{s.closeWake()}
	for i := range s.ports {
		errs = append(errs, closeAsavie(s.ports[i].sock))
	}
	return errors.Join(errs...)
}
