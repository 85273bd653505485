package conntrack

import (
	"errors"
	"sync"
	"testing"
)

func TestBadOptionsAreNamed(t *testing.T) {
	for _, o := range []Options{
		{Bits: 7}, {Bits: 28}, {MaxConns: -1}, {MaxConns: 1 << 28}, {Workers: -1}, {Workers: 1025},
	} {
		if table, err := New(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v, %p", o, err, table)
		}
	}
}

func TestCloseTwiceIsCloseOnce(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits})
	for range 2 {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	}
	table.Walk(func(Ref, *Entry, Info) bool { t.Error("a closed table has conns"); return false })
}

func TestMaxConnsRefusesAndCounts(t *testing.T) {
	for _, limit := range []int{1, 10, 1000, 20_000} {
		table := newTable(t, Options{Bits: MinBits, Heap: true, MaxConns: limit})
		h := table.Worker(0)
		var last Ref
		for i := range limit {
			last = mustInsert(t, h, flow(uint64(i), i%2 == 0, FlagNAT), 0)
		}
		s := flow(uint64(limit), false, 0)
		for range 3 {
			if _, res := h.Insert(&s, 0); res != Full {
				t.Fatalf("conn %d of %d: %v", limit+1, limit, res)
			}
		}
		h.Delete(last)
		mustInsert(t, h, s, 0)
		h.Quiesce()
		if st := table.Stats(); st.Full != 3 || st.Conns != limit || st.MaxConns != limit {
			t.Errorf("%+v", st)
		}
	}
}

func TestMaxConnsHoldsForAllWorkersTogether(t *testing.T) {
	const limit, workers = 5000, 4
	table := newTable(t, Options{Bits: MinBits, Heap: true, MaxConns: limit, Workers: workers})
	var wg sync.WaitGroup
	for w := range workers {
		h := table.Worker(w)
		wg.Go(func() {
			defer h.Park()
			for i := range 2 * limit / workers {
				h.Insert(new(flow(uint64(w<<16+i), false, 0)), 0)
				h.Quiesce()
			}
		})
	}
	wg.Wait()
	if n := table.Stats().Conns; n > limit || n < limit-limit/16 {
		t.Errorf("%d conns, want at most %d and not much fewer", n, limit)
	}
}

func TestTheNewestOfSeveralConnsHasTheReplyKey(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		table := newTable(t, Options{Bits: MinBits, Heap: true})
		h := table.Worker(0)
		var refs [4]Ref
		var specs [4]Spec
		for i := range specs {
			specs[i] = flow(1, v6, FlagNAT)
			specs[i].L4 ^= uint64(i) << 20 // other services, the same client port and real server
			refs[i] = mustInsert(t, h, specs[i], 0)
		}
		reply := specs[0].replyKey()
		for _, step := range []struct{ gone, has int }{{1, 3}, {3, 2}, {2, 0}} {
			h.Delete(refs[step.gone])
			if lookup(t, h, &reply) != refs[step.has]|refReply {
				t.Errorf("without conn %d conn %d has the reply key", step.gone, step.has)
			}
			if lookup(t, h, &specs[0].Key) != refs[0] {
				t.Error("the oldest has its forward key whoever has the reply key")
			}
		}
		h.Delete(refs[0])
		h.Quiesce()
		if st := table.Stats(); lookup(t, h, &reply) != 0 || st.ReplyCollisions != 3 || st.Conns != 0 {
			t.Errorf("%+v", st)
		}
		checkIndex(t, table)
	}
}

func TestAFullEntryArrayRefusesAndRecovers(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true, entries: 100})
	h := table.Worker(0)
	var refs []Ref
	for i := range uint64(200) {
		if r, res := h.Insert(new(flow(i, false, FlagNAT)), 0); res == Inserted {
			refs = append(refs, r)
		}
	}
	if len(refs) != 99 {
		t.Errorf("%d conns in 99 entries", len(refs))
	}
	for _, r := range refs {
		h.Delete(r)
	}
	for range 20 {
		h.Quiesce()
	}
	for i := range uint64(99) {
		mustInsert(t, h, flow(1000+i, false, FlagNAT), 0)
	}
	checkIndex(t, table)
}

// TestAnEmptyOverflowPoolFailsInsertsOnly: splits go on without it (conntab.md trap 7).
func TestAnEmptyOverflowPoolFailsInsertsOnly(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true, over: 4})
	h := table.Worker(0)
	have, full := map[uint64]Ref{}, 0
	for i := range uint64(40_000) {
		r, res := h.Insert(new(flow(i, false, [2]Flags{0, FlagNAT}[i%2])), 0)
		switch res {
		case Inserted:
			have[i] = r
		case Full:
			full++
		}
		h.Quiesce()
	}
	st := table.Stats()
	if full == 0 || st.Grown < 5 || int(st.Full) != full || st.Conns != len(have) {
		t.Errorf("%d full, %d inserted, %+v", full, len(have), st)
	}
	for i, r := range have {
		s := flow(i, false, 0)
		if lookup(t, h, &s.Key) != r {
			t.Fatalf("conn %d is lost", i)
		}
	}
	checkIndex(t, table)
}

func TestGrowthPastTheConfiguredSizeRefusesNothing(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits})
	h := table.Worker(0)
	const n = 100_000 // 400 times the size
	for i := range uint64(n) {
		mustInsert(t, h, flow(i, i%2 == 0, FlagNAT), 0)
	}
	h.Quiesce()
	if st := table.Stats(); st.Conns != n || st.Size != 256 || st.Full != 0 || st.Slots*4 > st.Capacity*3+400 {
		t.Errorf("%+v", st)
	}
}

func TestAnUnlinkedTemplateLeavesItsKeyToAnother(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	s := flow(1, false, FlagTemplate)
	old, plain := mustInsert(t, h, s, 0), mustInsert(t, h, flow(2, false, 0), 0)
	if !h.Unlink(old) || h.Unlink(old) || h.Unlink(plain) {
		t.Error("a template is unlinked once, and nothing else is")
	}
	if h.FindKey(&s.Key) != 0 || !table.Entry(old).Live() {
		t.Error("an unlinked template lives and is not found")
	}
	fresh := mustInsert(t, h, s, 0)
	checkIndex(t, table)
	if !h.Delete(old) || h.Delete(old) || h.FindKey(&s.Key) != fresh {
		t.Error("deleting the old one touched the new one")
	}
	h.Quiesce()
	if st := table.Stats(); st.Conns != 2 || st.Templates != 1 {
		t.Errorf("%+v", st)
	}
	checkIndex(t, table)
}
