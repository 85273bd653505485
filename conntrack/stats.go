package conntrack

import "sync/atomic"

// counts are one worker's, plain.
type counts struct {
	conns, templates, collisions, full int64
}

// published is counts for others to read.
type published struct {
	conns, templates, collisions, full atomic.Int64
}

// publish stores the worker's counts if they changed; once per batch.
func (h *Handle) publish() {
	if !h.dirty {
		return
	}
	h.dirty = false
	h.told.conns.Store(h.own.conns)
	h.told.templates.Store(h.own.templates)
	h.told.collisions.Store(h.own.collisions)
	h.told.full.Store(h.own.full)
}

// Stats is the state of a table. The counts lag behind by at most each worker's last batch.
type Stats struct {
	Conns           int    // live, templates included
	Templates       int    // live templates
	MaxConns        int    // 0: no limit
	Size            int    // 1<<Bits, ipvsadm's size=
	Capacity        int    // slots of both indexes as they are now; a NAT conn takes two
	Slots           int    // of them in use, nearly
	Entries         int    // entries ever used: live, free, and waiting for reuse
	Overflow        int    // overflow buckets in use
	Bytes           int    // of memory in use by entries and indexes
	Ahead           int    // bytes populated ahead of use
	Huge            int    // bytes of entries in a file that have huge pages
	Grown           uint64 // doublings of an index
	ReplyCollisions uint64 // NAT conns inserted with FlagNoReply
	Full            uint64 // inserts refused
}

// Stats returns the table's state, for any goroutine.
func (t *Table) Stats() Stats {
	s := Stats{Size: 1 << t.bits, MaxConns: int(t.limit.max)}
	for _, h := range t.handles {
		s.Conns += int(h.told.conns.Load())
		s.Templates += int(h.told.templates.Load())
		s.ReplyCollisions += uint64(h.told.collisions.Load())
		s.Full += uint64(h.told.full.Load())
	}
	t.v4.stats(&s)
	t.v6.stats(&s)
	return s
}

func (p *part) stats(s *Stats) {
	depth, active := p.level()
	buckets := 1 << depth
	if active {
		buckets += int(p.state.Load() & claimMask)
	}
	over, entries := int(p.pool.high.Load())-1, int(p.high.Load())-1
	s.Slots += int(p.slots.Load())
	s.Overflow += int(p.pool.inUse.Load())
	s.Grown += p.grown.Load()
	s.Entries += entries
	s.Huge += int(p.entryArea.huge.Load())
	if entries == 0 && p.v6 {
		return // nothing of it was ever touched
	}
	s.Capacity += buckets * slotsPerBucket
	used := (buckets+over)*bucketSize + entries*p.stride()
	s.Bytes += used
	s.Ahead += max(0, p.entryArea.ready()+p.bucketArea.ready()+p.overArea.ready()-used)
}

// Span returns how many entries a full sweep looks at, for the caller to choose
// Advance's budget by. Two loads.
func (t *Table) Span() int { return int(t.v4.high.Load()) + int(t.v6.high.Load()) - 2 }
