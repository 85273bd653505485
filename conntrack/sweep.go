package conntrack

// Sweeper decides about conns whose time is over.
type Sweeper interface {
	// Expired is called for a live conn past its time. True: delete it. False: it was renewed (Touch).
	Expired(r Ref, e *Entry) bool
}

// Goner is a Sweeper that wants to know what was deleted: Gone is called once for each conn
// that Advance deleted, by the worker whose Advance it was. The entry is still readable.
type Goner interface {
	Gone(r Ref, e *Entry)
}

// sweepChunk is how many entries a worker claims of the sweep at a time.
const sweepChunk = 64

// splitsPerAdvance lets a doubling end even when nothing is inserted.
const splitsPerAdvance = 8

// Advance goes on with the sweep that all workers share, looking at about budget entries (rounded
// up to chunks of 64, at most Span), and calls s for those past their time.
func (h *Handle) Advance(now Tick, budget int, s Sweeper) {
	t := h.t
	t.v4.help(&h.v4.cache, splitsPerAdvance)
	t.v6.help(&h.v6.cache, splitsPerAdvance)
	w := sweep{h: h, now: now, by: s}
	w.gone, _ = s.(Goner)
	for budget = min(budget, t.Span()+2); budget > 0; budget -= sweepChunk {
		n4, n6 := uint64(t.v4.high.Load()), uint64(t.v6.high.Load())
		at := t.claim(n4 + n6)
		end := at + sweepChunk
		if at < n4 {
			w.narrow(at, min(end, n4))
		}
		if end > n4 {
			w.broad(max(at, n4)-n4, min(end-n4, n6))
		}
	}
}

// claim takes the next chunk of total entries, wrapping around.
func (t *Table) claim(total uint64) uint64 {
	for {
		was := t.cursor.Load()
		at := was
		if at >= total {
			at = 0
		}
		if t.cursor.CompareAndSwap(was, at+sweepChunk) {
			return at
		}
	}
}

type sweep struct {
	h    *Handle
	now  Tick
	by   Sweeper
	gone Goner
}

func (w *sweep) narrow(from, to uint64) {
	entries := w.h.t.v4.narrow[from:to]
	for i := range entries {
		if e := &entries[i]; e.Live() && e.Expired(w.now) {
			w.expired(Ref(from)+Ref(i), e)
		}
	}
}

func (w *sweep) broad(from, to uint64) {
	entries := w.h.t.v6.broad[from:to]
	for i := range entries {
		if e := &entries[i].Entry; e.Live() && e.Expired(w.now) {
			w.expired((Ref(from)+Ref(i))|refV6, e)
		}
	}
}

func (w *sweep) expired(r Ref, e *Entry) {
	if w.by.Expired(r, e) && w.h.Delete(r) && w.gone != nil {
		w.gone.Gone(r, e)
	}
}
