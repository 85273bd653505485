package conntrack

import (
	"testing"

	"ulvs/internal/testutil"
)

func TestVersionsAreOrderedByTermThenCounterAndWrapAround(t *testing.T) {
	for _, c := range []struct {
		name     string
		new, old Version
	}{
		{"counter", MakeVersion(3, 8), MakeVersion(3, 7)},
		{"term before counter", MakeVersion(4, 1), MakeVersion(3, 1<<40-1)},
		{"term wraps", MakeVersion(0, 1), MakeVersion(255, 9)},
		{"next in the term", MakeVersion(3, 7).Next(3), MakeVersion(3, 7)},
		{"next in a later term", MakeVersion(3, 7).Next(9), MakeVersion(3, 1<<39)},
		{"next of a later term's", MakeVersion(9, 7).Next(3), MakeVersion(9, 7)},
		{"next of the last counter", MakeVersion(9, counterMask).Next(10), MakeVersion(9, counterMask)},
		{"a hundred takeovers later", MakeVersion(103, 9), MakeVersion(3, 8)},
		{"180 takeovers later", MakeVersion(183, 9), MakeVersion(3, 8)},
		{"180 takeovers later, the next", MakeVersion(3, 8).Next(183), MakeVersion(3, 8)},
		{"far, and the counter wraps", MakeVersion(183, 1), MakeVersion(3, counterMask)},
		{"anything but none", MakeVersion(0, 1), 0},
	} {
		if !c.new.Newer(c.old) || c.old.Newer(c.new) || c.new.Newer(c.new) {
			t.Errorf("%s: %#x is not newer than %#x alone", c.name, c.new, c.old)
		}
	}
	if v := MakeVersion(7, 5); v.Term() != 7 || v.Next(7).Term() != 7 || v.Next(8).Term() != 8 || v.Next(6).Term() != 7 ||
		v.Next(187).Term() != 187 {
		t.Error("terms are not kept")
	}
	if !MakeVersion(3, 8).Later(MakeVersion(9, 7)) || MakeVersion(9, 7).Later(MakeVersion(3, 7)) ||
		!MakeVersion(3, 1).Later(MakeVersion(9, counterMask)) {
		t.Error("counters do not tell what is later")
	}
}

func TestAConnsVersionEndsWithIt(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	r := mustInsert(t, h, flow(1, false, 0), 80)
	e := table.Entry(r)
	if e.Version() != 0 {
		t.Fatalf("a new conn has version %#x", e.Version())
	}
	first := MakeVersion(2, 100)
	if v := e.Advance(2, first, 80); v != first || e.Version() != first {
		t.Fatalf("first version %#x, want %#x", v, first)
	}
	if v := e.Advance(5, first, 160); v != first.Next(5) {
		t.Fatalf("then %#x", v)
	}
	if got := e.SinceSent(160 + 24); got != 24 {
		t.Errorf("sent %d ticks ago, want 24", got)
	}
	last := e.Version()
	if !h.Delete(r) || h.GoneVersion() != last {
		t.Fatalf("gone with version %#x, want %#x", h.GoneVersion(), last)
	}
	if e.Version() != 0 || e.Advance(5, first, 160) != 0 || e.SetVersion(first, 160) {
		t.Error("a removed conn takes a version")
	}
}

func TestARemovedConnsLinkIsNeverTakenForAVersion(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	for i := range uint64(3000) {
		r := mustInsert(t, h, flow(i, i%2 == 0, 0), 1)
		e := table.Entry(r)
		if e.Version() != 0 {
			t.Fatalf("conn %d inherits version %#x", i, e.Version())
		}
		e.Advance(1, MakeVersion(1, i+1), 1)
		h.Delete(r)
		if e.Version() != 0 {
			t.Fatalf("conn %d: the link reads as version %#x", i, e.Version())
		}
		h.Quiesce()
	}
}

func TestADescribedConnMakesTheSameConnElsewhere(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		table := newTable(t, Options{Bits: MinBits, Heap: true})
		h := table.Worker(0)
		s := flow(7, v6, FlagNAT|FlagSynced|FlagCounted)
		s.Version = MakeVersion(1, 2)
		e := table.Entry(mustInsert(t, h, s, 80))
		var r Record
		if !e.Describe(&r, 80+100) {
			t.Fatal("a live conn cannot be described")
		}
		want := Record{
			Key: s.Key, DestAddr: s.DestAddr, Version: s.Version, Remaining: s.Timeout - 100, Timeout: s.Timeout,
			DestPort: s.DestPort, State: s.State, Op: OpPut, Flags: FlagNAT,
		}
		if r != want {
			t.Errorf("v6 %v: described as\n%+v, want\n%+v", v6, r, want)
		}
		h.Delete(h.FindKey(&s.Key))
		if e.Describe(&r, 80) {
			t.Error("a removed conn can be described")
		}
		e.DescribeGone(&r, 9, 80)
		if r.Op != OpClose || r.Key != s.Key || r.Version != 9 {
			t.Errorf("closed as %+v", r)
		}
	}
}

func TestAScanInPiecesVisitsEveryConnOnce(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	want := map[Ref]bool{}
	for i := range uint64(1500) {
		want[mustInsert(t, h, flow(i, i%3 == 0, 0), 1)] = true
	}
	seen := map[Ref]int{}
	pieces := 0
	for at := uint64(0); ; pieces++ {
		if at = h.Scan(at, 97, func(r Ref, e *Entry) { seen[r]++ }); at == 0 {
			break
		}
	}
	if len(seen) != len(want) || pieces < 10 {
		t.Fatalf("%d conns seen in %d pieces, want %d", len(seen), pieces, len(want))
	}
	for r, n := range seen {
		if n != 1 || !want[r] {
			t.Fatalf("conn %#x was seen %d times", r, n)
		}
	}
}

func TestADigestTellsTablesApartAndForgetsWhatIsTakenOut(t *testing.T) {
	rng := seeded(t)
	key := DigestKey{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}
	a, b := &Digest{Key: key}, &Digest{Key: key}
	records := make([]Record, 500)
	for i := range records {
		s := flow(uint64(i), i%2 == 0, 0)
		records[i] = Record{Key: s.Key, DestAddr: s.DestAddr, Version: MakeVersion(1, rng.Uint64()), Service: 5}
		a.Add(&records[i])
	}
	for _, i := range rng.Perm(len(records)) {
		b.Add(&records[i])
	}
	if a.Leaves != b.Leaves {
		t.Fatal("the order counts")
	}
	for _, change := range []func(r *Record){
		func(r *Record) { r.Version++ }, func(r *Record) { r.DestPort++ }, func(r *Record) { r.DestAddr[0]++ },
		func(r *Record) { r.DestAddr[1]++ },
	} {
		r := records[rng.IntN(len(records))]
		leaf := b.Add(&r)
		changed := r
		change(&changed)
		if b.Add(&changed) != leaf {
			t.Fatal("the leaf does not follow from the key alone")
		}
		slot := int(leaf) / SlotLeaves
		if a.Leaves == b.Leaves || a.Slot(slot) == b.Slot(slot) {
			t.Errorf("a changed record has the same digest")
		}
		b.Add(&changed)
		b.Add(&r)
	}
	if a.Leaves != b.Leaves {
		t.Error("taking out and in again leaves a trace")
	}
	other := DigestKey{1, 2, 3, 4}
	if r := &records[0]; other.sum(r, other.Hash(&r.Key)) == key.sum(r, key.Hash(&r.Key)) {
		t.Error("the key does not matter")
	}
}

func TestAFullLogCountsAndMarksWhatItDrops(t *testing.T) {
	wake := make(chan struct{}, 1)
	l := NewLog(LogOptions{Size: 4, Digest: DigestKey{1, 2, 3, 4}, Wake: wake})
	if !l.Sleep() {
		t.Fatal("there is something in an empty log")
	}
	for i := range 4 {
		l.Next().Version = Version(i)
	}
	if l.Next() != nil {
		t.Fatal("a fifth record in a log of four")
	}
	k := flow(9, false, 0).Key
	l.Drop(&k)
	var dirty, again LeafSet
	if any := l.TakeDirty(&dirty); !any || l.Dropped() != 1 || !dirty.Has((&DigestKey{1, 2, 3, 4}).Leaf(&k)) {
		t.Errorf("dropped %d, dirty %v", l.Dropped(), any)
	}
	if l.TakeDirty(&again) || again != (LeafSet{}) {
		t.Error("dirty twice")
	}
	if len(l.Read(9)) != 0 {
		t.Error("records are read before Flush")
	}
	l.Flush()
	if len(wake) != 1 || len(l.Read(9)) != 4 || l.Sleep() {
		t.Error("the reader is not woken, or reads nothing")
	}
	l.Release(4)
	if l.Next() == nil {
		t.Error("released records are no room")
	}
}

func TestTheLogOfAConnAllocatesNothing(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	e := table.Entry(mustInsert(t, h, flow(1, true, 0), 80))
	l := NewLog(LogOptions{Size: 64})
	testutil.AllocFree(t, func() {
		r := l.Next()
		e.Describe(r, 90)
		r.Version = e.Advance(l.Term(), l.FirstVersion(1e9), 90)
		l.Flush()
		l.Release(len(l.Read(64)))
		l.Drop(&r.Key)
		h.Scan(0, 100, func(Ref, *Entry) {})
	})
}

// BenchmarkDigest is what a conn costs in the walk that sums up the table; the alternative, a digest kept
// current by every change, costs the worker the same work twice per change, and the cache line.
func BenchmarkDigest(b *testing.B) {
	table, err := New(Options{Bits: 20, HugePages: true})
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	h := table.Worker(0)
	const conns = 1 << 20
	for i := range uint64(conns) {
		s := flow(i, false, 0)
		s.Version = MakeVersion(1, i)
		h.Insert(&s, 1)
	}
	d := &Digest{Key: DigestKey{11, 22, 33, 44}}
	var r Record
	b.ResetTimer()
	for at, n := uint64(0), 0; n < b.N; n += 4096 {
		at = h.Scan(at, 4096, func(_ Ref, e *Entry) {
			e.Describe(&r, 1)
			d.Add(&r)
		})
	}
}
