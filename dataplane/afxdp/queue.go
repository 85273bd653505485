package afxdp

import (
	"math/bits"

	"ulvs/packet"
)

// Recv lends frames that arrived, up to len(frames), and returns how many; it
// never blocks. The ports take turns in being first. Chunks of sent frames are
// taken back and the fill rings refilled on the way.
func (s *Set) Recv(frames []packet.Frame) int {
	if s.closed.Load() {
		return 0
	}
	n := 0
	for i := range s.ports {
		s.ports[i].service()
	}
	for range s.ports {
		n += s.ports[s.next].recv(frames[n:])
		s.next++
		if s.next == len(s.ports) {
			s.next = 0
		}
	}
	if len(s.ports) > 1 { // after a whole round next is where it began
		s.next = (s.next + 1) % len(s.ports)
	}
	return n
}

// Send takes every frame and transmits it on Frame.Port, with one kick per port.
// It returns how many the rings took; the rest (a ring full even after a kick,
// a port that is gone or does not exist, a length of 0 or beyond the chunk)
// are free again and counted in Stats. Frames of one port leave in order.
func (s *Set) Send(frames []packet.Frame) int {
	if s.closed.Load() {
		return 0
	}
	s.sendSeq++
	sent := 0
	var ports uint64 // a bit for each port that has frames to flush
	for i := range frames {
		f := &frames[i]
		if s.send(f) {
			ports |= 1 << f.Port
			sent++
		}
	}
	for m := ports; m != 0; m &= m - 1 {
		s.ports[bits.TrailingZeros64(m)].flush()
	}
	return sent
}

// send enqueues one frame or frees it.
func (s *Set) send(f *packet.Frame) bool {
	i, ok := s.lent(f)
	if !ok {
		return false
	}
	if int(f.Port) < len(s.ports) && s.ports[f.Port].enqueue(i, f, s.sendSeq) {
		return true
	}
	s.umem.push(i)
	return false
}

// Release takes frames back unsent.
func (s *Set) Release(frames []packet.Frame) {
	if s.closed.Load() {
		return
	}
	for i := range frames {
		if c, ok := s.lent(&frames[i]); ok {
			s.umem.push(c)
		}
	}
}

// Alloc lends up to len(frames) empty frames (Len 0, Off Headroom, Port 0) and
// returns how many.
func (s *Set) Alloc(frames []packet.Frame) int {
	if s.closed.Load() {
		return 0
	}
	if len(s.umem.free) < len(frames) {
		for i := range s.ports {
			s.ports[i].service()
		}
	}
	n := min(len(frames), len(s.umem.free))
	for i := range n {
		c := s.umem.pop(ownerLent)
		frames[i] = packet.Frame{Buf: s.umem.chunk(c), Addr: uint64(c) << s.umem.shift, Off: Headroom}
	}
	return n
}

// lent returns the chunk of a frame that is with the worker. Anything else is
// a frame given back twice: refusing it here keeps one chunk from being in two
// places, and Stats counts it.
func (s *Set) lent(f *packet.Frame) (uint32, bool) {
	i, ok := s.umem.index(f.Addr)
	if ok && s.umem.owner[i] == ownerLent {
		return i, true
	}
	s.misused.Store(s.misused.Load() + 1)
	if s.opts.Debug {
		panic("afxdp: a frame was given back twice, or is not of this queue")
	}
	return 0, false
}
