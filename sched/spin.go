package sched

import (
	"runtime"
	"sync/atomic"
)

// spin is a lock for a few dozen instructions on cores that are never idle. It
// yields after a bounded number of tries, because a holder can lose its core.
type spin struct {
	held atomic.Uint32
	_    [60]byte // the lock's line is shared with nothing
}

const spinTries = 128

func (s *spin) lock() {
	for !s.held.CompareAndSwap(0, 1) {
		for i := 0; s.held.Load() != 0; i++ {
			if i == spinTries {
				runtime.Gosched()
				i = 0
			}
		}
	}
}

func (s *spin) unlock() { s.held.Store(0) }
