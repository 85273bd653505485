package sched

import (
	"ulvs/lvs"
	"ulvs/packet"
)

// previewer is a policy whose pick leaves traces: preview picks without them.
type previewer interface {
	preview(t *packet.Tuple, now int64) (lvs.DestID, bool)
}

// Preview returns what Pick would at this moment, and leaves no trace: cursors, levels and caches stay as they are.
// sure is false for twos, which draws lots: the next Pick draws others. It may be called at any time, for tools; it
// is not for the path of a frame.
func (s *Scheduler) Preview(t *packet.Tuple, now int64) (id lvs.DestID, ok, sure bool) {
	if p, leaves := s.policy.(previewer); leaves {
		id, ok = p.preview(t, now)
		return id, ok, true
	}
	id, ok = s.policy.pick(t, now) // a hash or a comparison: it remembers nothing
	_, lots := s.policy.(*twos)
	return id, ok, !lots
}

func (r *rr) preview(*packet.Tuple, int64) (lvs.DestID, bool) {
	g := r.ring.Load()
	pos, ok := g.after(g.cursor.Load())
	if !ok {
		return 0, false
	}
	return g.dests[pos].id, true
}

func (w *wrr) preview(*packet.Tuple, int64) (lvs.DestID, bool) {
	g := w.ring.Load()
	if g.levels.top == 0 {
		return 0, false
	}
	to, ok := g.next(g.at.Load())
	if !ok {
		return 0, false
	}
	return g.dests[uint32(to)-1].id, true
}

// known returns the cache's entry of a destination without using it; 0 for none. A due collection may be late in it.
func (c *cache) known(key [2]uint64, head int) int32 {
	for i := c.heads[head]; i != 0; i = c.entries[i].next {
		if c.entries[i].key == key {
			return i
		}
	}
	return 0
}

func (s lblc) preview(t *packet.Tuple, _ int64) (id lvs.DestID, ok bool) {
	key, head := keyOf(t)
	s.lock()
	defer s.unlock()
	if i := s.known(key, head); i != 0 {
		number := s.links[s.entries[i].set].member
		if m := &s.all[number]; m.available() && !s.overloaded(m) {
			return m.id, true
		}
	}
	return s.previewLeast()
}

func (s lblcr) preview(t *packet.Tuple, _ int64) (id lvs.DestID, ok bool) {
	key, head := keyOf(t)
	s.lock()
	defer s.unlock()
	if i := s.known(key, head); i != 0 {
		if number, ok := s.setLeast(&s.entries[i]); ok && !s.overloaded(&s.all[number]) {
			return s.all[number].id, true
		}
	}
	return s.previewLeast()
}

func (c *cache) previewLeast() (lvs.DestID, bool) {
	number, ok := c.least()
	if !ok {
		return 0, false
	}
	return c.all[number].id, true
}
