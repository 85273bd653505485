package conntrack

import "testing"

// churn inserts n conns and deletes them, passing a boundary after each, so that entries
// that were free by mistake are used.
func churn(t *testing.T, h *Handle, from, n int) {
	t.Helper()
	refs := make([]Ref, n)
	for i := range refs {
		refs[i] = mustInsert(t, h, flow(uint64(from+i), false, 0), 0)
		h.Quiesce()
	}
	for _, r := range refs {
		h.Delete(r)
		h.Quiesce()
	}
}

func TestAHeldRefSeesItsOldConnUntilQuiesce(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true, Workers: 2})
	holder, other := table.Worker(0), table.Worker(1)
	s := flow(1, false, FlagNAT)
	mustInsert(t, other, s, 0)
	r := holder.FindKey(&s.Key)
	e := table.Entry(r)
	generation := e.Generation()
	other.Delete(r)
	for range 10 {
		churn(t, other, 100, 1500)
	}
	if e.Generation() != generation || e.match(&s.Key) != matchForward || e.Live() {
		t.Fatal("the entry was used again while a worker held a Ref to it")
	}
	for i := uint64(0); e.Generation() == generation; i++ {
		holder.Quiesce()
		other.Quiesce()
		if i == 20_000 {
			t.Fatal("the entry is never used again")
		}
		mustInsert(t, other, flow(10_000+i, false, 0), 0)
	}
}

func TestAWalkHoldsItsConnToo(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	s := flow(1, true, 0)
	r := mustInsert(t, h, s, 0)
	visited := 0
	table.Walk(func(got Ref, e *Entry, _ Info) bool {
		visited++
		generation := e.Generation()
		h.Delete(r)
		for i := range 3000 {
			x := mustInsert(t, h, flow(uint64(10+i), true, 0), 0)
			h.Delete(x)
			h.Quiesce()
		}
		if got != r || e.Generation() != generation || e.match(&s.Key) != matchForward {
			t.Error("the entry was used again under the walk")
		}
		return false
	})
	if visited != 1 {
		t.Errorf("visited %d conns", visited)
	}
}

func TestAParkedWorkerDoesNotHoldUpReuse(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true, Workers: 3, entries: 1 << 10})
	h, sleeper := table.Worker(0), table.Worker(1) // handle 2 was never taken
	sleeper.Park()
	sleeper.Park() // twice is once
	sleeper.Quiesce()
	for range 200 {
		churn(t, h, 0, 100) // far more than there are entries
	}
	sleeper.Unpark()
	sleeper.Unpark()
	for i := range 1 << 12 {
		r, res := h.Insert(new(flow(uint64(i), false, 0)), 0)
		h.Quiesce()
		if res == Full {
			sleeper.Quiesce()
			h.Quiesce()
			return // an online worker that passes no boundary does hold it up
		}
		h.Delete(r)
	}
	t.Error("entries were used again behind an online worker's back")
}

func TestEntriesFreedByOneWorkerServeAnother(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true, Workers: 2, entries: 4096})
	a, b := table.Worker(0), table.Worker(1)
	for i := range 50_000 {
		r := mustInsert(t, a, flow(uint64(i), false, FlagNAT), 0)
		if !b.Delete(r) {
			t.Fatal("not deleted")
		}
		a.Quiesce()
		b.Quiesce()
	}
	checkIndex(t, table)
}
