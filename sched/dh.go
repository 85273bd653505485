package sched

import (
	"ulvs/lvs"
	"ulvs/packet"
)

// dh is destination hashing (ip_vs_dh.c): the destination address chooses one of
// 256 buckets, dealt to the list in turn whatever the weights. A bucket whose
// destination is not usable has none.
type dh struct{ hashed }

func newDH(lvs.SchedFlags, Options) policy {
	h := &dh{}
	h.set(nil, nil)
	return h
}

func (h *dh) update(c *change) error {
	h.set(c.dests, deal(c.dests, func(*dest) int32 { return 1 }))
	return nil
}

func (h *dh) pick(t *packet.Tuple, _ int64) (lvs.DestID, bool) {
	b := h.table.Load()
	if len(b.slots) == 0 {
		return 0, false
	}
	id, ok := b.at(hash32(fold(&t.Dst), classicBits))
	if !ok {
		return 0, false
	}
	return id, true
}
