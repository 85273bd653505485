package conntrack

import (
	"sync"
	"sync/atomic"
	"testing"

	"ulvs/packet"
)

// TestLookupsNeverMissAResidentConnDuringGrowth fills tables from 64 buckets while readers
// look up, in batches and one by one, what is certainly there.
func TestLookupsNeverMissAResidentConnDuringGrowth(t *testing.T) {
	for _, kind := range []Spec{flow(0, false, 0), flow(0, false, FlagNAT), flow(0, true, FlagNAT)} {
		for range rounds(5) {
			growRound(t, kind.V6, kind.Flags)
		}
	}
}

const growReaders = 2

func growRound(t *testing.T, v6 bool, f Flags) {
	table := newTable(t, Options{Bits: MinBits, Heap: true, Workers: 1 + growReaders})
	var resident atomic.Int64
	var wg sync.WaitGroup
	const total = 30_000
	for i := range growReaders {
		h := table.Worker(1 + i)
		wg.Go(func() { runGrowReader(t, h, &resident, total, v6) })
	}
	h := table.Worker(0)
	for n := range total {
		s := flow(uint64(n), v6, f)
		if _, res := h.Insert(&s, 0); res != Inserted {
			t.Errorf("insert %d: %v", n, res)
		}
		resident.Store(int64(n + 1))
	}
	wg.Wait()
	h.Quiesce()
	checkIndex(t, table)
	if g := table.Stats().Grown; g < 6 {
		t.Errorf("only %d doublings", g)
	}
}

func runGrowReader(t *testing.T, h *Handle, resident *atomic.Int64, total int64, v6 bool) {
	defer h.Park()
	var ps [maxBatch]packet.Parsed
	var refs [maxBatch]Ref
	for x := uint64(1); !t.Failed(); {
		n := resident.Load()
		if n == 0 {
			continue
		}
		for i := range ps {
			x = x*6364136223846793005 + 1442695040888963407
			s := flow(x>>32*uint64(n)>>32, v6, 0)
			ps[i] = frame(&s.Key)
		}
		h.Find(ps[:], refs[:])
		for i, r := range refs {
			if r == 0 {
				t.Errorf("frame %d missed with %d resident", i, n)
			}
		}
		k := Key{Addr: ps[0].Addr, L4: ps[0].L4, V6: v6}
		if h.FindKey(&k) != refs[0] {
			t.Error("FindKey missed")
		}
		h.Quiesce()
		if n == total {
			return
		}
	}
}

// TestLookupsNeverMissAResidentConnWhileChainsShrink keeps an index that cannot grow full of overflow
// chains, whose slots move when others are deleted.
func TestLookupsNeverMissAResidentConnWhileChainsShrink(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true, Workers: 2, entries: 1 << 16})
	table.v4.maxDepth = table.v4.base
	h, reader := table.Worker(0), table.Worker(1)
	const fixed, churned = 200, 400 // of 64 * 7 slots
	for n := range uint64(fixed) {
		mustInsert(t, h, flow(n, false, 0), 0)
	}
	var resident atomic.Int64
	resident.Store(fixed)
	var wg sync.WaitGroup
	var done atomic.Bool
	wg.Go(func() {
		for !done.Load() {
			runGrowReader(t, reader, &resident, fixed, false)
			reader.Unpark()
		}
	})
	for range rounds(100) {
		var refs []Ref
		for n := range uint64(churned) {
			refs = append(refs, mustInsert(t, h, flow(fixed+n, false, 0), 0))
		}
		for _, r := range refs {
			h.Delete(r)
			h.Quiesce()
		}
	}
	done.Store(true)
	wg.Wait()
	checkIndex(t, table)
}

// TestOverflowBucketsComeBack: churn at a constant load must not collect overflow buckets, which
// would cost memory and a miss each.
func TestOverflowBucketsComeBack(t *testing.T) {
	table := newTable(t, Options{Bits: 10, Heap: true})
	h := table.Worker(0)
	rng := seeded(t)
	const n = 1300 // of 256 * 7 slots: 73 %
	refs := make([]Ref, n)
	for i := range refs {
		refs[i] = mustInsert(t, h, flow(uint64(i), false, 0), 0)
	}
	fresh := table.Stats().Overflow
	for i := range uint64(100_000) {
		at := rng.IntN(n)
		h.Delete(refs[at])
		refs[at] = mustInsert(t, h, flow(n+i, false, 0), 0)
		h.Quiesce()
	}
	if old := table.Stats().Overflow; old > fresh*2+cacheSize {
		t.Errorf("%d overflow buckets after churn, %d before", old, fresh)
	}
	checkIndex(t, table)
}
