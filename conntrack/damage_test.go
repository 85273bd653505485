package conntrack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// TestRandomDamageIsNeverBelieved changes random words of a table's file. What is recovered is either what was there,
// as far as the check covers it, or it is gone and counted.
func TestRandomDamageIsNeverBelieved(t *testing.T) {
	rng := seeded(t)
	rounds := 30
	if testing.Short() {
		rounds = 6
	}
	for range rounds {
		f := newFile(t)
		table := newTable(t, Options{Bits: 10, Keep: Keep{File: f}})
		nameAll(table)
		h := table.Worker(0)
		conns, templates := populateTable(t, h, rng, 800)
		ways := map[string]string{}
		table.Walk(func(_ Ref, e *Entry, i Info) bool {
			ways[fmt.Sprint(e.Key())] = fmt.Sprint(i.Dest, i.ServiceID)
			return true
		})
		hits := 1 + rng.IntN(300)
		for range hits {
			damage(table, rng)
		}
		o := same()
		o.Now = 400
		next := newTable(t, Options{Bits: 10, Heap: true, Workers: 2})
		got := next.Recover(openImage(t, f), o)
		wellFormed(t, next, got)
		strangers := 0
		next.Walk(func(_ Ref, e *Entry, i Info) bool {
			if ways[fmt.Sprint(e.Key())] != fmt.Sprint(i.Dest, i.ServiceID) {
				strangers++
			}
			return true
		})
		// A changed word passes a check of 16 bits once in 65536 times.
		if strangers > 2 {
			t.Errorf("%d conns were made up, of %d changed words", strangers, hits)
		}
		if all := got.Conns + got.Templates; all > conns+templates+2 {
			t.Errorf("%d conns of %d", all, conns+templates)
		}
	}
}

// damage changes one word that a table has written.
func damage(t *Table, rng *rand.Rand) {
	var word *uint64
	switch rng.IntN(8) {
	case 0:
		word = &t.kept.dests[rng.IntN(testDests)][rng.IntN(4)]
	case 1:
		word = &t.v6.broad[rng.IntN(int(t.v6.high.Load()))].x[rng.IntN(8)]
	case 2, 3:
		word = &t.v6.broad[rng.IntN(int(t.v6.high.Load()))].w[rng.IntN(8)]
	default:
		word = &t.v4.narrow[rng.IntN(int(t.v4.high.Load()))].w[rng.IntN(8)]
	}
	if rng.IntN(2) == 0 {
		atomic.StoreUint64(word, rng.Uint64())
		return
	}
	atomic.StoreUint64(word, atomic.LoadUint64(word)^1<<rng.IntN(64))
}

// FuzzRecover takes any bytes for the memory of a table. Half of the inputs have their checks put right, so that
// more than the check is tried.
func FuzzRecover(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		for _, flags := range []Flags{0, FlagNAT, FlagTemplate, FlagNAT | FlagNoReply, FlagBypass} {
			s := keptFlow(9, v6, flags)
			e := Detached(&s)
			f.Add(words((*entry6)(unsafe.Pointer(e))), v6, true)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, v6, right bool) {
		im := imageOf(b, v6, right)
		table, err := New(Options{Bits: 8, Heap: true, Workers: 2, entries: 4096, MaxConns: 64})
		if err != nil {
			t.Fatal(err)
		}
		defer table.Close()
		o := same()
		o.Now, o.Shift = 5000, 300
		got := table.Recover(im, o)
		wellFormed(t, table, got)
	})
}

func words(e *entry6) (b []byte) {
	for _, w := range append(e.w[:], e.x[:]...) {
		b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24), byte(w>>32), byte(w>>40), byte(w>>48), byte(w>>56))
	}
	return b
}

// imageOf makes an image of 128 bytes per entry.
func imageOf(b []byte, v6, right bool) *Image {
	im := &Image{narrow: make([]Entry, 1), broad: make([]entry6, 1), services: make([]uint64, testService+1)}
	im.services[testService] = serviceName(testService, testID)
	for id := range uint32(testDests) {
		o := testOrigin(id, id%2 == 1)
		im.dests = append(im.dests, o.name(id))
	}
	for ; len(b) >= 128; b = b[128:] {
		var e entry6
		for i := range 16 {
			w := uint64(0)
			for k := range 8 {
				w |= uint64(b[8*i+k]) << (8 * k)
			}
			if i < 8 {
				e.w[i] = w
			} else {
				e.x[i-8] = w
			}
		}
		if right {
			e.w[1] = e.w[1]&^(0xff<<56) | map[bool]uint64{true: v6Bit}[v6]
			e.w[3] = e.w[3]&^(1<<64-1<<checkShift) | e.check()
		}
		if v6 {
			im.broad = append(im.broad, e)
		} else {
			im.narrow = append(im.narrow, e.Entry)
		}
	}
	return im
}

func BenchmarkRecover(b *testing.B) {
	for _, kind := range []struct {
		name string
		f    Flags
	}{{"dr", 0}, {"nat", FlagNAT}} {
		b.Run(kind.name, func(b *testing.B) {
			f := newFile(b)
			table := newTable(b, Options{HugePages: true, Keep: Keep{File: f}})
			nameAll(table)
			h := table.Worker(0)
			const n = 1 << 20
			for i := range uint64(n) {
				s := keptFlow(i, false, kind.f)
				if _, res := h.Insert(&s, 0); res != Inserted {
					b.Fatal(res)
				}
			}
			for b.Loop() {
				begin := time.Now()
				im := openImage(b, f)
				opened := time.Since(begin)
				next := newTable(b, Options{Workers: 4, HugePages: true, Keep: Keep{File: newFile(b)}})
				made := time.Since(begin)
				got := next.Recover(im, same())
				b.Logf("open %v, make %v, recover %v", opened, made-opened, time.Since(begin)-made)
				if got.Conns != n {
					b.Fatalf("%+v", got)
				}
				if err := errors.Join(next.Close(), im.Close()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkKept compares lookups in a table that outlives the process with those in one that does not.
func BenchmarkKept(b *testing.B) {
	for _, kind := range []string{"private", "kept", "private", "kept"} {
		o := Options{Bits: 20, HugePages: true, Seed: 1}
		if kind == "kept" {
			o.Keep.File = newFile(b)
		}
		table := newTable(b, o)
		h := table.Worker(0)
		for i := range uint64(1 << 20) {
			s := flow(i, false, 0)
			if _, res := h.Insert(&s, 0); res != Inserted {
				b.Fatal(res)
			}
		}
		b.Run(kind, func(b *testing.B) { benchFind(b, h, false, 1<<20, maxBatch) })
	}
}
