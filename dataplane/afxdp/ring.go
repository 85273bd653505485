package afxdp

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ring is memory shared with the kernel: a producer and a consumer index
// that only grow (modulo 2^32), a flags word, and size entries. Whoever owns
// an index publishes it with an atomic store after it has touched the entries,
// and the other side loads it atomically before: Go's atomics order both, on
// every architecture (net/xdp/xsk_queue.h describes the kernel's half).
type ring[T any] struct {
	prod, cons *uint32
	flags      *uint32
	mask       uint32
	entries    []T
}

// newRing makes a ring over mapped or heap memory; len(entries) is a power of two.
func newRing[T any](prod, cons, flags *uint32, entries []T) ring[T] {
	return ring[T]{prod: prod, cons: cons, flags: flags, mask: uint32(len(entries) - 1), entries: entries}
}

// used is how many entries are between producer and consumer. The kernel's
// index is not trusted to stay within the ring.
func (r *ring[T]) used() int {
	if r.prod == nil {
		return 0
	}
	n := atomic.LoadUint32(r.prod) - atomic.LoadUint32(r.cons)
	return int(min(n, r.mask+1))
}

// needWakeup reports whether the kernel asks to be called to look at the ring.
func (r *ring[T]) needWakeup() bool {
	return atomic.LoadUint32(r.flags)&unix.XDP_RING_NEED_WAKEUP != 0
}

// producer is our end of a ring that the kernel consumes: fill and TX.
type producer[T any] struct {
	ring[T]
	next     uint32 // our index; entries before it are written, maybe not yet published
	consumed uint32 // the kernel's index when last looked at
}

// free returns how many entries may be put, looking at the kernel's index only
// when fewer than want are known to be free.
func (p *producer[T]) free(want int) int {
	n := p.mask + 1 - (p.next - p.consumed)
	if int(n) < want {
		p.consumed = atomic.LoadUint32(p.cons)
		n = min(p.mask+1-(p.next-p.consumed), p.mask+1)
	}
	return int(n)
}

// put writes one entry; the caller has made sure of room with free.
func (p *producer[T]) put(v T) {
	p.entries[p.next&p.mask] = v
	p.next++
}

// publish lets the kernel see what was put.
func (p *producer[T]) publish() { atomic.StoreUint32(p.prod, p.next) }

// pending is how many published entries the kernel has not consumed.
func (p *producer[T]) pending() int {
	return int(min(p.next-atomic.LoadUint32(p.cons), p.mask+1))
}

// consumer is our end of a ring that the kernel produces: RX and completion.
type consumer[T any] struct {
	ring[T]
	next     uint32 // our index; entries before it are taken, maybe not yet given back
	produced uint32 // the kernel's index when last looked at
}

// ready returns how many entries may be taken, want at most, looking at the
// kernel's index only when fewer are known to be there.
func (c *consumer[T]) ready(want int) int {
	if int(c.produced-c.next) < want {
		c.produced = atomic.LoadUint32(c.prod)
	}
	return min(int(min(c.produced-c.next, c.mask+1)), want)
}

// take reads one entry; the caller has made sure with ready that it is there.
func (c *consumer[T]) take() T {
	v := c.entries[c.next&c.mask]
	c.next++
	return v
}

// release gives the entries taken back to the kernel.
func (c *consumer[T]) release() { atomic.StoreUint32(c.cons, c.next) }

// rings are the four of one socket.
type rings struct {
	fill       producer[uint64]       // chunks for the kernel to receive into
	completion consumer[uint64]       // chunks the kernel has sent
	rx         consumer[unix.XDPDesc] // frames received
	tx         producer[unix.XDPDesc] // frames to send
}

// mappedRing makes a ring of size entries over the mapping mem.
//
// The pointers made here are into memory that the Go runtime does not know,
// at offsets the kernel gave and mmap's length covers; they are dropped before
// the mapping is.
func mappedRing[T any](mem []byte, off unix.XDPRingOffset, size int) ring[T] {
	word := func(o uint64) *uint32 { return (*uint32)(unsafe.Pointer(&mem[o])) }
	entries := unsafe.Slice((*T)(unsafe.Pointer(&mem[off.Desc])), size)
	return newRing(word(off.Producer), word(off.Consumer), word(off.Flags), entries)
}
