package afxdp

import (
	"runtime"
	"sync/atomic"
	"testing"
)

func TestARingHoldsItsSizeAndNoMore(t *testing.T) {
	for _, start := range []uint32{0, 5, ^uint32(0) - 3} {
		p := producer[uint64]{ring: heapRing[uint64](8, start), next: start, consumed: start}
		if p.free(1) != 8 || p.used() != 0 {
			t.Fatalf("start %d: free %d, used %d", start, p.free(1), p.used())
		}
		for i := range uint64(8) {
			p.put(i)
		}
		if p.free(1) != 0 || p.used() != 0 || p.pending() != 8 {
			t.Errorf("start %d: free %d, used %d, pending %d before publish", start, p.free(1), p.used(), p.pending())
		}
		p.publish()
		if p.used() != 8 {
			t.Errorf("start %d: used %d", start, p.used())
		}
		atomic.AddUint32(p.cons, 3)
		if p.free(1) != 3 || p.pending() != 5 {
			t.Errorf("start %d: free %d, pending %d", start, p.free(1), p.pending())
		}
	}
}

func TestAConsumerSeesOnlyWhatWasProduced(t *testing.T) {
	start := ^uint32(0) - 1
	c := consumer[uint64]{ring: heapRing[uint64](8, start), next: start, produced: start}
	if c.ready(8) != 0 {
		t.Fatalf("ready %d in an empty ring", c.ready(8))
	}
	for i := range uint64(5) {
		kernelPut(&c, i+100)
	}
	if c.ready(2) != 2 || c.ready(8) != 5 {
		t.Errorf("ready %d and %d, want 2 and 5", c.ready(2), c.ready(8))
	}
	for i := range uint64(5) {
		if got := c.take(); got != i+100 {
			t.Errorf("took %d, want %d", got, i+100)
		}
	}
	if c.used() != 5 {
		t.Errorf("used %d before release", c.used())
	}
	c.release()
	if c.used() != 0 || c.ready(8) != 0 {
		t.Errorf("used %d, ready %d after release", c.used(), c.ready(8))
	}
}

// The race detector sees heap memory: run with -race this proves that the
// index's atomics order the entries.
func TestTwoGoroutinesPassEntriesInOrder(t *testing.T) {
	const n = 50000
	shared := heapRing[uint64](64, ^uint32(0)-1000)
	start := *shared.prod
	done := make(chan uint64, 1)
	go func() {
		c := consumer[uint64]{ring: shared, next: start, produced: start}
		for want := uint64(0); want < n; {
			k := c.ready(16)
			for range k {
				if got := c.take(); got != want {
					done <- got
					return
				}
				want++
			}
			c.release()
			runtime.Gosched()
		}
		done <- n
	}()
	p := producer[uint64]{ring: shared, next: start, consumed: start}
	for i := uint64(0); i < n; {
		for range min(p.free(16), int(n-i)) {
			p.put(i)
			i++
		}
		p.publish()
		runtime.Gosched()
		if len(done) > 0 && i < n {
			break // the consumer gave up
		}
	}
	if got := <-done; got != n {
		t.Errorf("entry %d came out of order", got)
	}
}
