package sched

import (
	"ulvs/lvs"
	"ulvs/packet"
)

// sh is source hashing (ip_vs_sh.c): the client's address, with sh-port its port
// too, chooses one of 256 buckets, dealt by weight; weight 0 still gets one.
type sh struct {
	hashed
	flags lvs.SchedFlags
}

func newSH(flags lvs.SchedFlags, _ Options) policy {
	h := &sh{flags: flags}
	h.set(nil, nil)
	return h
}

func (h *sh) update(c *change) error {
	h.set(c.dests, deal(c.dests, func(d *dest) int32 { return d.weight }))
	return nil
}

func (h *sh) pick(t *packet.Tuple, _ int64) (lvs.DestID, bool) {
	b := h.table.Load()
	if len(b.slots) == 0 {
		return 0, false
	}
	slot := hash32(client(t, h.flags), classicBits)
	if id, ok := b.at(slot); ok {
		return id, true
	}
	if h.flags&lvs.SchedFallback == 0 || !b.live {
		return 0, false
	}
	// The kernel hashes again with an offset that already contains the slot, so
	// the search starts at twice the slot.
	for o := range uint32(classicSlots) {
		if id, ok := b.at((o + 2*slot) % classicSlots); ok {
			return id, true
		}
	}
	return 0, false
}

// client is what sh and mh hash of a flow.
func client(t *packet.Tuple, flags lvs.SchedFlags) uint32 {
	v := fold(&t.Src)
	if flags&lvs.SchedPort != 0 {
		v += uint32(t.SrcPort)
	}
	return v
}
