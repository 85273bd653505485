package sched

import "math/bits"

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

// of returns d's cost now. Counts below zero, which a race can show, are 0.
func (r *rule) of(d *dest, pos int) cost {
	if d.weight <= 0 || d.load.Overloaded() {
		return never
	}
	active := uint64(max(d.load.Active(), 0))
	c := cost{r.base + r.perActive*active, 1, uint32(pos)}
	if r.perInactive != 0 {
		c.num += r.perInactive * uint64(max(d.load.Inactive(), 0))
	}
	if r.byWeight {
		c.den = uint32(d.weight)
	}
	if r.idleWins && active == 0 {
		c.num = 0
	}
	if r.spill && active > uint64(d.weight) {
		return never
	}
	return c
}

// below compares fractions exactly. The kernel multiplies in 64 bits, which
// overflows above 8 million active sessions; here nothing does.
func (c *cost) below(o *cost) bool {
	if (c.num|o.num)>>32 == 0 {
		return c.num*uint64(o.den) < o.num*uint64(c.den)
	}
	chi, clo := bits.Mul64(c.num, uint64(o.den))
	ohi, olo := bits.Mul64(o.num, uint64(c.den))
	return chi < ohi || chi == ohi && clo < olo
}

// hasRoom is lblc's and lblcr's test of a relief: twice its active sessions are
// below its weight. The threshold flag does not matter.
func (d *dest) hasRoom() bool { return 2*int64(d.load.Active()) < int64(d.weight) }
