package conntrack

import (
	"testing"

	"ulvs/internal/testutil"
)

// dropSome drops the conns of some destinations and remembers what it saw.
type dropSome struct {
	below uint32
	seen  map[Ref]int
	gone  map[Ref]bool
}

func (d *dropSome) Drops(r Ref, e *Entry) bool { d.seen[r]++; return e.Dest() < d.below }
func (d *dropSome) Gone(r Ref, _ *Entry)       { d.gone[r] = true }

func TestSampleComesByEveryConnAndDeletesWhatIsDropped(t *testing.T) {
	rng := seeded(t)
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	refs := map[Ref]uint32{}
	for i := range uint64(1500) {
		r := mustInsert(t, h, flow(i, i%3 == 0, FlagNAT), 0)
		refs[r] = h.Entry(r).Dest()
	}
	d := &dropSome{below: 3, seen: map[Ref]int{}, gone: map[Ref]bool{}}
	for range 2000 { // 25 chunks: none is missed but with a chance of 25*exp(-80)
		h.Sample(rng.Uint64(), d)
		h.Quiesce()
	}
	for r, dest := range refs {
		live := h.Entry(r).Live()
		if d.seen[r] == 0 || d.gone[r] != (dest < 3) || live != (dest >= 3) {
			t.Fatalf("conn %#x of destination %d: seen %d, gone %v, live %v", r, dest, d.seen[r], d.gone[r], live)
		}
	}
	if len(d.seen) != len(refs) {
		t.Errorf("%d conns seen, there are %d", len(d.seen), len(refs))
	}
	checkIndex(t, table)
}

func TestSampleOfAnEmptyTableSeesNothing(t *testing.T) {
	h := newTable(t, Options{Bits: MinBits, Heap: true}).Worker(0)
	d := &dropSome{seen: map[Ref]int{}}
	for _, random := range []uint64{0, 1, 1 << 63, ^uint64(0)} {
		h.Sample(random, d)
	}
	if len(d.seen) != 0 {
		t.Errorf("saw %v", d.seen)
	}
}

func TestPacketsAreCountedUpToTheLimitAndOnlyWhereAskedFor(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	h := table.Worker(0)
	e := h.Entry(mustInsert(t, h, flow(1, false, FlagNAT|FlagCounted), 0))
	for want := range 20 {
		if got := e.Meta().InPackets(); got != min(want, CountLimit) {
			t.Fatalf("%d packets counted, want %d", got, want)
		}
		if counting := e.Meta().Counting(); counting != (want < CountLimit) {
			t.Fatalf("counting: %v after %d packets", counting, want)
		}
		e.CountPacket()
	}
	if f := e.Flags() & (1<<countBit - 1); f != FlagNAT || e.State() != TCPSynRecv || !e.Live() {
		t.Errorf("counting changed flags %#x or state %v", f, e.State())
	}
	e = h.Entry(mustInsert(t, h, flow(2, false, FlagNAT), 0))
	e.CountPacket()
	if m := e.Meta(); m.Counting() || m.InPackets() != -1 {
		t.Errorf("a conn nobody counts has %d packets", m.InPackets())
	}
}

func TestCountingAndSamplingAllocateNothing(t *testing.T) {
	h := newTable(t, Options{Bits: MinBits}).Worker(0)
	e := h.Entry(mustInsert(t, h, flow(1, false, FlagCounted), 0))
	var k keepSampled
	testutil.AllocFree(t, func() {
		e.CountPacket()
		h.Sample(0, &k)
	})
	if k == 0 {
		t.Error("the sample saw nothing")
	}
}

type keepSampled int

func (k *keepSampled) Drops(Ref, *Entry) bool { *k++; return false }
func (k *keepSampled) Gone(Ref, *Entry)       {}
