package afxdp

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Handed describes a Set for another process that goes on with its sockets, whose queues fill meanwhile. The files
// that Set.HandOver returns go with it.
type Handed struct {
	Options Options `json:"options"`
	Owners  []byte  `json:"owners"`         // by chunk
	Gone    []int   `json:"gone,omitempty"` // ports whose sockets were removed
}

// Below are the interfaces whose sockets go over, in the order of the files.
func (h *Handed) Below() (list []Interface) {
	for i, ifc := range h.Options.Interfaces {
		if !slices.Contains(h.Gone, i) {
			list = append(list, ifc)
		}
	}
	return list
}

// HandOver returns what another process needs to Adopt the Set. The worker has stopped; this process keeps its sockets
// until Close, and may go on with them as long as the other one has not touched them (Same). The files are copies: the
// memory, then a socket for each port that has one.
func (s *Set) HandOver() (Handed, []*os.File, error) {
	h := Handed{Options: s.opts, Owners: make([]byte, len(s.umem.owner))}
	h.Options.Log = nil
	for i, o := range s.umem.owner {
		h.Owners[i] = byte(o)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var files []*os.File
	for i := range s.ports {
		if s.ports[i].removed() {
			h.Gone = append(h.Gone, i)
		}
	}
	for _, fd := range append([]int{int(s.file.Fd())}, s.fds()...) {
		if fd < 0 {
			continue // it is in Gone
		}
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			closeFiles(files)
			return h, nil, fmt.Errorf("hand over queue %d: %w", s.opts.Queue, err)
		}
		files = append(files, os.NewFile(uintptr(own), "handed"))
	}
	return h, files, nil
}

func (s *Set) fds() (fds []int) {
	for _, sock := range s.sockets {
		fds = append(fds, sock.fd)
	}
	return fds
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Same reports whether the rings are where this process left them: nobody else has touched our ends of them.
func (s *Set) Same() bool {
	for i := range s.ports {
		if r := s.ports[i].rings; r.fill.prod != nil && (*r.fill.prod != r.fill.next || *r.tx.prod != r.tx.next ||
			*r.rx.cons != r.rx.next || *r.completion.cons != r.completion.next) {
			return false
		}
	}
	return true
}

// Adopt goes on with the sockets of another process, which has stopped using them. It takes the files.
func Adopt(h Handed, files []*os.File, log *slog.Logger) (*Set, error) {
	s, err := adopt(h, files, log)
	if err != nil {
		closeFiles(files)
		return nil, fmt.Errorf("take over AF_XDP queue %d: %w", h.Options.Queue, err)
	}
	return s, nil
}

func adopt(h Handed, files []*os.File, log *slog.Logger) (*Set, error) {
	o := h.Options
	o.Log = log
	if err := o.normalize(); err != nil {
		return nil, err
	}
	if n := len(h.Below()); len(h.Owners) != o.Frames || len(files) != n+1 {
		return nil, fmt.Errorf("%d chunks and %d files of %d frames and %d interfaces", len(h.Owners), len(files), o.Frames,
			n)
	}
	mem, err := mapShared(files[0], o.Frames*o.FrameSize)
	if err != nil {
		return nil, fmt.Errorf("map the UMEM: %w", err)
	}
	s := newSet(o, mem)
	s.mem, s.file = mem, files[0]
	s.umem.adopt(h.Owners, len(o.Interfaces))
	if err := s.adoptSockets(h.Gone, files[1:]); err != nil {
		s.file = nil
		return nil, errors.Join(err, s.closeSockets(), s.closeWake(), unix.Munmap(mem))
	}
	return s, nil
}

func (s *Set) adoptSockets(gone []int, files []*os.File) error {
	if err := s.setup(); err != nil {
		return err
	}
	rest := files
	for i := range s.opts.Interfaces {
		if slices.Contains(gone, i) {
			s.adoptGone(i)
			continue
		}
		if err := s.adoptSocket(i, rest[0]); err != nil {
			return err
		}
		rest = rest[1:]
	}
	s.share()
	s.watch(s.fds())
	closeFiles(files)
	return nil
}

func (s *Set) adoptSocket(i int, f *os.File) error {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	sock := &socket{fd: fd}
	s.sockets = append(s.sockets, sock)
	if err := sock.mapRings(s.opts.RingSize); err != nil {
		return err
	}
	sock.resume()
	s.addPort(&sock.rings, sock)
	s.ports[i].resume()
	return s.describe(i, sock)
}

// adoptGone has a removed port's place and chunks wait for Add, as Remove does.
func (s *Set) adoptGone(i int) {
	sock := &socket{fd: -1}
	s.sockets = append(s.sockets, sock)
	s.addPort(&sock.rings, sock)
	ifc := s.opts.Interfaces[i]
	s.info = append(s.info, PortInfo{Name: ifc.Name, Index: ifc.Index, Queue: s.opts.Queue})
	p := &s.ports[i]
	p.dead, p.freeAt = true, time.Now().Add(teardown)
	p.c.dead.Store(true)
}

// adopt takes chunks as another process had them. What was lent to its worker is free again.
func (u *umem) adopt(owners []byte, ports int) {
	u.free = u.free[:0]
	for i, o := range owners {
		u.owner[i] = chunkOwner(o)
		if o := chunkOwner(o); o < ownerPort || o >= rxOwner(uint8(ports)) {
			u.push(uint32(i))
		}
	}
}

// resume has our ends of the rings where they were left in the memory shared with the kernel.
func (r *rings) resume() {
	r.fill.next, r.fill.consumed = *r.fill.prod, *r.fill.cons
	r.tx.next, r.tx.consumed = *r.tx.prod, *r.tx.cons
	r.rx.next, r.rx.produced = *r.rx.cons, *r.rx.cons
	r.completion.next, r.completion.produced = *r.completion.cons, *r.completion.cons
}

// resume counts what the port has in its rings.
func (p *port) resume() {
	for _, o := range p.u.owner {
		switch o {
		case rxOwner(p.id):
			p.inRX++
		case txOwner(p.id):
			p.inTX++
		}
	}
	p.c.inRX.Store(uint64(p.inRX))
	p.c.inTX.Store(uint64(p.inTX))
	p.stalled = p.tx.pending() > 0
}
