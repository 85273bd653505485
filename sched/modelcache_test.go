package sched

import (
	"slices"

	"ulvs/packet"
)

// remembered is an entry of the models of lblc and lblcr.
type remembered struct {
	set              []*server // newest first
	lastUse, lastMod int64
}

// expiry is the models' cache: a map, collected whole by a timer that rings every minute.
type expiry struct {
	entries map[[16]byte]*remembered
	next    int64
	runs    int
	started bool
}

func (c *expiry) ring(now int64) {
	if !c.started {
		c.started, c.next, c.entries = true, now+60, map[[16]byte]*remembered{}
	}
	for ; c.next <= now; c.next += 60 {
		if c.runs++; c.runs%30 != 0 {
			continue
		}
		for key, e := range c.entries {
			if e.lastUse+modelExpiration <= c.next {
				delete(c.entries, key)
			}
		}
	}
}

// modelExpiration is short, so that a random test meets it.
const modelExpiration = 4000

func (m *model) overloaded(s *server) bool {
	return s.active() > s.weight() &&
		slices.ContainsFunc(m.list, func(d *server) bool { return 2*d.active() < d.weight() })
}

func modelLBLC(m *model) {
	var c expiry
	m.pick = func(t *packet.Tuple, now int64) *server {
		c.ring(now)
		e := c.entries[t.Dst]
		if e != nil {
			e.lastUse = now
			if s := e.set[0]; !s.deleted && s.Weight > 0 && !m.overloaded(s) {
				return s
			}
		}
		s := m.wlc()
		if s != nil {
			c.entries[t.Dst] = &remembered{set: []*server{s}, lastUse: now}
		}
		return s
	}
}

func modelLBLCR(m *model) {
	var c expiry
	m.pick = func(t *packet.Tuple, now int64) *server {
		c.ring(now)
		e := c.entries[t.Dst]
		if e == nil {
			s := m.wlc()
			if s != nil {
				c.entries[t.Dst] = &remembered{[]*server{s}, now, now}
			}
			return s
		}
		e.lastUse = now
		var here []*server
		for _, s := range e.set {
			if !s.deleted {
				here = append(here, s)
			}
		}
		s := leastOf(here, (*server).overhead, (*server).weight)
		if len(e.set) > 1 && now > e.lastMod+modelExpiration {
			e.dropMost(now)
		}
		if s != nil && !m.overloaded(s) {
			return s
		}
		if s = m.wlc(); s != nil && !slices.Contains(e.set, s) {
			e.set, e.lastMod = append([]*server{s}, e.set...), now
		}
		return s
	}
}

func (e *remembered) dropMost(now int64) {
	most := -1
	for i, s := range e.set {
		if s.Weight > 0 && (most < 0 || e.set[most].overhead()*s.weight() < s.overhead()*e.set[most].weight()) {
			most = i
		}
	}
	if most >= 0 {
		e.set, e.lastMod = slices.Delete(e.set, most, most+1), now
	}
}
