package ring

import (
	"runtime"
	"testing"

	"ulvs/internal/testutil"
)

func TestTheConsumerSeesEveryPublishedSlotInOrder(t *testing.T) {
	const total = 200_000
	r := New[uint64](64)
	done := make(chan uint64)
	go func() {
		want := uint64(0)
		for want < total {
			got := r.Peek(17)
			for _, v := range got {
				if v != want {
					done <- v
					return
				}
				want++
			}
			r.Release(len(got))
			if len(got) == 0 {
				runtime.Gosched()
			}
		}
		done <- total
	}()
	for v := uint64(0); v < total; {
		if slot := r.Claim(); slot != nil {
			*slot = v
			v++
			if v%7 == 0 || v == total {
				r.Publish()
			}
			continue
		}
		r.Publish()
		runtime.Gosched()
	}
	if got := <-done; got != total {
		t.Fatalf("the consumer read %d out of order", got)
	}
}

func TestAFullRingGivesNoSlotUntilOneIsReleased(t *testing.T) {
	r := New[int](4)
	for i := range 4 {
		if r.Claim() == nil {
			t.Fatalf("no slot %d", i)
		}
	}
	if r.Claim() != nil {
		t.Fatal("a fifth slot of four")
	}
	if len(r.Peek(9)) != 0 {
		t.Fatal("claimed slots are seen before Publish")
	}
	if !r.Publish() || r.Publish() {
		t.Fatal("Publish does not tell whether there was anything new")
	}
	if n := len(r.Peek(9)); n != 4 || r.Len() != 4 {
		t.Fatalf("%d slots to read, want 4", n)
	}
	r.Release(1)
	if r.Claim() == nil || r.Claim() != nil {
		t.Fatal("one released slot is not one claim")
	}
}

func TestARingOfAnOddSizeIsRefused(t *testing.T) {
	for _, size := range []int{0, 3, -4} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("size %d was taken", size)
				}
			}()
			New[int](size)
		}()
	}
}

func TestWritingAndReadingAllocateNothing(t *testing.T) {
	r := New[[12]uint64](64)
	testutil.AllocFree(t, func() {
		r.Claim()[0] = 1
		r.Publish()
		r.Release(len(r.Peek(64)))
	})
}

func BenchmarkRing(b *testing.B) {
	r := New[[12]uint64](1024)
	for b.Loop() {
		slot := r.Claim()
		slot[0]++
		r.Publish()
		r.Release(len(r.Peek(64)))
	}
}
