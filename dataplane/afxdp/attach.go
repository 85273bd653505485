package afxdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Interface is a network interface of this namespace.
type Interface struct {
	Name  string
	Index int // ifindex
}

// AttachMode is where in the kernel the program runs.
type AttachMode uint8

const (
	AttachAuto    AttachMode = iota // native, or generic where the driver refuses
	AttachNative                    // in the driver
	AttachGeneric                   // after the skb is made: any driver, slower
)

// String names m as the configuration does.
func (m AttachMode) String() string {
	switch m {
	case AttachNative:
		return "native"
	case AttachGeneric:
		return "generic"
	}
	return "auto"
}

// ErrInterfaceBusy says that another XDP program is on the interface. The
// error around it names the program and, where it can be found, its process.
var ErrInterfaceBusy = errors.New("interface already has an XDP program")

// Attachment is the steering program on one interface. It lasts until Close,
// or until the process dies: the kernel then detaches it by itself.
type Attachment struct {
	// Interface is the one attached to.
	Interface Interface
	// Mode is what was got: AttachNative or AttachGeneric.
	Mode AttachMode

	s    *Steering
	objs *steerObjects
	link link.Link
}

// Attach puts the program on the interface, where it passes everything until
// rules are Set and sockets registered. Attach before sockets are opened:
// some drivers bind zero-copy sockets only below a program. The error is
// ErrInterfaceBusy when somebody else's program is there, and the kernel's
// otherwise (ERANGE: the MTU is too big for native XDP).
func (s *Steering) Attach(i Interface, mode AttachMode) (*Attachment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached[i.Index] != nil {
		return nil, fmt.Errorf("attach to %s: %w: this ulvs itself", i.Name, ErrInterfaceBusy)
	}
	objs, err := s.program(nil)
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", i.Name, err)
	}
	a := &Attachment{Interface: i, s: s, objs: objs}
	if err := a.attach(mode); err != nil {
		objs.Close()
		return nil, fmt.Errorf("attach to %s (%s): %w", i.Name, mode, err)
	}
	s.attached[i.Index] = a
	return a, nil
}

// attach tries the modes that mode allows.
func (a *Attachment) attach(mode AttachMode) error {
	if mode != AttachAuto {
		return a.tryMode(mode)
	}
	err := a.tryMode(AttachNative)
	if err == nil || errors.Is(err, ErrInterfaceBusy) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		return err
	}
	if generic := a.tryMode(AttachGeneric); generic != nil {
		return fmt.Errorf("native: %w; generic: %w", err, generic)
	}
	return nil
}

func (a *Attachment) tryMode(mode AttachMode) error {
	flags := link.XDPDriverMode
	if mode == AttachGeneric {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: a.objs.UlvsSteer, Interface: a.Interface.Index, Flags: flags})
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %s", ErrInterfaceBusy, holder(a.Interface.Index))
	}
	if err != nil {
		return err
	}
	a.link, a.Mode = l, mode
	return nil
}

// Close takes the program off the interface.
func (a *Attachment) Close() error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.attached[a.Interface.Index] != a {
		return nil
	}
	delete(a.s.attached, a.Interface.Index)
	return errors.Join(a.link.Close(), a.objs.Close())
}

// Register makes the socket fd the one that gets the frames of the interface's
// RX queue; it must be bound to that very queue, or the kernel drops what is
// redirected to it. Closing the socket takes it out again.
func (s *Steering) Register(ifindex, queue, fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.attached[ifindex]
	if a == nil {
		return fmt.Errorf("register queue %d: interface %d has no steering program", queue, ifindex)
	}
	if err := a.objs.Xsks.Put(uint32(queue), uint32(fd)); err != nil {
		return fmt.Errorf("register queue %d of %s: %w", queue, a.Interface.Name, err)
	}
	return nil
}

// Unregister gives the queue's frames back to the kernel. An unknown
// interface or queue is not an error.
func (s *Steering) Unregister(ifindex, queue int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.attached[ifindex]
	if a == nil {
		return nil
	}
	err := a.objs.Xsks.Delete(uint32(queue))
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("unregister queue %d of %s: %w", queue, a.Interface.Name, err)
	}
	return nil
}

// SteerStats counts the frames one interface's program saw. Seen is the sum of
// the others, give or take frames in flight.
type SteerStats struct {
	Seen      uint64 // all frames
	Passed    uint64 // not ours: the kernel's
	NoSocket  uint64 // ours, but no socket on that queue: passed to the kernel
	Service   uint64 // to a service
	Reply     uint64 // from a NAT real server
	Fragment  uint64 // later fragments
	ICMP      uint64 // errors about our packets
	VIP       uint64 // to addresses held in userspace
	Neighbour uint64 // ARP, NS and NA for those
	Probe     uint64 // answers to health checks down the real path
}

// Stats sums the program's counters over the CPUs.
func (a *Attachment) Stats() (SteerStats, error) {
	var n [10]uint64
	for i := range n {
		var perCPU []uint64
		if err := a.objs.Counters.Lookup(uint32(i), &perCPU); err != nil {
			return SteerStats{}, fmt.Errorf("read the steering counters of %s: %w", a.Interface.Name, err)
		}
		for _, v := range perCPU {
			n[i] += v
		}
	}
	return SteerStats{
		Passed: n[0], Service: n[1], Reply: n[2], Fragment: n[3], ICMP: n[4],
		VIP: n[5], Neighbour: n[6], Probe: n[7], Seen: n[8], NoSocket: n[9],
	}, nil
}
