package conntrack

import "sync/atomic"

// overflow is the pool of overflow buckets: a stack of those given back, and a mark
// up to which they were ever used.
type overflow struct {
	buckets []bucket // [0] is never used: 0 means none
	lock    spinLock
	free    uint64        // first of the stack; under lock
	high    atomic.Uint64 // buckets ever used, [0] included; written under lock
	inUse   atomic.Int64  // handed out to workers, those in their caches included
}

// cache is a worker's own few overflow buckets, so that the pool's lock is seldom taken.
type cache struct {
	n   int
	ids [cacheSize]uint32
}

const cacheSize = 32

// Free overflow buckets are linked by the version field of their heads; the field that readers
// follow stays 0, so one that is still in a freed bucket ends there.
const maxOverflow = 1<<24 - 1

// get returns an empty overflow bucket, 0 if there is none.
func (p *overflow) get(c *cache) uint64 {
	if c.n == 0 {
		p.fill(c)
	}
	if c.n == 0 {
		return 0
	}
	c.n--
	return uint64(c.ids[c.n])
}

// put takes an empty overflow bucket back.
func (p *overflow) put(c *cache, o uint64) {
	if c.n == cacheSize {
		p.drain(c)
	}
	p.buckets[o].head.Store(0)
	c.ids[c.n] = uint32(o)
	c.n++
}

// fillSize is how many buckets a worker gets at once: each that was given back is a cache miss that has to wait for the
// one before it. Sixteen took the insert that paid for them 2.5 us, one insert in four hundred.
const fillSize = 4

// fill gets some buckets from the pool.
func (p *overflow) fill(c *cache) {
	p.lock.lock()
	high := p.high.Load()
	next := high
	for c.n < fillSize {
		o := p.free
		if o != 0 {
			head := &p.buckets[o].head
			p.free = head.Load() >> 8
			head.Store(0)
		} else if o = next; o < uint64(len(p.buckets)) {
			next++
		} else {
			break
		}
		c.ids[c.n] = uint32(o)
		c.n++
	}
	if next != high {
		p.high.Store(next)
	}
	p.inUse.Add(int64(c.n))
	p.lock.unlock()
}

// drain gives half a cache back to the pool.
func (p *overflow) drain(c *cache) {
	p.lock.lock()
	for c.n > cacheSize/2 {
		c.n--
		o := uint64(c.ids[c.n])
		p.buckets[o].head.Store(p.free << 8)
		p.free = o
		p.inUse.Add(-1)
	}
	p.lock.unlock()
}

// spinLock guards a few instructions that run once in hundreds of inserts.
type spinLock struct{ v atomic.Uint32 }

func (l *spinLock) lock() {
	for spin := 0; !l.v.CompareAndSwap(0, 1); {
		spin = pause(spin)
	}
}

func (l *spinLock) unlock() { l.v.Store(0) }
