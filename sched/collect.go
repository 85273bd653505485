package sched

// collector frees unused entries of a cache as the kernel's timer does, but by
// the clock that picks bring, and a few buckets per pick instead of all at once.
// A full collection is exact all the same: a bucket that waits for it is
// collected before anything is looked up in it.
type collector struct {
	next    int64 // when the next collection is due; valid iff started
	started bool
	runs    int64 // since the last full one, as the kernel counts
	rover   int   // bucket that the last partial collection ended with

	full   bool  // a full collection is under way
	bucket int   // the next bucket of the collection under way
	left   int   // its buckets to go; 0: none is under way
	goal   int   // entries that a partial one has yet to free
	before int64 // entries last used at this time or earlier go
}

const cacheBuckets = 1 << cacheBits

// tick starts a collection when it is due and goes on with the one under way.
func (g *collector) tick(c *cache, now int64) {
	if !g.started {
		g.started, g.next = true, now+cachePeriod
	}
	if now >= g.next {
		g.begin(c, now)
	}
	for i := 0; i < cacheSweep && g.left > 0; i++ {
		g.step(c)
	}
}

// begin makes up for the collections that fell due without a pick. Of those only
// the last full one, else the last, can find anything that the others had not.
func (g *collector) begin(c *cache, now int64) {
	missed := (now - g.next) / cachePeriod
	last := g.next + missed*cachePeriod
	g.next = last + cachePeriod
	g.finish(c)
	g.runs += missed + 1
	if g.runs >= cacheFullEvery {
		g.runs %= cacheFullEvery
		g.full, g.bucket, g.left = true, 0, cacheBuckets
		g.before = last - g.runs*cachePeriod - c.expire
		return
	}
	excess := c.count - cacheMax
	if excess <= 0 {
		return
	}
	g.full, g.bucket, g.left = false, (g.rover+1)%cacheBuckets, cacheBuckets
	g.goal = min(excess*4/3, cacheMax/2)
	g.before = last - cacheIdle
}

// finish completes a full collection that too few picks came by for.
func (g *collector) finish(c *cache) {
	for g.full && g.left > 0 {
		g.step(c)
	}
	g.left = 0
}

// step collects one bucket.
func (g *collector) step(c *cache) {
	g.sweep(c, g.bucket)
	if !g.full {
		g.rover = g.bucket
	}
	g.bucket = (g.bucket + 1) % cacheBuckets
	if g.left--; !g.full && g.goal <= 0 {
		g.left = 0
	}
}

// catchUp collects a bucket that the full collection under way has not reached.
func (g *collector) catchUp(c *cache, bucket int) {
	if g.left > 0 && g.full && bucket >= g.bucket {
		g.sweep(c, bucket)
	}
}

func (g *collector) sweep(c *cache, bucket int) {
	for head := bucket << cacheSubBits; head < (bucket+1)<<cacheSubBits; head++ {
		for at := &c.heads[head]; *at != 0; {
			e := &c.entries[*at]
			if e.lastUse > g.before {
				at = &e.next
				continue
			}
			c.drop(at)
			g.goal--
		}
	}
}
