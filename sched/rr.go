package sched

import (
	"sync/atomic"

	"ulvs/lvs"
	"ulvs/packet"
)

// rr is round robin (ip_vs_rr.c): the next destination after the cursor. Its
// weight matters only by being zero.
type rr struct{ ring atomic.Pointer[rrRing] }

// rrRing is one list with its cursor.
type rrRing struct {
	dests []dest
	// next is, for each position and for the list's end, the first position from
	// there on with a weight, or the list's end.
	next []int32
	live int // positions with a weight
	// cursor is 1 + the position last taken, 0 before the first pick: the
	// position that is looked at next.
	cursor atomic.Uint32
}

func newRR(lvs.SchedFlags, Options) policy {
	r := &rr{}
	r.ring.Store(newRRRing(nil))
	return r
}

func newRRRing(dests []dest) *rrRing {
	n := len(dests)
	g := &rrRing{dests: dests, next: make([]int32, n+1)}
	g.next[n] = int32(n)
	for i := n - 1; i >= 0; i-- {
		g.next[i] = g.next[i+1]
		if dests[i].weight > 0 {
			g.next[i] = int32(i)
			g.live++
		}
	}
	return g
}

// update keeps the cursor on its destination. If that is deleted, the cursor
// steps back to the nearest one that stays, so the one after it is next.
func (r *rr) update(c *change) error {
	g := newRRRing(c.dests)
	for at := int(r.ring.Load().cursor.Load()); at > 0; at-- {
		if c.now[at-1] >= 0 {
			g.cursor.Store(uint32(c.now[at-1]) + 1)
			break
		}
	}
	r.ring.Store(g)
	unwatch(c.dests)
	return nil
}

func (r *rr) pick(*packet.Tuple, int64) (lvs.DestID, bool) {
	g := r.ring.Load()
	for {
		from := g.cursor.Load()
		pos, ok := g.after(from)
		if !ok {
			return 0, false
		}
		if g.cursor.CompareAndSwap(from, uint32(pos)+1) {
			return g.dests[pos].id, true
		}
	}
}

// after returns the first usable position from there on, going round once.
func (g *rrRing) after(from uint32) (int, bool) {
	at := int(from)
	for range g.live {
		if at = int(g.next[at]); at == len(g.dests) {
			at = int(g.next[0])
		}
		if !g.dests[at].load.Overloaded() {
			return at, true
		}
		at++
	}
	return 0, false
}
