package conntrack

import (
	"sync"
	"testing"
)

// Whoever wins when conns are deleted and hung on a template at the same time: the template counts what hangs on it.
func TestADeletedConnLeavesNothingHangingOnATemplate(t *testing.T) {
	const batch, batches = 500, 200
	table := newTable(t, Options{Bits: MinBits, Heap: true, Workers: 2})
	h, other := table.Worker(0), table.Worker(1)
	template := table.Entry(mustInsert(t, h, flow(1, false, FlagTemplate), 0))
	taken, late := 0, 0
	for range batches {
		refs := make([]Ref, batch)
		for i := range refs {
			refs[i] = mustInsert(t, h, flow(2+uint64(i), false, 0), 0)
		}
		var both sync.WaitGroup
		both.Go(func() {
			for _, ref := range refs {
				template.AddControlled(1)
				if !table.Entry(ref).Hang(7) {
					template.AddControlled(-1)
					late++
				}
			}
			other.Quiesce()
		})
		both.Go(func() {
			for _, ref := range refs {
				h.Delete(ref)
				if table.Entry(ref).TakeControl() == 7 {
					template.AddControlled(-1)
					taken++
				}
			}
		})
		both.Wait()
		if n := template.Controlled(); n != 0 {
			t.Fatalf("nothing lives, and the template counts %d", n)
		}
		h.Quiesce()
	}
	if taken+late != batch*batches {
		t.Errorf("%d conns were taken off and %d never hung, of %d", taken, late, batch*batches)
	}
	t.Logf("%d conns were taken off and %d never hung", taken, late)
}
