package conntrack

import "ulvs/packet"

// maxBatch is the most frames looked up together; longer calls are cut.
const maxBatch = 64

// batch is what the passes of one Find hand on. It lies in the Handle, because a local
// of this size would be cleared each time.
type batch struct {
	hash [maxBatch]uint64
	head [maxBatch]uint64
	word [maxBatch]uint64
	bk   [maxBatch]uint32
	cand [maxBatch]uint32 // entry that has the right hash, 0 if none
	more [maxBatch]uint8  // frames to look for in overflow buckets
}

// Find looks up the conns of frames that are all of one family; refs is as long as ps. refs[i] is 0
// if frame i has no live conn; a conn past its time is found until it is swept.
//
// The work is done in passes over the whole batch: hash all, touch all buckets, scan all tags,
// touch all entries, compare all. In each pass the loads do not depend on one another, so
// their cache misses overlap; Go has no prefetch. Mixed into one loop they would not.
func (h *Handle) Find(ps []packet.Parsed, refs []Ref) {
	for len(ps) > 0 {
		n := min(len(ps), maxBatch)
		if ps[0].V6() {
			h.find6(ps[:n], refs[:n])
		} else {
			h.find4(ps[:n], refs[:n])
		}
		ps, refs = ps[n:], refs[n:]
	}
}

// FindKey looks up one key, of a conn or a template.
func (h *Handle) FindKey(k *Key) Ref {
	p, _ := h.part(k.V6)
	return p.find(k, h.t.seeds.hash(k))
}

func (h *Handle) find4(ps []packet.Parsed, refs []Ref) {
	t, b := h.t, &h.batch
	seeds := t.seeds
	hash := b.hash[:len(ps)]
	for i := range ps {
		hash[i] = seeds.hash4(ps[i].Addr[0], ps[i].L4)
	}
	t.v4.candidates(b, len(ps))
	entries := t.v4.narrow
	word, cand := b.word[:len(ps)], b.cand[:len(ps)]
	for i := range word {
		word[i] = entries[cand[i]].load(1)
	}
	for i := range ps {
		refs[i] = t.v4.decide4(b, i, &ps[i])
	}
}

// decide4 compares frame i with its candidate.
func (p *part) decide4(b *batch, i int, f *packet.Parsed) Ref {
	i &= maxBatch - 1
	c := b.cand[i]
	e := &p.narrow[c]
	if c != 0 && e.Live() {
		switch e.match4(f.Addr[0], f.L4) {
		case matchForward:
			return Ref(c)
		case matchReply:
			return Ref(c) | refReply
		}
	}
	if c == 0 && p.missed(b, i) {
		return 0
	}
	return p.find(&Key{Addr: f.Addr, L4: f.L4}, b.hash[i])
}

func (h *Handle) find6(ps []packet.Parsed, refs []Ref) {
	t, b := h.t, &h.batch
	seeds := t.seeds
	hash := b.hash[:len(ps)]
	for i := range ps {
		hash[i] = seeds.hash6(&ps[i].Addr, ps[i].L4)
	}
	t.v6.candidates(b, len(ps))
	entries := t.v6.broad
	word, cand := b.word[:len(ps)], b.cand[:len(ps)]
	for i := range word {
		e := &entries[cand[i]]
		word[i] = e.load(1) + e.pair(0)[0]
	}
	for i := range ps {
		refs[i] = t.v6.decide6(b, i, &ps[i])
	}
}

// decide6 is decide4 for IPv6.
func (p *part) decide6(b *batch, i int, f *packet.Parsed) Ref {
	i &= maxBatch - 1
	c := b.cand[i]
	e := &p.broad[c]
	if c != 0 && e.Live() {
		switch e.match6(&f.Addr, f.L4) {
		case matchForward:
			return Ref(c) | refV6
		case matchReply:
			return Ref(c) | refV6 | refReply
		}
	}
	if c == 0 && p.missed(b, i) {
		return 0
	}
	return p.find(&Key{Addr: f.Addr, L4: f.L4, V6: true}, b.hash[i])
}

// missed reports whether the scan of frame i's bucket proves that its key is not there. If
// not, or if there are overflow buckets, the careful find decides.
func (p *part) missed(b *batch, i int) bool {
	at, head := uint64(b.bk[i]), b.head[i]
	return head>>overShift == 0 && p.home(at, head, b.hash[i]) == at &&
		settled(head, p.buckets[at].head.Load())
}

// candidates fills b.cand for n frames from their hashes.
func (x *index) candidates(b *batch, n int) {
	v, buckets := x.view(), x.buckets
	hash, head, bk, cand := b.hash[:n], b.head[:n], b.bk[:n], b.cand[:n]
	for i, h := range hash {
		at := v.bucket(h)
		bk[i] = uint32(at)
		head[i] = buckets[at].head.Load()
	}
	m := 0
	for i, h := range hash {
		c := buckets[bk[i]].search7(h)
		cand[i] = c
		b.more[m&(maxBatch-1)] = uint8(i)
		if c == 0 && head[i]>>overShift != 0 {
			m++
		}
	}
	if m != 0 {
		x.overflowCandidates(b, b.more[:m])
	}
}

// overflowCandidates looks into the first overflow bucket for the few frames that need it, again
// all loads first.
func (x *index) overflowCandidates(b *batch, more []uint8) {
	over := x.pool.buckets
	for _, i := range more {
		i &= maxBatch - 1
		b.word[i] = over[b.head[i]>>overShift].head.Load()
	}
	for _, i := range more {
		i &= maxBatch - 1
		b.cand[i] = over[b.head[i]>>overShift].search7(b.hash[i])
	}
}

// search7 returns the entry of the slot whose hash bits are those of h, 0 if none. It selects and
// does not OR: two slots can match, and the caller compares the key anyway.
func (bk *bucket) search7(h uint64) uint32 {
	var c uint64
	h &^= idxMask
	if x := bk.slot[0].Load() ^ h; x <= idxMask {
		c = x
	}
	if x := bk.slot[1].Load() ^ h; x <= idxMask {
		c = x
	}
	if x := bk.slot[2].Load() ^ h; x <= idxMask {
		c = x
	}
	if x := bk.slot[3].Load() ^ h; x <= idxMask {
		c = x
	}
	if x := bk.slot[4].Load() ^ h; x <= idxMask {
		c = x
	}
	if x := bk.slot[5].Load() ^ h; x <= idxMask {
		c = x
	}
	if x := bk.slot[6].Load() ^ h; x <= idxMask {
		c = x
	}
	return uint32(c)
}
