package conntrack

import "sync/atomic"

// local is what one worker keeps of one part, so that it seldom meets others there.
type local struct {
	free  uint32 // chain of free entries
	n     int    // about how many they are
	next  uint32 // entries [next, end) never used, this worker's
	end   uint32
	bags  [numBags]bag
	cache cache // overflow buckets
	delta int   // slots linked less slots unlinked, not told to the index yet
}

// bag holds the entries removed during one epoch, as chains.
type bag struct {
	epoch uint64
	head  uint32 // open chain
	tail  uint32
	n     int    // entries in it
	full  uint32 // closed chains of one chunk each, linked by their first entries
}

// numBags is one more than the epochs a bag can be waiting for.
const numBags = 4

// take returns a free entry, 0 if there is none.
func (p *part) take(l *local) uint32 {
	if l.free == 0 && l.next == l.end && !p.restock(l) {
		return 0
	}
	if l.free == 0 {
		l.next++
		return l.next - 1
	}
	i := l.free
	l.free = uint32(p.entry(i).w[7])
	l.n--
	return i
}

// restock gets a chunk from the pool: one given back, or one never used.
func (p *part) restock(l *local) bool {
	p.lock.lock()
	if i := p.chunks; i != 0 {
		p.chunks = uint32(p.entry(i).w[7] >> 32)
		l.free, l.n = i, int(p.chunk)
	} else {
		high := p.high.Load()
		l.next, l.end = high, high+min(p.chunk, p.limit-high)
		p.high.Store(l.end)
	}
	p.lock.unlock()
	return l.free != 0 || l.next != l.end
}

// giveBack hands one chain of free entries to the pool.
func (p *part) giveBack(head uint32) {
	if head == 0 {
		return
	}
	p.lock.lock()
	e := p.entry(head)
	e.w[7] = e.w[7]&lowHalf | uint64(p.chunks)<<32
	p.chunks = head
	p.lock.unlock()
}

// untake returns an entry nobody else has seen.
func (p *part) untake(l *local, i uint32) {
	p.entry(i).w[7] = uint64(l.free)
	l.free = i
	l.n++
}

// retire puts a removed entry, unlinked by now, into the bag of the epoch.
func (p *part) retire(l *local, i uint32, epoch uint64) {
	b := &l.bags[epoch%numBags]
	if b.epoch != epoch {
		p.recycle(l, b)
		b.epoch = epoch
	}
	link := uint64(b.head)
	if b.head == 0 {
		b.tail = i
	}
	b.head = i
	if b.n++; b.n >= int(p.chunk) {
		link |= uint64(b.full) << 32
		b.full, b.head, b.n = i, 0, 0
	}
	atomic.StoreUint64(&p.entry(i).w[7], link) // who found the conn may still read its version
}

// recycle makes the entries of a bag free. Its epoch is at least two behind.
func (p *part) recycle(l *local, b *bag) {
	for b.full != 0 {
		i := b.full
		b.full = uint32(p.entry(i).w[7] >> 32)
		p.giveBack(i)
	}
	if b.head == 0 {
		return
	}
	if l.n+b.n > 2*int(p.chunk) {
		p.giveBack(l.free)
		l.free, l.n = 0, 0
	}
	p.entry(b.tail).w[7] = uint64(l.free)
	l.free = b.head
	l.n += b.n
	b.head, b.n = 0, 0
}

// mature recycles the bags that no worker can still be looking into.
func (p *part) mature(l *local, epoch uint64) {
	for i := range l.bags {
		if b := &l.bags[i]; b.epoch+2 <= epoch && (b.head != 0 || b.full != 0) {
			p.recycle(l, b)
		}
	}
}

// count tells the index about a change of its slots, now and then.
func (p *part) count(l *local, slots int) {
	l.delta += slots
	if l.delta < tellSlots && l.delta > -tellSlots {
		return
	}
	p.slots.Add(int64(l.delta))
	l.delta = 0
	p.start()
}

// tellSlots bounds how wrong one worker leaves the index's count of slots.
const tellSlots = 32
