package conntrack

import "sync/atomic"

// NAT conns of one client port to one real server by several VIPs share their reply key. IPVS finds the newest
// (ip_vs_conn_out_get: the head of the chain), and the next newest when that is gone. So the newest holds the
// key's slot, the older ones carry FlagNoReply, and each names the next older in the half of w6 that only templates
// need. Names, slot and flags change under the lock of the key's bucket.

// older is the next older entry with the same reply key, 0 for none.
func (e *Entry) older() uint32 { return uint32(e.load(6) >> 32) }

func (e *Entry) setOlder(i uint32) {
	for {
		w := e.load(6)
		if atomic.CompareAndSwapUint64(&e.w[6], w, w&lowHalf|uint64(i)<<32) {
			return
		}
	}
}

// supersede gives a live conn the reply key that another had when it was inserted. A conn that is being inserted
// right now, or one that has the key as its forward key, keeps it.
func (n *insertion) supersede() {
	p, e := n.p, n.p.entry(n.idx)
	bk, head := p.index.lock(n.replyHash)
	f := p.scan(bk, head, scanKey{&n.replyKey, n.replyHash})
	old := uint32(f.ref & idxMask)
	switch {
	case f.pending != 0 || f.ref != 0 && !f.ref.Reply():
	case !e.ClearFlags(FlagNoReply): // somebody has deleted it meanwhile
	case old == 0:
		var ok bool
		if head, ok = n.put(bk, head, f.hole, n.replyHash); !ok {
			e.SetFlags(FlagNoReply)
		}
	default:
		p.search(bk, head, n.replyHash&^idxMask|uint64(old)).Store(n.replyHash&^idxMask | uint64(n.idx))
		p.entry(old).SetFlags(FlagNoReply)
		e.setOlder(old)
	}
	bk.head.Store(head)
}

// dropReply takes a dead conn from its reply key, which the next newest gets. It returns how many slots fewer
// there are now.
func (p *part) dropReply(c *cache, idx uint32, k scanKey) (slots int) {
	slot := k.hash&^idxMask | uint64(idx)
	bk, head := p.index.lock(k.hash)
	older := p.entry(idx).older()
	hole := p.search(bk, head, slot)
	if hole == nil {
		p.unname(p.holder(bk, head, k), idx)
		bk.head.Store(head)
		return 0
	}
	for older != 0 && !p.entry(older).ClearFlags(FlagNoReply) { // dead: on its way here
		older = p.entry(older).older()
	}
	switch {
	case older != 0:
		hole.Store(k.hash&^idxMask | uint64(older))
	case head>>overShift == 0:
		hole.Store(0)
		slots = 1
	default:
		head = p.refill(c, bk, head, hole)
		slots = 1
	}
	bk.head.Store(head)
	return slots
}

// unname takes idx out of the names that start at entry at.
func (p *part) unname(at, idx uint32) {
	for at != 0 {
		next := p.entry(at).older()
		if next == idx {
			p.entry(at).setOlder(p.entry(idx).older())
			return
		}
		at = next
	}
}

// holder is the entry, dead or alive, whose reply key has the slot of k in the locked bucket's chain; 0: none.
func (p *part) holder(bk *bucket, head uint64, k scanKey) uint32 {
	for at := bk; ; {
		for i := range at.slot {
			s := at.slot[i].Load()
			if s == 0 || (s^k.hash)>>idxBits != 0 {
				continue
			}
			if _, reply := p.entry(uint32(s & idxMask)).keys(); reply == *k.key {
				return uint32(s & idxMask)
			}
		}
		o := next(at, bk, head)
		if o == 0 {
			return 0
		}
		at = &p.pool.buckets[o]
	}
}
