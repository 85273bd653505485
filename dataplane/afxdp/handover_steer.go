package afxdp

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// HandedSteering describes a Steering for another process. Its files go with it: the maps of addresses and rules, then
// for each interface the link, the sockets' map and the counters.
type HandedSteering struct {
	MaxServices int          `json:"max_services"`
	MaxQueues   int          `json:"max_queues"`
	Ports       []HandedPort `json:"ports"`
}

// HandedPort is an interface that the program is on.
type HandedPort struct {
	Interface Interface  `json:"interface"`
	Mode      AttachMode `json:"mode"`
}

// HandOver returns what another process needs to AdoptSteering. The program stays on the interfaces until both have
// closed it. The files are copies.
func (s *Steering) HandOver() (h HandedSteering, files []*os.File, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.MaxServices, h.MaxQueues = s.opts.MaxServices, s.opts.MaxQueues
	fds := []int{s.addrs.FD(), s.rules.FD()}
	for _, a := range s.attached {
		l, ok := a.link.(interface{ FD() int })
		if !ok {
			return h, nil, fmt.Errorf("hand over the program of %s: its link has no descriptor", a.Interface.Name)
		}
		h.Ports = append(h.Ports, HandedPort{a.Interface, a.Mode})
		fds = append(fds, l.FD(), a.objs.Xsks.FD(), a.objs.Counters.FD())
	}
	for _, fd := range fds {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			closeFiles(files)
			return h, nil, fmt.Errorf("hand over the steering program: %w", err)
		}
		files = append(files, os.NewFile(uintptr(own), "handed"))
	}
	return h, files, nil
}

// filesPerPort is what HandOver returns for each interface, after the first two.
const filesPerPort = 3

// AdoptSteering loads this binary's programs over the maps of another process, which goes on meanwhile: nothing changes
// until TakeOver. It takes the files.
func AdoptSteering(h HandedSteering, files []*os.File, o SteeringOptions) (s *Steering, err error) {
	defer closeFiles(files)
	if len(files) != 2+filesPerPort*len(h.Ports) {
		return nil, fmt.Errorf("take the steering program over: %d files for %d interfaces", len(files), len(h.Ports))
	}
	o.MaxServices, o.MaxQueues = h.MaxServices, h.MaxQueues
	s = &Steering{opts: o, applied: newRuleMaps(), attached: map[int]*Attachment{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("take the steering program over: %w", err), s.Close())
		}
	}()
	if s.addrs, err = mapOf(files[0]); err != nil {
		return s, err
	}
	if s.rules, err = mapOf(files[1]); err != nil {
		return s, err
	}
	for i, p := range h.Ports {
		if err = s.adopt(p, files[2+filesPerPort*i:]); err != nil {
			return s, err
		}
	}
	return s, nil
}

// TakeOver goes on with the rules as the other process left them, and replaces its programs, each in one step, so that
// no frame misses both.
func (s *Steering) TakeOver() (list []*Attachment, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(read(s.addrs, s.applied.addrs), read(s.rules, s.applied.rules)); err != nil {
		return nil, fmt.Errorf("read the steering rules: %w", err)
	}
	for _, a := range s.attached {
		if err := a.link.Update(a.objs.UlvsSteer); err != nil {
			return nil, fmt.Errorf("replace the program of %s: %w", a.Interface.Name, err)
		}
		list = append(list, a)
	}
	return list, nil
}

// adopt makes the attachment of one interface.
func (s *Steering) adopt(p HandedPort, files []*os.File) error {
	xsks, err := mapOf(files[1])
	if err != nil {
		return err
	}
	defer xsks.Close() // the program's objects have copies
	counters, err := mapOf(files[2])
	if err != nil {
		return err
	}
	defer counters.Close()
	objs, err := s.program(map[string]*ebpf.Map{steerMapXsks: xsks, steerMapCounters: counters})
	if err != nil {
		return err
	}
	a := &Attachment{Interface: p.Interface, Mode: p.Mode, s: s, objs: objs}
	fd, err := unix.FcntlInt(files[0].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		a.link, err = link.NewFromFD(fd)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("attachment to %s: %w", p.Interface.Name, err), objs.Close())
	}
	s.attached[p.Interface.Index] = a
	return nil
}

func mapOf(f *os.File) (*ebpf.Map, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return ebpf.NewMapFromFD(fd)
}

// read reads a kernel's map.
func read[K comparable](m *ebpf.Map, into map[K]uint32) error {
	var k K
	var v uint32
	it := m.Iterate()
	for it.Next(&k, &v) {
		into[k] = v
	}
	return it.Err()
}
