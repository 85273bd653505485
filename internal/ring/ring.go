// Package ring is a bounded queue between one producer and one consumer that never wait for
// each other: a worker of the data plane writes, a goroutine of the control path reads.
//
// It owns the slots and the two positions. It does not wake anybody and does not count what did
// not fit: that is the producer's.
package ring

import (
	"fmt"
	"sync/atomic"
)

// SPSC is a ring of T. The producer calls Claim and Publish, the consumer Peek and Release, each
// from one goroutine at a time. T should hold no pointers: slots are never cleared.
type SPSC[T any] struct {
	slots []T
	mask  uint64
	_     [96]byte

	// the producer's line
	next     uint64        // slots claimed
	seenHead uint64        // head as the producer last looked
	tail     atomic.Uint64 // slots published
	_        [104]byte

	// the consumer's line
	head atomic.Uint64 // slots released
	_    [120]byte
}

// New makes a ring of size slots, a power of two.
func New[T any](size int) *SPSC[T] {
	if size <= 0 || size&(size-1) != 0 {
		panic(fmt.Sprintf("ring: size %d is not a power of two", size))
	}
	return &SPSC[T]{slots: make([]T, size), mask: uint64(size - 1)}
}

// Claim returns the next slot to be written, nil if the ring is full. What is in it is old.
func (r *SPSC[T]) Claim() *T {
	if r.next-r.seenHead > r.mask {
		if r.seenHead = r.head.Load(); r.next-r.seenHead > r.mask {
			return nil
		}
	}
	slot := &r.slots[r.next&r.mask]
	r.next++
	return slot
}

// Publish shows the consumer all that was claimed, and reports whether that was anything.
func (r *SPSC[T]) Publish() bool {
	if r.tail.Load() == r.next {
		return false
	}
	r.tail.Store(r.next)
	return true
}

// Peek returns what can be read in one piece, at most limit slots. They stay the consumer's until
// Release.
func (r *SPSC[T]) Peek(limit int) []T {
	head := r.head.Load()
	n := min(r.tail.Load()-head, uint64(limit))
	at := head & r.mask
	return r.slots[at:min(at+n, uint64(len(r.slots)))]
}

// Release gives the first n slots of the last Peek back to the producer.
func (r *SPSC[T]) Release(n int) { r.head.Add(uint64(n)) }

// Len returns how many published slots wait, for either side.
func (r *SPSC[T]) Len() int { return int(r.tail.Load() - r.head.Load()) }
