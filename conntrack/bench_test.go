package conntrack

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ulvs/packet"
)

// benchSizes are resident conns; the largest takes about a gigabyte.
func benchSizes() []int {
	if testing.Short() {
		return []int{1 << 10, 64 << 10, 1 << 20}
	}
	return []int{1 << 10, 64 << 10, 1 << 20, 10 << 20}
}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%dMi", n>>20)
	}
	return fmt.Sprintf("%dKi", n>>10)
}

// filled returns a table with n conns of one kind, and its size's Bits: 57 % load for one-key
// conns up to 1 Mi, 71 % at 10 Mi.
func filled(b *testing.B, n int, v6 bool, f Flags) (*Table, *Handle) {
	b.Helper()
	bits := uint8(MinBits)
	for 1<<bits < n && bits < 23 {
		bits++
	}
	t := newTable(b, Options{Bits: bits, HugePages: true, Seed: 1})
	h := t.Worker(0)
	for i := range n {
		s := flow(uint64(i), v6, f)
		if _, res := h.Insert(&s, 0); res != Inserted {
			b.Fatal(i, res)
		}
	}
	h.Quiesce()
	return t, h
}

func BenchmarkFind(b *testing.B) {
	for _, kind := range []struct {
		name string
		v6   bool
		f    Flags
	}{{"dr", false, 0}, {"nat", false, FlagNAT}, {"v6", true, 0}} {
		for _, n := range benchSizes() {
			b.Run(kind.name+"/"+sizeName(n), func(b *testing.B) {
				_, h := filled(b, n, kind.v6, kind.f)
				b.Run("batch64", func(b *testing.B) { benchFind(b, h, kind.v6, n, maxBatch) })
				b.Run("one", func(b *testing.B) { benchFind(b, h, kind.v6, n, 1) })
			})
		}
	}
}

// benchFind looks up flows drawn over all conns; keys are computed, not stored, so that they do not
// compete for the cache. The computing costs about 2 ns of each figure.
func benchFind(b *testing.B, h *Handle, v6 bool, n, batch int) {
	rng := rand.New(rand.NewPCG(1, 2))
	ps, refs := make([]packet.Parsed, batch), make([]Ref, batch)
	for i := range ps {
		s := flow(0, v6, 0)
		ps[i] = frame(&s.Key)
	}
	x := rng.Uint64()
	b.ReportAllocs()
	for b.Loop() {
		for i := range ps {
			x = x*6364136223846793005 + 1442695040888963407
			k := (x >> 32) * uint64(n) >> 32
			if v6 {
				ps[i].Addr[1] = k
			} else {
				ps[i].Addr[0] = k&0xffffff<<8 | 10 | 0x0801a8c0<<32
			}
		}
		h.Find(ps, refs)
		h.Quiesce()
	}
	for i, r := range refs {
		if r == 0 {
			b.Fatalf("frame %d missed", i)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/frame")
}

// BenchmarkInsertDelete deletes random conns and inserts them again, in bursts of a batch with a
// boundary after each, so that entries are reused.
func BenchmarkInsertDelete(b *testing.B) {
	for _, kind := range []struct {
		name string
		f    Flags
	}{{"dr", 0}, {"nat", FlagNAT}} {
		for _, n := range benchSizes() {
			b.Run(kind.name+"/"+sizeName(n), func(b *testing.B) {
				_, h := filled(b, n, false, kind.f)
				b.Run("insert", func(b *testing.B) { benchChurn(b, h, n, kind.f, true) })
				b.Run("delete", func(b *testing.B) { benchChurn(b, h, n, kind.f, false) })
			})
		}
	}
}

func benchChurn(b *testing.B, h *Handle, n int, f Flags, insert bool) {
	const burst = 1000
	rng := rand.New(rand.NewPCG(3, 4))
	del := func(keys []uint64) {
		for _, k := range keys {
			s := flow(k, false, f)
			if r := h.FindKey(&s.Key); r == 0 || !h.Delete(r) {
				b.Fatal("lost", k)
			}
		}
		h.Quiesce()
	}
	ins := func(keys []uint64) {
		for _, k := range keys {
			s := flow(k, false, f)
			if _, res := h.Insert(&s, 0); res != Inserted {
				b.Fatal(res)
			}
		}
		h.Quiesce()
	}
	keys := make([]uint64, 0, burst)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		keys = keys[:0]
		for seen := map[uint64]bool{}; len(keys) < min(burst, n/2); {
			if k := rng.Uint64N(uint64(n)); !seen[k] {
				seen[k] = true
				keys = append(keys, k)
			}
		}
		if insert {
			del(keys)
			b.StartTimer()
			ins(keys)
		} else {
			b.StartTimer()
			del(keys)
			b.StopTimer()
			ins(keys)
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(keys)), "ns/conn")
}

type keepAll struct{}

func (keepAll) Expired(Ref, *Entry) bool { return false }

func BenchmarkSweep(b *testing.B) {
	for _, n := range benchSizes() {
		b.Run(sizeName(n), func(b *testing.B) {
			t, h := filled(b, n, false, 0)
			for b.Loop() {
				h.Advance(1, t.Span(), keepAll{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*t.Span()), "ns/entry")
		})
	}
}

// BenchmarkGrowth fills a table from 64 buckets and times every insert (about 40 ns of each is the
// clock). Past p99.9 the figures are those of the machine's interruptions.
func BenchmarkGrowth(b *testing.B) {
	n := 4 << 20
	if testing.Short() {
		n = 1 << 19
	}
	took := make([]time.Duration, n)
	for b.Loop() {
		t, err := New(Options{Bits: MinBits, HugePages: true})
		if err != nil {
			b.Fatal(err)
		}
		h := t.Worker(0)
		for i := range took {
			s := flow(uint64(i), false, 0)
			start := time.Now()
			_, res := h.Insert(&s, 0)
			took[i] = time.Since(start)
			if res != Inserted {
				b.Fatal(res)
			}
		}
		b.StopTimer()
		_ = t.Close()
		b.StartTimer()
	}
	slices.Sort(took)
	for _, p := range []struct {
		name  string
		above int
	}{{"p50-ns", n / 2}, {"p99-ns", n / 100}, {"p99.9-ns", n / 1000}, {"max-ns", 1}} {
		b.ReportMetric(float64(took[n-p.above]), p.name)
	}
}
