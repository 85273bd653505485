package sched

import (
	"ulvs/lvs"
	"ulvs/packet"
)

// lblc is locality-based least connections (ip_vs_lblc.c), for caching proxies
// behind a firewall mark: a destination address stays with its real server until
// that one is overloaded while another has room, then wlc chooses anew.
type lblc struct{ *cache }

func newLBLC(_ lvs.SchedFlags, opt Options) policy { return lblc{newCache(opt)} }

func (s lblc) pick(t *packet.Tuple, now int64) (lvs.DestID, bool) {
	return s.pickLocked(t, now, s.choose)
}

// choose does not look at the threshold of the remembered destination, as the kernel does not.
func (s lblc) choose(key [2]uint64, head int, now int64) (int32, bool) {
	i := s.find(key, head, now)
	if i != 0 {
		number := s.links[s.entries[i].set].member
		if m := &s.all[number]; m.available() && !s.overloaded(m) {
			return number, true
		}
	}
	number, ok := s.least()
	if !ok {
		return 0, false
	}
	if i == 0 {
		s.insert(key, head, number, now)
		return number, true
	}
	e := &s.entries[i]
	s.leave(e, &e.set)
	s.join(e, number, now) // finds the link that was just left
	return number, true
}
