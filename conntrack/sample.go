package conntrack

import "math/bits"

// Dropper decides about conns that are not past their time, and hears what was deleted.
type Dropper interface {
	// Drops is called for a live conn. True: delete it.
	Drops(r Ref, e *Entry) bool
	Goner
}

// SampleChunk is how many entries one Sample looks at, at most.
const SampleChunk = 64

// Sample looks at one chunk of the table's entries, which random picks evenly, and
// deletes the conns that d drops. Called with enough random words it comes by every entry,
// in no order that a client could know (ip_vs_random_dropentry does so by hash chains).
func (h *Handle) Sample(random uint64, d Dropper) {
	n4, n6 := uint64(h.t.v4.high.Load()), uint64(h.t.v6.high.Load())
	chunks4, chunks6 := chunks(n4), chunks(n6)
	c, _ := bits.Mul64(random, chunks4+chunks6)
	s := sample{h, d}
	if c < chunks4 {
		s.narrow(c*SampleChunk, min((c+1)*SampleChunk, n4))
		return
	}
	c -= chunks4
	s.broad(c*SampleChunk, min((c+1)*SampleChunk, n6))
}

// SampleChunks returns how many chunks Sample picks from: looking at as many comes by an entry once, on
// average.
func (h *Handle) SampleChunks() int {
	return int(chunks(uint64(h.t.v4.high.Load())) + chunks(uint64(h.t.v6.high.Load())))
}

func chunks(entries uint64) uint64 { return (entries + SampleChunk - 1) / SampleChunk }

type sample struct {
	h *Handle
	d Dropper
}

func (s *sample) narrow(from, to uint64) {
	for i := from; i < to; i++ {
		s.look(Ref(i), &s.h.t.v4.narrow[i])
	}
}

func (s *sample) broad(from, to uint64) {
	for i := from; i < to; i++ {
		s.look(Ref(i)|refV6, &s.h.t.v6.broad[i].Entry)
	}
}

func (s *sample) look(r Ref, e *Entry) {
	if e.Live() && s.d.Drops(r, e) && s.h.Delete(r) {
		s.d.Gone(r, e)
	}
}
