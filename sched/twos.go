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
	first, second := -1, -1
	if u.watch == nil {
		var shares [maxScan]uint64
		if total := u.look(&shares); total != 0 {
			first, second = scan(&shares, w.rand(total+1)), scan(&shares, w.rand(total+1))
		}
	} else if total := u.total(); total != 0 {
		first, second = u.draw(w.rand(total+1), w.rand(total+1))
	}
	if first < 0 {
		return 0, false
	}
	one, two := &u.dests[first], &u.dests[second]
	cost1, cost2 := one.wlcCost(), two.wlcCost()
	if cost2.below(&cost1) {
		return two.id, true
	}
	return one.id, true
}
