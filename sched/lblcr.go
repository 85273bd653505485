package sched

import (
	"ulvs/lvs"
	"ulvs/packet"
)

// lblcr is lblc with replication (ip_vs_lblcr.c): a destination address has a set
// of real servers. The least loaded of them serves; one more joins when that one is
// overloaded while another has room, and the most loaded leaves a set that has not
// changed for the expiration time.
type lblcr struct{ *cache }

func newLBLCR(_ lvs.SchedFlags, opt Options) policy { return lblcr{newCache(opt)} }

func (s lblcr) pick(t *packet.Tuple, now int64) (lvs.DestID, bool) {
	return s.pickLocked(t, now, s.choose)
}

func (s lblcr) choose(key [2]uint64, head int, now int64) (int32, bool) {
	i := s.find(key, head, now)
	if i == 0 {
		number, ok := s.least()
		if ok {
			s.insert(key, head, number, now)
		}
		return number, ok
	}
	e := &s.entries[i]
	number, ok := s.setLeast(e)
	if e.size > 1 && now > e.lastMod+s.expire {
		s.shrink(e, now)
	}
	if ok && !s.overloaded(&s.all[number]) {
		return number, true
	}
	if number, ok = s.least(); ok && !s.has(e, number) {
		s.join(e, number, now)
	}
	return number, ok
}

func (s lblcr) has(e *entry, number int32) bool {
	for l := e.set; l != 0; l = s.links[l].next {
		if s.links[l].member == number {
			return true
		}
	}
	return false
}

// setLeast is wlc inside the set.
func (s lblcr) setLeast(e *entry) (number int32, ok bool) {
	best := never
	for l := e.set; l != 0; l = s.links[l].next {
		m := &s.all[s.links[l].member]
		if !m.available() || m.load.Overloaded() {
			continue
		}
		if c := m.wlcCost(); c.below(&best) {
			best, number, ok = c, s.links[l].member, true
		}
	}
	return number, ok
}

// shrink drops the member of highest wlc cost, the first of equals, be it deleted or not.
func (s lblcr) shrink(e *entry, now int64) {
	var most *int32
	var worst cost
	for at := &e.set; *at != 0; at = &s.links[*at].next {
		m := &s.all[s.links[*at].member]
		if m.weight <= 0 {
			continue
		}
		if c := m.wlcCost(); most == nil || worst.below(&c) {
			most, worst = at, c
		}
	}
	if most != nil {
		s.leave(e, most)
		e.lastMod = now
	}
}
