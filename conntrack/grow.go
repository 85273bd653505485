package conntrack

// maxLoad is the share of slots in use, in 1/64ths, past which the index doubles: 75 %.
// Beyond, ever more keys sit in overflow buckets, each an extra miss.
const maxLoad = 48

// level returns the depth all live buckets have, and whether a doubling is under way.
func (x *index) level() (depth uint64, active bool) {
	s := x.state.Load()
	return s >> levelShift & 0xff, s&stateActive != 0
}

// over reports whether more than share/64 of the slots are in use.
func (x *index) over(share int64) bool {
	depth, _ := x.level()
	return x.slots.Load()*64 > slotsPerBucket<<depth*share
}

// start begins a doubling if the index is too full and may grow. Any number of workers may call it.
func (x *index) start() {
	s := x.state.Load()
	if s&stateActive != 0 || s>>levelShift >= uint64(x.maxDepth) || !x.over(maxLoad) {
		return
	}
	x.state.CompareAndSwap(s, s|stateActive)
}

// help splits up to n buckets of the doubling under way.
func (x *index) help(c *cache, n int) {
	for ; n > 0; n-- {
		s := x.state.Load()
		depth := s >> levelShift & 0xff
		b := s & claimMask
		if s&stateActive == 0 || b == 1<<depth {
			return
		}
		if x.state.CompareAndSwap(s, s+1) {
			x.split(c, b, depth)
			x.finish(depth)
		}
	}
}

// finish counts a split. The one that completes the doubling ends it; counting splits done and
// not splits claimed keeps the next doubling from meeting buckets of the one before.
func (x *index) finish(depth uint64) {
	if x.done.Add(1) != 1<<depth {
		return
	}
	x.done.Store(0)
	x.grown.Add(1)
	x.state.Store((depth + 1) << levelShift)
}

// split divides bucket b of the given depth: slots whose next hash bit is set go to a bucket
// that becomes live by that. It needs no memory, hence cannot fail: what two chains need of
// overflow buckets, the one chain had (ceil(a/7) + ceil(b/7) - 2 <= overflow buckets of a + b slots).
func (x *index) split(c *cache, b, depth uint64) {
	old, fresh := &x.buckets[b], &x.buckets[b+1<<depth]
	head := lockBucket(old)
	// From here on readers who miss at old wait.
	head = bump(head)
	old.head.Store(head | headLock | headSplit)
	head += depthOne
	bit := uint64(1) << (idxBits + depth)
	freshHead := head & (depthMask << depthShift)
	if head>>overShift == 0 {
		splitLine(old, fresh, bit)
	} else {
		head, freshHead = x.splitChain(c, [2]*bucket{old, fresh}, [2]uint64{head, freshHead}, bit)
	}
	fresh.head.Store(freshHead)
	old.head.Store(bump(head))
}

func lockBucket(bk *bucket) uint64 {
	for spin := 0; ; {
		head := bk.head.Load()
		if head&headLock == 0 && bk.head.CompareAndSwap(head, head|headLock) {
			return head
		}
		spin = pause(spin)
	}
}

// splitLine splits a bucket without overflow; what stays is not written.
func splitLine(old, fresh *bucket, bit uint64) {
	n := 0
	for i := range old.slot {
		if s := old.slot[i].Load(); s&bit != 0 {
			fresh.slot[n].Store(s)
			old.slot[i].Store(0)
			n++
		}
	}
}

// splitChain splits a bucket with its chain: it empties one bucket of the chain after the other
// and deals the slots out to both sides, which take emptied overflow buckets as they need them.
func (x *index) splitChain(c *cache, side [2]*bucket, head [2]uint64, bit uint64) (uint64, uint64) {
	d := dealer{x: x, head: head, at: side, bit: bit}
	chain := head[0] >> overShift
	d.head[0] &= lowHalf
	d.empty(side[0])
	for chain != 0 {
		o := &x.pool.buckets[chain]
		following := o.head.Load() >> overShift
		o.head.Store(d.spare << overShift)
		d.spare = chain
		d.empty(o)
		chain = following
	}
	for d.spare != 0 {
		o := d.takeSpare()
		x.pool.put(c, o)
	}
	return d.head[0], d.head[1]
}

// dealer deals slots out to the two sides of a split.
type dealer struct {
	x     *index
	head  [2]uint64
	at    [2]*bucket // where each side is being filled
	n     [2]int     // slots used there
	spare uint64     // emptied overflow buckets, linked as a chain
	bit   uint64
}

// empty takes all slots out of bk, then deals them; bk may be filled again meanwhile.
func (d *dealer) empty(bk *bucket) {
	var slots [slotsPerBucket]uint64
	for i := range bk.slot {
		slots[i] = bk.slot[i].Load()
		bk.slot[i].Store(0)
	}
	for _, s := range slots {
		if s == 0 {
			continue
		}
		if s&d.bit == 0 {
			d.deal(0, s)
		} else {
			d.deal(1, s)
		}
	}
}

func (d *dealer) deal(side int, slot uint64) {
	if d.n[side] == slotsPerBucket {
		o := d.takeSpare()
		d.head[side] = d.x.push(o, d.head[side])
		d.at[side], d.n[side] = &d.x.pool.buckets[o], 0
	}
	d.at[side].slot[d.n[side]].Store(slot)
	d.n[side]++
}

func (d *dealer) takeSpare() uint64 {
	o := d.spare
	d.spare = d.x.pool.buckets[o].head.Load() >> overShift
	return o
}
