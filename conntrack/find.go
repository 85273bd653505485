package conntrack

import "ulvs/packet"

// maxBatch is the most frames looked up together; longer calls are cut.
const maxBatch = 64

// batch is what the passes of one Find hand on. It lies in the Handle, because a local
// of this size would be cleared each time.
type batch struct {
	hash [maxBatch]uint64
	head [maxBatch]uint64
	bk   [maxBatch]uint32
	cand [maxBatch]uint32 // entry that has the right hash, 0 if none
	more [maxBatch]uint8  // frames to look for in overflow buckets

	touched uint64 // keeps the compiler from dropping loads made for the cache's sake
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

// StillMissing reports whether frame i of the last Find, which had no conn, surely has none now either. If false,
// FindKey tells. It costs a glance at a bucket that is in the cache.
func (h *Handle) StillMissing(i int, v6 bool) bool {
	p, _ := h.part(v6)
	i &= maxBatch - 1
	b := &h.batch
	at, hash := uint64(b.bk[i]), b.hash[i]
	bk := &p.buckets[at]
	head := bk.head.Load()
	return p.home(at, head, hash) == at && bk.vacant(head, hash) != nil && settled(head, bk.head.Load())
}

// FindKey looks up one key, of a conn or a template.
func (h *Handle) FindKey(k *Key) Ref {
	p, _ := h.part(k.V6)
	return p.find(k, h.t.seeds.hash(k))
}

// Warm touches what FindKey finds of the keys of records, for the cache's sake: see Find.
func (h *Handle) Warm(rs []Record) {
	for len(rs) > 0 {
		n := min(len(rs), maxBatch)
		h.warm(rs[:n], false)
		h.warm(rs[:n], true)
		rs = rs[n:]
	}
}

// warm touches the records of one family, at most maxBatch.
func (h *Handle) warm(rs []Record, v6 bool) {
	b, n := &h.batch, 0
	for i := range rs {
		if rs[i].V6 == v6 {
			b.hash[n&(maxBatch-1)] = h.t.seeds.hash(&rs[i].Key)
			n++
		}
	}
	if n == 0 {
		return
	}
	p, _ := h.part(v6)
	p.candidates(b, n)
	touch := uint64(0)
	for _, c := range b.cand[:n] {
		if v6 {
			touch |= p.broad[c].load(1) | p.broad[c].pair(0)[0]
		} else {
			touch |= p.narrow[c].load(3)
		}
	}
	b.touched = touch
}

func (h *Handle) find4(ps []packet.Parsed, refs []Ref) {
	t, b := h.t, &h.batch
	seeds := t.seeds
	hash, cand := b.hash[:len(ps)], b.cand[:len(ps)]
	for i := range ps {
		hash[i] = seeds.hash4(ps[i].Addr[0], ps[i].L4)
	}
	t.v4.candidates(b, len(ps))
	entries := t.v4.narrow
	touch := uint64(0)
	for _, c := range cand {
		touch |= entries[c].load(3)
	}
	b.touched = touch
	refs = refs[:len(ps)]
	for i, c := range cand {
		e, f := &entries[c], &ps[i]
		// Entry 0, the candidate of a frame without one, is never live.
		if e.load(0) == f.Addr[0] && (e.load(1)^f.L4)&l4Mask == 0 && e.Live() {
			refs[i] = Ref(c)
		} else {
			refs[i] = t.v4.decide4(b, i, f)
		}
	}
}

// decide4 decides frame i, whose candidate has not its forward key.
func (p *part) decide4(b *batch, i int, f *packet.Parsed) Ref {
	i &= maxBatch - 1
	c := b.cand[i]
	if c == 0 && p.missed(b, i) {
		return 0
	}
	if e := &p.narrow[c]; e.Live() && e.match4(f.Addr[0], f.L4) == matchReply {
		return Ref(c) | refReply
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
	touch := uint64(0)
	for _, c := range b.cand[:len(ps)] {
		e := &entries[c]
		touch |= e.load(1) | e.pair(0)[0]
	}
	b.touched = touch
	for i := range ps {
		refs[i] = t.v6.decide6(b, i, &ps[i])
	}
}

// decide6 compares frame i with its candidate.
func (p *part) decide6(b *batch, i int, f *packet.Parsed) Ref {
	i &= maxBatch - 1
	c := b.cand[i]
	if e := &p.broad[c]; e.Live() {
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
	hash, head, bk := b.hash[:n], b.head[:n], b.bk[:n]
	for i, h := range hash {
		at := v.bucket(h)
		bk[i] = uint32(at)
		head[i] = buckets[at].head.Load()
	}
	if more := scanTags(b, buckets, n); len(more) != 0 {
		x.overflowCandidates(b, more)
	}
}

// scanTags looks through the seven slots of each frame's bucket and returns the frames to be
// looked for in overflow buckets. It selects and does not OR: two slots can match, and the
// caller compares the key anyway. Written out, because Go unrolls no loops.
func scanTags(b *batch, buckets []bucket, n int) []uint8 {
	head, bk, cand := b.head[:n], b.bk[:n], b.cand[:n]
	m := 0
	for i, h := range b.hash[:n] {
		s := &buckets[bk[i]].slot
		h &^= idxMask
		c := uint64(0)
		if x := s[0].Load() ^ h; x <= idxMask {
			c = x
		}
		if x := s[1].Load() ^ h; x <= idxMask {
			c = x
		}
		if x := s[2].Load() ^ h; x <= idxMask {
			c = x
		}
		if x := s[3].Load() ^ h; x <= idxMask {
			c = x
		}
		if x := s[4].Load() ^ h; x <= idxMask {
			c = x
		}
		if x := s[5].Load() ^ h; x <= idxMask {
			c = x
		}
		if x := s[6].Load() ^ h; x <= idxMask {
			c = x
		}
		cand[i] = uint32(c)
		b.more[m&(maxBatch-1)] = uint8(i)
		if c == 0 && head[i]>>overShift != 0 {
			m++
		}
	}
	return b.more[:m]
}

// overflowCandidates looks into the first overflow bucket for the few frames that need it, again
// all loads first.
func (x *index) overflowCandidates(b *batch, more []uint8) {
	over := x.pool.buckets
	touch := uint64(0)
	for _, i := range more {
		touch |= over[b.head[i&(maxBatch-1)]>>overShift].head.Load()
	}
	b.touched = touch
	for _, i := range more {
		i &= maxBatch - 1
		s := &over[b.head[i]>>overShift].slot
		for j := range s {
			if x := s[j].Load() ^ b.hash[i]&^idxMask; x <= idxMask {
				b.cand[i] = uint32(x)
			}
		}
	}
}
