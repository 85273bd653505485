package conntrack

import (
	"math/bits"
	"runtime"
	"sync/atomic"

	"ulvs/internal/release"
)

// bucket is one cache line: a head and seven slots.
//
// Head: lock (bit 0) | splitting (1) | depth field (2..7) | version (8..31) | overflow (32..63).
// The depth field is how often the bucket was split since New, so that zeroed memory is
// an index as it is at the start. The version moves whenever a slot moves.
// In an overflow bucket only the last field is used: the next one of the chain.
//
// Slot: the upper 36 bits of the hash | entry index; 0 is empty, and entry 0 is never used.
type bucket struct {
	head atomic.Uint64
	slot [slotsPerBucket]atomic.Uint64
}

const (
	slotsPerBucket = 7
	bucketSize     = 64

	headLock   = 1 << 0
	headSplit  = 1 << 1
	depthShift = 2
	depthMask  = 63
	depthOne   = 1 << depthShift
	verOne     = 1 << 8
	verMask    = (1<<24 - 1) << 8
	overShift  = 32
)

// index finds entries by hash. It knows nothing of keys.
type index struct {
	buckets  []bucket // reserved for 1<<maxDepth; live ones are a prefix, nearly
	base     uint8    // depth at New
	maxDepth uint8
	pool     overflow
	_        [64]byte
	state    atomic.Uint64 // growth, see view
	_        [56]byte
	slots    atomic.Int64 // linked slots, as far as the workers have told
	done     atomic.Uint64
	grown    atomic.Uint64
	_        [40]byte
}

// The growth state: buckets claimed for splitting (bits 0..39), depth that all live
// buckets have at least (40..47), and whether a doubling is under way (48).
const (
	claimMask   = 1<<40 - 1
	levelShift  = 40
	stateActive = 1 << 48
)

// view is the growth state, taken apart for use by a batch.
type view struct {
	low   uint64 // mask of the buckets that are surely live
	high  uint64 // mask after the doubling under way
	split uint64 // buckets below are split, or being split
}

func (x *index) view() view {
	s := x.state.Load()
	low := uint64(1)<<(s>>levelShift&0xff&63) - 1
	return view{low: low, high: low<<1 | 1, split: s & claimMask}
}

// bucket returns where hash h most probably lives; home makes sure.
func (v view) bucket(h uint64) uint64 {
	b := h >> idxBits & v.low
	if b < v.split {
		b = h >> idxBits & v.high
	}
	return b
}

// home returns the bucket for h, judged by the head of bucket b. b itself is
// right iff it is returned; else the answer is one step nearer.
func (x *index) home(b, head, h uint64) uint64 {
	field := head >> depthShift & depthMask
	if field == 0 && b>>x.base != 0 {
		return b &^ (1 << (bits.Len64(b) - 1)) // not live yet: its keys are with its parent
	}
	return h >> idxBits & (1<<(uint64(x.base)+field) - 1)
}

// settled reports whether a head read before a scan and one read after prove that
// nothing moved in between.
func settled(before, after uint64) bool {
	return (before^after)&^headLock == 0 && before&headSplit == 0
}

// lock locks the bucket of h.
func (x *index) lock(h uint64) (bk *bucket, head uint64) {
	b := x.view().bucket(h)
	for spin := 0; ; {
		bk = &x.buckets[b]
		head = bk.head.Load()
		if to := x.home(b, head, h); to != b {
			b = to
			continue
		}
		if head&headLock == 0 && bk.head.CompareAndSwap(head, head|headLock) {
			return bk, head
		}
		spin = pause(spin)
	}
}

// pause waits a moment for another worker's few instructions, and lets it run if
// it has lost its processor.
func pause(spin int) int {
	if spin++; spin&63 == 0 {
		runtime.Gosched()
	}
	return spin
}

// next returns the overflow bucket after at in the chain of bk, whose head is head.
func next(at, bk *bucket, head uint64) uint64 {
	if at == bk {
		return head >> overShift
	}
	return at.head.Load() >> overShift
}

// push makes overflow bucket o the first of the chain under head.
func (x *index) push(o, head uint64) uint64 {
	x.pool.buckets[o].head.Store(head >> overShift << overShift)
	return head&lowHalf | o<<overShift
}

// unlink removes a slot. A hole left before the overflow chain is filled from it, so that
// chains stay as short as they can and lookups seldom leave the first line.
func (x *index) unlink(c *cache, slot uint64) bool {
	bk, head := x.lock(slot)
	hole := x.search(bk, head, slot)
	if hole == nil {
		release.Store(&bk.head, head)
		return false
	}
	if head>>overShift == 0 {
		release.Store(hole, 0)
	} else {
		head = x.refill(c, bk, head, hole)
	}
	release.Store(&bk.head, head)
	return true
}

// vacant returns an empty slot of the bucket if, by its head, no other slot can be of a key with that hash; nil: look
// through the chain.
func (b *bucket) vacant(head, hash uint64) *atomic.Uint64 {
	if head>>overShift != 0 {
		return nil
	}
	at := slotsPerBucket
	for i := slotsPerBucket - 1; i >= 0; i-- {
		s := b.slot[i].Load()
		if (s^hash)>>idxBits == 0 {
			return nil
		}
		if s == 0 {
			at = i
		}
	}
	if at == slotsPerBucket {
		return nil
	}
	return &b.slot[at]
}

// search returns where the slot is in the locked bucket's chain.
func (x *index) search(bk *bucket, head, slot uint64) *atomic.Uint64 {
	for at := bk; ; {
		for i := range at.slot {
			if at.slot[i].Load() == slot {
				return &at.slot[i]
			}
		}
		o := next(at, bk, head)
		if o == 0 {
			return nil
		}
		at = &x.pool.buckets[o]
	}
}

// refill clears a hole by moving the last slot of the first overflow bucket there, and gives
// that bucket back if it is empty then. The version moves before the slot's old
// place is cleared, so that a reader who sees neither place knows it must look again.
func (x *index) refill(c *cache, bk *bucket, head uint64, hole *atomic.Uint64) uint64 {
	first := head >> overShift
	o := &x.pool.buckets[first]
	last := lastUsed(o)
	if last >= 0 && hole != &o.slot[last] {
		hole.Store(o.slot[last].Load())
		hole = &o.slot[last]
	}
	head = bump(head)
	bk.head.Store(head | headLock)
	hole.Store(0)
	if lastUsed(o) < 0 {
		head = head&lowHalf | o.head.Load()>>overShift<<overShift
		bk.head.Store(head | headLock)
		x.pool.put(c, first)
	}
	return head
}

func lastUsed(b *bucket) int {
	for i := slotsPerBucket - 1; i >= 0; i-- {
		if b.slot[i].Load() != 0 {
			return i
		}
	}
	return -1
}

// bump moves the version.
func bump(head uint64) uint64 { return head&^verMask | (head+verOne)&verMask }
