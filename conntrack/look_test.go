package conntrack

import (
	"sync"
	"testing"
)

func TestLookFindsWhatWorkersFind(t *testing.T) {
	table := newTable(t, Options{Bits: 8, Heap: true, Workers: 1})
	h := table.Worker(0)
	for _, v6 := range []bool{false, true} {
		spec := flow(7, v6, 0)
		ref := mustInsert(t, h, spec, 1)
		seen := Ref(0)
		if !table.Look(&spec.Key, func(r Ref, e *Entry, i Info) { seen = r }) || seen != ref {
			t.Errorf("IPv6 %v: %d is found, want %d", v6, seen, ref)
		}
		other := flow(8, v6, 0)
		if table.Look(&other.Key, func(Ref, *Entry, Info) { t.Error("nothing is shown") }) {
			t.Errorf("IPv6 %v: what is not there is found", v6)
		}
		h.Delete(ref)
		if table.Look(&spec.Key, func(Ref, *Entry, Info) {}) {
			t.Errorf("IPv6 %v: what was removed is found", v6)
		}
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	spec := flow(7, false, 0)
	if table.Look(&spec.Key, func(Ref, *Entry, Info) {}) {
		t.Error("something is found in a closed table")
	}
}

// What Look shows is the key's own, while a worker removes and reuses entries.
func TestLookTakesTurnsWithAWorkerThatReusesEntries(t *testing.T) {
	table := newTable(t, Options{Bits: 8, Heap: true, Workers: 1})
	h := table.Worker(0)
	var done sync.WaitGroup
	stop := make(chan struct{})
	done.Go(func() {
		for n := uint64(0); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			// Entries pile up while somebody looks for long: when there are none left, that is waited for.
			if ref, res := h.Insert(new(flow(n%16, false, 0)), 1); res == Inserted {
				h.Quiesce()
				h.Delete(ref)
			} else if res != Full {
				t.Errorf("insert: %v", res)
				return
			}
			h.Quiesce()
		}
	})
	for n := range uint64(20000) {
		spec := flow(n%16, false, 0)
		table.Look(&spec.Key, func(_ Ref, e *Entry, _ Info) {
			if got := e.Key(); got != spec.Key && e.Live() {
				t.Errorf("%v is shown for %v", got, spec.Key)
			}
		})
	}
	close(stop)
	done.Wait()
}
