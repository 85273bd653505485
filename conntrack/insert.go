package conntrack

import (
	"sync/atomic"

	"ulvs/internal/release"
)

// Result of an Insert.
type Result uint8

// Results.
const (
	Inserted Result = iota // the Ref is the new conn
	Exists                 // the Ref is the conn that has the key, possibly past its time
	Full                   // max_conns, or no memory; counted
)

// String returns the result's name.
func (r Result) String() string {
	switch r {
	case Inserted:
		return "inserted"
	case Exists:
		return "exists"
	}
	return "full"
}

// Insert adds a conn. A key can be in the table once; but a NAT conn whose reply key is another NAT conn's takes
// it over until it is deleted, and is counted. The conn that is there may be past its time and not swept yet:
// the caller then deletes it and inserts again.
func (h *Handle) Insert(s *Spec, now Tick) (Ref, Result) {
	p, l := h.part(s.V6)
	p.help(&l.cache, s.Flags.keys()*splitsPerKey)
	if !h.t.limit.lease(h) {
		return h.full()
	}
	n := insertion{p: p, l: l, spec: s, hash: h.t.seeds.hash(&s.Key)}
	n.prepare(h, s.Flags.twoKeys())
	if n.idx == 0 {
		return h.full()
	}
	n.fill(now)
	ref, res := Ref(0), Full
	if !s.Flags.twoKeys() || n.linkReply() {
		ref, res = n.link()
	}
	if res == Inserted {
		h.inserted(s, &n)
		return ref, res
	}
	h.undo(&n)
	if res == Full {
		return h.full()
	}
	return ref, res
}

// prepare asks for the buckets and for an entry before any of them is used, so that their cache
// misses overlap. Later, each locked instruction waits for all loads before it.
func (n *insertion) prepare(h *Handle, two bool) {
	touch := n.p.touch(n.hash)
	if two {
		n.replyKey = n.spec.replyKey()
		n.replyHash = h.t.seeds.hash(&n.replyKey)
		touch |= n.p.touch(n.replyHash)
	}
	n.idx = n.p.take(n.l)
	h.batch.touched = touch
}

// touch loads the bucket of a hash for the cache's sake.
func (x *index) touch(hash uint64) uint64 {
	return x.buckets[x.view().bucket(hash)].head.Load()
}

// splitsPerKey finishes a doubling long before the next is due: that takes 2.6 keys for each bucket. More would only
// make the slowest inserts slower, which are those that meet long chains in what they split.
const splitsPerKey = 1

func (h *Handle) full() (Ref, Result) {
	h.own.full++
	h.dirty = true
	return 0, Full
}

func (h *Handle) inserted(s *Spec, n *insertion) {
	h.t.limit.spend(h)
	h.own.conns++
	if s.Flags&FlagTemplate != 0 {
		h.own.templates++
	}
	if n.collided {
		h.own.collisions++
		n.supersede()
	}
	h.dirty = true
	n.p.count(n.l, n.slots)
}

// undo takes back an insertion that did not happen. Once its reply key was linked others may have
// seen the entry, so that it must wait like a removed one.
func (h *Handle) undo(n *insertion) {
	atomic.StoreUint64(&n.p.entry(n.idx).w[3], n.meta|lifeFree)
	if n.slots == 0 {
		n.p.untake(n.l, n.idx)
		return
	}
	n.p.unlink(&n.l.cache, n.replyHash&^idxMask|uint64(n.idx))
	h.retire(n.p, n.l, n.idx)
}

func (h *Handle) retire(p *part, l *local, idx uint32) {
	p.retire(l, idx, h.t.epochs.global.Load())
	h.waiting = true
}

// insertion is one Insert on its way.
type insertion struct {
	p         *part
	l         *local
	spec      *Spec
	hash      uint64
	replyHash uint64 // valid iff the conn has two keys, like replyKey
	replyKey  Key
	idx       uint32
	slots     int // linked so far
	meta      uint64
	collided  bool
}

// fill writes the entry, which nobody else looks into but for its life.
func (n *insertion) fill(now Tick) { n.meta = n.spec.fill(n.p.entry(n.idx), now) }

// fill writes an entry but for its life, and returns the word that holds it.
func (s *Spec) fill(e *Entry, now Tick) (meta uint64) {
	w1 := s.L4&l4Mask | uint64(s.DestPort)<<destShift
	w2 := s.DestAddr[0] & lowHalf
	if s.V6 {
		w1 |= v6Bit
		w2 = 0
		e.wide().x = [8]uint64{s.Addr[0], s.Addr[1], s.Addr[2], s.Addr[3], s.DestAddr[0], s.DestAddr[1]}
		e.w[0] = 0
	} else {
		e.w[0] = s.Addr[0]
	}
	e.w[1] = w1
	e.w[2] = w2 | uint64(s.Service)<<32
	e.w[4] = uint64(now) | uint64(s.Timeout)<<32
	e.w[5] = uint64(s.Dest) | uint64(s.Aux)<<32
	e.w[6] = uint64(s.Control)
	e.w[7] = stamp(s.Version, now)
	gen := (e.load(3)>>genShift + 1) & genMask
	return e.check() | gen<<genShift | uint64(s.Flags&^FlagNoReply)<<flagShift | uint64(s.State&31)<<stateShift
}

// linkReply links the reply key first, while the conn is not live. A key that is taken is left
// alone until it is (supersede). False: no memory.
func (n *insertion) linkReply() bool {
	n.publish(lifePending)
	bk, head := n.p.index.lock(n.replyHash)
	f := found{hole: bk.vacant(head, n.replyHash)}
	if f.hole == nil {
		f = n.p.scan(bk, head, scanKey{&n.replyKey, n.replyHash})
	}
	ok := true
	if f.ref == 0 && f.pending == 0 {
		head, ok = n.put(bk, head, f.hole, n.replyHash)
	} else {
		n.collided = true
		n.meta |= uint64(FlagNoReply) << flagShift
	}
	release.Store(&bk.head, head)
	return ok
}

// link links the forward key and makes the conn live, unless the key is there.
func (n *insertion) link() (Ref, Result) {
	bk, head := n.p.index.lock(n.hash)
	f := found{hole: bk.vacant(head, n.hash)}
	if f.hole == nil {
		f = n.p.scan(bk, head, scanKey{&n.spec.Key, n.hash})
	}
	if f.ref != 0 {
		release.Store(&bk.head, head)
		return f.ref, Exists
	}
	head, ok := n.put(bk, head, f.hole, n.hash)
	if ok {
		n.publish(lifeLive)
	}
	release.Store(&bk.head, head)
	if !ok {
		return 0, Full
	}
	return n.p.ref(uint64(n.idx), matchForward), Inserted
}

// publish lets others see the entry, in this stage of its life.
func (n *insertion) publish(life uint64) { release.Store(n.p.entry(n.idx).word(3), n.meta|life) }

// put stores the slot for a hash in a hole of the locked chain or a new overflow bucket.
func (n *insertion) put(bk *bucket, head uint64, hole *atomic.Uint64, hash uint64) (uint64, bool) {
	slot := hash&^idxMask | uint64(n.idx)
	if hole != nil {
		release.Store(hole, slot)
	} else {
		o := n.p.pool.get(&n.l.cache)
		if o == 0 {
			return head, false
		}
		n.p.pool.buckets[o].slot[0].Store(slot)
		head = n.p.push(o, head)
	}
	n.slots++
	return head, true
}

// Delete removes a conn from both its keys and reports whether this caller did it. The entry
// stays readable until the caller's Quiesce, but for its version, which is GoneVersion.
func (h *Handle) Delete(r Ref) bool {
	if r&idxMask == 0 {
		return false
	}
	p, l := h.part(r.V6())
	idx := uint32(r & idxMask)
	e := p.entry(idx)
	f := e.Flags()
	fwd, reply := e.keys()
	fwdHash, replyHash := h.t.seeds.hash(&fwd), uint64(0)
	touch := p.touch(fwdHash)
	if f.twoKeys() {
		replyHash = h.t.seeds.hash(&reply)
		touch |= p.touch(replyHash)
	}
	h.batch.touched = touch
	if !e.kill() {
		return false
	}
	h.gone = e.Version()
	if e.Flags()&FlagUnlinked != 0 { // final once it is dead
		h.deleted(f)
		h.retire(p, l, idx)
		return true
	}
	p.unlink(&l.cache, fwdHash&^idxMask|uint64(idx))
	slots := 1
	if f.twoKeys() {
		slots += p.dropReply(&l.cache, idx, scanKey{&reply, replyHash})
	}
	h.deleted(f)
	p.count(l, -slots)
	h.retire(p, l, idx)
	return true
}

// Unlink makes a live template unfindable, for a new one in its place, and reports whether this caller
// did it. Until it is deleted it goes on as before: its time runs, and it is walked.
func (h *Handle) Unlink(r Ref) bool {
	p, l := h.part(r.V6())
	idx := uint32(r & idxMask)
	e := p.entry(idx)
	if e.Flags()&(FlagTemplate|FlagUnlinked) != FlagTemplate || !e.SetFlags(FlagUnlinked) {
		return false
	}
	fwd, _ := e.keys()
	p.unlink(&l.cache, h.t.seeds.hash(&fwd)&^idxMask|uint64(idx))
	p.count(l, -1)
	return true
}

func (h *Handle) deleted(f Flags) {
	h.t.limit.refund(h)
	h.own.conns--
	if f&FlagTemplate != 0 {
		h.own.templates--
	}
	h.dirty = true
}
