package sched

import (
	"math"
	"math/bits"

	"ulvs/lvs"
)

// rule describes a scheduler that takes the destination of least cost, where
//
//	cost = (base + perActive*active + perInactive*inactive) / weight
//
// and the earliest in the list wins a tie. Seven schedulers are such a rule.
type rule struct {
	base, perActive, perInactive uint64
	byWeight                     bool // divide by the weight; otherwise it only has to be positive
	idleWins                     bool // no active session: cost 0 (nq)
	spill                        bool // more active sessions than its weight: not usable (ovf)
	roomy                        bool // count the destinations with room (lblc, lblcr)
}

// cost is num/den of the destination at pos. den 0 is infinite: not usable.
type cost struct {
	num      uint64
	den, pos uint32
}

// never is the cost of a destination that may not be taken.
var never = cost{num: 1}

// runner is a destination as a rule sees it: what its weight means is worked out
// once, not for each pick.
type runner struct {
	load  *lvs.Load
	den   uint32 // of its cost; 0: quiesced
	limit int32  // active sessions above which it is not usable
}

func (r *rule) runners(dests []dest) []runner {
	out := make([]runner, len(dests))
	for i, d := range dests {
		out[i] = runner{d.load, uint32(d.weight), math.MaxInt32}
		if !r.byWeight && d.weight > 0 {
			out[i].den = 1
		}
		if r.spill {
			out[i].limit = d.weight
		}
	}
	return out
}

// of returns the cost now of the runner at pos. Counts below zero, which a race
// can show, are 0.
func (r *rule) of(c *runner, pos int) cost {
	active := max(c.load.Active(), 0)
	if c.den == 0 || c.load.Overloaded() || active > c.limit {
		return never
	}
	if r.idleWins && active == 0 {
		return cost{0, c.den, uint32(pos)}
	}
	num := r.base + r.perActive*uint64(active) + r.perInactive*uint64(max(c.load.Inactive(), 0))
	return cost{num, c.den, uint32(pos)}
}

// wlcCost is the cost by wlc's rule of a destination with a weight, whatever its threshold.
func (d *dest) wlcCost() cost {
	num := activeCost*uint64(max(d.load.Active(), 0)) + uint64(max(d.load.Inactive(), 0))
	return cost{num: num, den: uint32(d.weight)}
}

// maxExact bounds numerators that 64 bits can multiply by any weight.
const maxExact = 1 << 32

// below compares fractions exactly. The kernel multiplies in 64 bits, which
// overflows above 8 million active sessions; here nothing does.
func (c *cost) below(o *cost) bool {
	if c.num|o.num < maxExact {
		return c.num*uint64(o.den) < o.num*uint64(c.den)
	}
	chi, clo := bits.Mul64(c.num, uint64(o.den))
	ohi, olo := bits.Mul64(o.num, uint64(c.den))
	return chi < ohi || chi == ohi && clo < olo
}

// hasRoom is lblc's and lblcr's test of a relief: twice its active sessions are
// below its weight. The threshold flag does not matter.
func (d *dest) hasRoom() bool { return 2*int64(d.load.Active()) < int64(d.weight) }
