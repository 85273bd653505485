package sched

import (
	"sync/atomic"

	"ulvs/lvs"
)

// buckets is the immutable table of a hashing scheduler: for each slot the
// position of its destination.
type buckets struct {
	dests []dest
	slots []uint32 // empty when no destination may be chosen at all
	live  bool     // some destination has a weight: a fallback can succeed
}

// hashed holds the table in force.
type hashed struct{ table atomic.Pointer[buckets] }

func (h *hashed) set(dests []dest, slots []uint32) {
	b := &buckets{dests: dests, slots: slots}
	for i := range dests {
		b.live = b.live || dests[i].weight > 0
	}
	h.table.Store(b)
	unwatch(dests)
}

// at returns the destination of a slot, false if it is not usable now.
func (b *buckets) at(slot uint32) (lvs.DestID, bool) {
	d := &b.dests[b.slots[slot]]
	return d.id, d.usable()
}

// classicBits sizes dh's and sh's tables (IP_VS_DH_TAB_BITS, IP_VS_SH_TAB_BITS).
const (
	classicBits  = 8
	classicSlots = 1 << classicBits
)

// deal fills dh's or sh's table: the list over and over, turns(d) slots for each d, at least one.
func deal(dests []dest, turns func(d *dest) int32) []uint32 {
	if len(dests) == 0 {
		return nil
	}
	slots := make([]uint32, classicSlots)
	pos, dealt := 0, int32(0)
	for i := range slots {
		slots[i] = uint32(pos)
		if dealt++; dealt >= turns(&dests[pos]) {
			pos, dealt = (pos+1)%len(dests), 0
		}
	}
	return slots
}
