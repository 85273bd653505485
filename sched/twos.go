package sched

import (
	"math/rand/v2"
	"sync/atomic"

	"ulvs/lvs"
	"ulvs/packet"
)

// twos is the choice of two (ip_vs_twos.c): draw two destinations at random by
// weight, take the one with the lower wlc cost.
type twos struct {
	rand func(n uint64) uint64
	urn  atomic.Pointer[urn]
}

func defaultRand(n uint64) uint64 { return rand.Uint64N(n) }

func newTWOS(_ lvs.SchedFlags, opt Options) policy {
	w := &twos{rand: opt.Rand}
	w.urn.Store(newUrn(nil))
	return w
}

func (w *twos) update(c *change) error {
	u := newUrn(c.dests)
	w.urn.Store(u)
	u.follow()
	return nil
}

// pick draws from [0, sum of weights] inclusive, as the kernel does, which gives
// the first in the list a little more than its share.
func (w *twos) pick(*packet.Tuple, int64) (lvs.DestID, bool) {
	u := w.urn.Load()
	total := u.total()
	if total == 0 {
		return 0, false
	}
	r1, r2 := w.rand(total+1), w.rand(total+1)
	first, second := u.draw(r1, r2)
	if first < 0 || second < 0 {
		return 0, false // all went over their thresholds since total
	}
	d1, d2 := &u.dests[first], &u.dests[second]
	c1, c2 := d1.wlcCost(), d2.wlcCost()
	if c2.below(&c1) {
		return d2.id, true
	}
	return d1.id, true
}
