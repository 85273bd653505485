package dataplane

import (
	"sync/atomic"
	"time"

	"ulvs/internal/ring"
	"ulvs/packet"
)

// tapBytes is what a capture keeps of one worker's frames until they are read: a tenth of a second at 500 Mbit/s.
const tapBytes = 8 << 20

// Sizes of a Tap's copies, in bytes of a frame.
const (
	MinSnaplen = 64
	MaxSnaplen = 16384
)

// TapFilter chooses frames. Match is called by all workers at once, and must not allocate. wire is the frame's length.
type TapFilter interface {
	Match(b []byte, wire int) bool
}

// Tap is a capture that runs: workers copy the frames that its filter takes into rings that a reader empties. They
// never wait: what finds its ring full is counted. While no Tap is set a batch costs a load and two branches.
type Tap struct {
	filter  TapFilter
	snaplen int
	drops   bool
	rings   []tapRing // by worker
}

// TapFrame is a copy of a frame, without its bytes.
type TapFrame struct {
	Time    time.Duration // the worker's clock
	Wire    uint16        // bytes of the frame
	Len     uint16        // bytes that were copied
	Port    uint8         // it arrived on, or leaves by
	Worker  uint8
	Sent    bool // as it was sent; else as it arrived, or was dropped
	Piece   bool // a fragment that was sent in a packet's place
	Again   bool // it had arrived before, and was held
	Verdict Verdict
	at      uint32
}

// Held reports whether the frame waits for its next hop: it meets its fate later.
func (f *TapFrame) Held() bool { return f.Verdict == hold }

// tapRing is one worker's.
type tapRing struct {
	*ring.SPSC[TapFrame]
	data    []byte
	claimed uint64
	mask    uint64
	taken   [256]atomic.Uint64 // by port
	lost    [256]atomic.Uint64
}

// NewTap makes a Tap for workers 0 to workers-1. Snaplen is how many bytes of a frame are copied at most; with
// drops only frames are taken that are given up.
func NewTap(filter TapFilter, workers, snaplen int, drops bool) *Tap {
	snaplen = min(max(snaplen, MinSnaplen), MaxSnaplen)
	slots := 2 * BatchSize
	for 2*slots*snaplen <= tapBytes {
		slots *= 2
	}
	t := &Tap{filter: filter, snaplen: snaplen, drops: drops, rings: make([]tapRing, workers)}
	for i := range t.rings {
		t.rings[i].SPSC, t.rings[i].data = ring.New[TapFrame](slots), make([]byte, slots*snaplen)
		t.rings[i].mask = uint64(slots - 1)
	}
	return t
}

// Read calls fn for the frames of a worker that are there, in order, at most limit, until fn returns false. The bytes
// are good during the call only. One goroutine at a time reads a worker's. It returns how many frames it passed.
func (t *Tap) Read(worker, limit int, fn func(*TapFrame, []byte) bool) (n int) {
	r := &t.rings[worker]
	frames := r.Peek(limit)
	for n < len(frames) {
		f := &frames[n]
		n++
		if f.Again && f.Held() {
			continue // it waits on: nothing new
		}
		if !fn(f, r.data[f.at:f.at+uint32(f.Len)]) {
			break
		}
	}
	r.Release(n)
	return n
}

// Workers is how many workers' frames there are.
func (t *Tap) Workers() int { return len(t.rings) }

// Counts returns how many frames the filter took on a port, and how many of those were lost since a ring was full.
func (t *Tap) Counts(port uint8) (taken, lost uint64) {
	for i := range t.rings {
		taken += t.rings[i].taken[port].Load()
		lost += t.rings[i].lost[port].Load()
	}
	return taken, lost
}

// add copies a frame into the ring; nil when it is full.
func (t *Tap) add(worker int, f *packet.Frame) *TapFrame {
	r := &t.rings[worker]
	r.taken[f.Port].Add(1)
	slot := r.Claim()
	if slot == nil {
		r.lost[f.Port].Add(1)
		return nil
	}
	at := int(r.claimed&r.mask) * t.snaplen
	r.claimed++
	b := f.Bytes()
	n := copy(r.data[at:at+t.snaplen], b)
	*slot = TapFrame{Wire: f.Len, Len: uint16(n), Port: f.Port, Worker: uint8(worker), at: uint32(at)}
	return slot
}

func (t *Tap) takes(f *packet.Frame) bool { return t.filter.Match(f.Bytes(), int(f.Len)) }

// tapReceived copies what arrived before anything is rewritten. The verdicts follow in tapVerdicts.
func (w *Worker) tapReceived(frames []packet.Frame) {
	w.nTapped = len(frames)
	for i := range frames {
		w.tapped[i] = nil
		if w.tap.drops || !w.tap.takes(&frames[i]) {
			continue
		}
		if w.tapped[i] = w.tap.add(w.id, &frames[i]); w.tapped[i] != nil {
			w.tapped[i].Time, w.tapped[i].Again = w.clock, w.retrying
		}
	}
}

// tapVerdicts completes the copies of a batch, and adds what is about to be sent: what the filter takes as it is
// now, and what it took when it arrived.
func (w *Worker) tapVerdicts(frames []packet.Frame) {
	for i := range frames {
		v := w.verdicts[i] &^ inPieces
		var arrived *TapFrame
		if i < w.nTapped {
			arrived = w.tapped[i]
		}
		if arrived != nil {
			arrived.Verdict = v
		}
		switch {
		case w.tap.drops && v.IsDrop() && w.tap.takes(&frames[i]):
			w.tapOne(&frames[i], TapFrame{Verdict: v})
		case !w.tap.drops && v.IsTx() && w.verdicts[i]&inPieces == 0 && (arrived != nil || w.tap.takes(&frames[i])):
			w.tapOne(&frames[i], TapFrame{Verdict: v, Sent: true})
		}
	}
	w.nTapped = 0
	w.tap.rings[w.id].Publish()
}

// tapOne copies a frame; of like the kind of it, and the verdict.
func (w *Worker) tapOne(f *packet.Frame, like TapFrame) {
	if slot := w.tap.add(w.id, f); slot != nil {
		slot.Time, slot.Verdict, slot.Sent, slot.Piece = w.clock, like.Verdict, like.Sent, like.Piece
	}
}

// tapPieces adds the fragments that are about to be sent.
func (w *Worker) tapPieces() {
	for i := range w.pieces[:w.nPieces] {
		if f := &w.pieces[i]; !w.tap.drops && w.tap.takes(f) {
			w.tapOne(f, TapFrame{Sent: true, Piece: true})
		}
	}
	w.tap.rings[w.id].Publish()
}

// tapLate adds a held frame that is given up.
func (w *Worker) tapLate(f *packet.Frame) {
	if w.tap.takes(f) {
		w.tapOne(f, TapFrame{Verdict: DropNeighbour})
		w.tap.rings[w.id].Publish()
	}
}
