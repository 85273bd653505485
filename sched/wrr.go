package sched

import (
	"sync/atomic"

	"ulvs/lvs"
	"ulvs/packet"
)

// wrr is weighted round robin (ip_vs_wrr.c). Rounds run at levels, from the
// highest weight down in steps of the weights' greatest common divisor; a
// destination takes part in the rounds whose level its weight reaches.
type wrr struct{ ring atomic.Pointer[wrrRing] }

// wrrRing is one list with its place in the rounds.
type wrrRing struct {
	dests   []dest
	weights *peaks
	levels  levels
	// at is level<<32 | cursor, where cursor is 1 + the position last taken, or 0
	// at the start of a round. One word, so that a pick moves both or neither.
	at atomic.Uint64
}

func newWRR(lvs.SchedFlags, Options) policy {
	w := &wrr{}
	w.ring.Store(newWRRRing(nil))
	return w
}

func newWRRRing(dests []dest) *wrrRing {
	g := &wrrRing{dests: dests, weights: newPeaks(dests)}
	all := span{}
	for i := range dests {
		all = all.with(dests[i].weight)
	}
	g.levels = all.levels()
	return g
}

// update restarts the round at each edit, at the level the kernel's edits lead to.
func (w *wrr) update(c *change) error {
	g, old := newWRRRing(c.dests), w.ring.Load()
	level, cursor := int32(old.at.Load()>>32), uint32(old.at.Load())
	switch {
	case c.bind:
		level, cursor = g.levels.top, 0
	case c.any():
		level, cursor = levelAfter(c, level), 0
	}
	g.at.Store(uint64(level)<<32 | uint64(cursor))
	w.ring.Store(g)
	unwatch(c.dests)
	return nil
}

func (w *wrr) pick(*packet.Tuple, int64) (lvs.DestID, bool) {
	g := w.ring.Load()
	if g.levels.top == 0 {
		return 0, false
	}
	for {
		from := g.at.Load()
		to, ok := g.next(from)
		if !g.at.CompareAndSwap(from, to) {
			continue
		}
		if !ok {
			return 0, false
		}
		return g.dests[uint32(to)-1].id, true
	}
}

// next goes on from one place to the next: the rest of this round, then the
// round below. When that finds nobody either, the heaviest are over their
// thresholds, and it goes straight to the highest level that somebody usable
// reaches, where the kernel would try every level between.
func (g *wrrRing) next(from uint64) (to uint64, ok bool) {
	level, cursor := int32(from>>32), int(uint32(from))
	if pos := g.usable(cursor, level); pos >= 0 {
		return place(level, pos), true
	}
	level = g.levels.below(level)
	if pos := g.usable(0, level); pos >= 0 {
		return place(level, pos), true
	}
	level = g.levels.atMost(g.heaviestUsable())
	if level == 0 {
		return g.exhausted(from), false
	}
	if pos := g.usable(0, level); pos >= 0 {
		return place(level, pos), true
	}
	return from, false // it went over its threshold just now
}

// exhausted is where the kernel stops when everybody is over a threshold: at the
// top when it had started at the head, else at the lowest level.
func (g *wrrRing) exhausted(from uint64) uint64 {
	cursor := from & (1<<32 - 1)
	if cursor == 0 {
		return uint64(g.levels.top) << 32
	}
	return 1<<32 | cursor
}

func place(level int32, pos int) uint64 { return uint64(level)<<32 | uint64(pos+1) }

// usable returns the first position from start on that takes part at level, or -1.
func (g *wrrRing) usable(start int, level int32) int {
	for {
		pos := g.weights.from(start, level)
		if pos < 0 || !g.dests[pos].load.Overloaded() {
			return pos
		}
		start = pos + 1
	}
}

func (g *wrrRing) heaviestUsable() (w int32) {
	for i := range g.dests {
		if d := &g.dests[i]; d.weight > w && d.usable() {
			w = d.weight
		}
	}
	return w
}
