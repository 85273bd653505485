package conntrack

import (
	"sync"
	"sync/atomic"
	"testing"
)

// sweeper notes what it was shown.
type sweeper struct {
	table   *Table
	now     Tick
	renew   map[uint32]bool // Aux of conns to renew
	expired map[uint32]int
	gone    map[uint32]int
}

func newSweeper(t *Table) *sweeper {
	return &sweeper{table: t, renew: map[uint32]bool{}, expired: map[uint32]int{}, gone: map[uint32]int{}}
}

func (s *sweeper) Expired(r Ref, e *Entry) bool {
	if s.table.Entry(r) != e || !e.Expired(s.now) {
		panic("shown what has not expired, or another's Ref")
	}
	s.expired[e.Aux()]++
	if s.renew[e.Aux()] {
		e.Touch(s.now, e.Timeout())
		return false
	}
	return true
}

func (s *sweeper) Gone(_ Ref, e *Entry) { s.gone[e.Aux()]++ }

func TestConnsExpireWhenTheirTimeIsOverAndNotBefore(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	const n = 5000
	for i := range uint32(n) {
		s := flow(uint64(i), i%3 == 0, FlagNAT)
		s.Aux, s.Timeout = i, Tick(i)
		mustInsert(t, h, s, 10)
	}
	sw := newSweeper(table)
	for now := Tick(10); now < n+120; now += 97 {
		sw.now = now
		h.Advance(now, table.Span(), sw)
		h.Advance(now, sweepChunk, sw) // a sweep starts anywhere, and chunks end at the array's end
		h.Quiesce()
		for i := range uint32(n) {
			if over := Tick(10+i) <= now; (sw.gone[i] == 1) != over || sw.gone[i] > 1 {
				t.Fatalf("at %d conn %d, due at %d, was deleted %d times", now, i, 10+i, sw.gone[i])
			}
		}
	}
	if st := table.Stats(); st.Conns != 0 {
		t.Errorf("%+v", st)
	}
	checkIndex(t, table)
}

func TestARenewedConnStays(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	s := flow(1, false, FlagTemplate)
	s.Aux, s.Timeout = 1, 100
	r := mustInsert(t, h, s, 0)
	sw := newSweeper(table)
	sw.renew[1] = true
	for _, now := range []Tick{99, 100, 150, 199, 200} {
		sw.now = now
		h.Advance(now, 1<<20, sw)
	}
	if sw.expired[1] != 2 || len(sw.gone) != 0 || h.FindKey(&s.Key) != r || table.Entry(r).Seen() != 200 {
		t.Errorf("expired %d times, gone %v, seen %d", sw.expired[1], sw.gone, table.Entry(r).Seen())
	}
}

func TestSmallBudgetsStillReachEveryConn(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true, Workers: 2})
	hs := []*Handle{table.Worker(0), table.Worker(1)}
	const n = 3000
	for i := range uint32(n) {
		s := flow(uint64(i), i%2 == 0, 0)
		s.Aux, s.Timeout = i, 1
		mustInsert(t, hs[i%2], s, 0)
	}
	sw := newSweeper(table)
	sw.now = 1
	calls := 0
	for ; len(sw.gone) < n && calls < 1000; calls++ {
		before := len(sw.gone)
		hs[calls%2].Advance(1, 10, sw)
		if d := len(sw.gone) - before; d > sweepChunk {
			t.Fatalf("a budget of 10 deleted %d", d)
		}
	}
	if calls == 1000 {
		t.Errorf("%d of %d after 1000 calls", len(sw.gone), n)
	}
}

func TestAZeroBudgetAndAnEmptyTableAreFine(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	h.Advance(1, 100, newSweeper(table))
	mustInsert(t, h, flow(1, false, 0), 0)
	h.Advance(1<<31, 0, newSweeper(table))
	h.Advance(1<<31, -5, newSweeper(table))
	if h.Quiesce(); table.Stats().Conns != 1 {
		t.Error("a sweep without a budget swept")
	}
}

func TestAConnIsDeletedByExactlyOneOfSeveral(t *testing.T) {
	const workers, n = 4, 2000
	table := newTable(t, Options{Bits: MinBits, Heap: true, Workers: workers})
	h0 := table.Worker(0)
	refs := make([]Ref, n)
	for i := range refs {
		refs[i] = mustInsert(t, h0, flow(uint64(i), i%2 == 0, FlagNAT), 0)
	}
	var deleted atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		h := table.Worker(w)
		wg.Go(func() {
			for _, r := range refs {
				if h.Delete(r) {
					deleted.Add(1)
				}
			}
			h.Park()
		})
	}
	wg.Wait()
	if st := table.Stats(); deleted.Load() != n || st.Conns != 0 {
		t.Errorf("%d deletions of %d conns, %+v", deleted.Load(), n, st)
	}
	checkIndex(t, table)
}
