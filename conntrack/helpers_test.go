package conntrack

import (
	"math/rand/v2"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/packet"
)

// seeded returns a generator whose seed a failing run prints.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	return testutil.Rand(t)
}

// newTable makes a table that goes away with the test.
func newTable(t testing.TB, o Options) *Table {
	t.Helper()
	table, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}

const tcp = 6 << 32

// flow makes the n-th conn of a family: distinct keys, distinct reply keys.
func flow(n uint64, v6 bool, f Flags) Spec {
	s := Spec{
		Key:      Key{L4: n>>24&0xffff | 80<<24 | tcp, V6: v6},
		DestPort: 80 << 8, Dest: uint32(n) & 7, Service: 3, Flags: f,
		State: TCPSynRecv, Timeout: 60 * TicksPerSecond,
	}
	if v6 {
		s.Addr = [4]uint64{0xb80d0120, n, 0xb80d0120, 0x0100000000000000}
		s.DestAddr = [2]uint64{0xb80d0120, 0x0200000000000000}
	} else {
		s.Addr[0] = n&0xffffff<<8 | 10 | 0x0801a8c0<<32
		s.DestAddr[0] = 0x1001a8c0
	}
	return s
}

// frame is what Parse would make of a packet with key k.
func frame(k *Key) packet.Parsed {
	p := packet.Parsed{Addr: k.Addr, L4: k.L4, Kind: packet.KindFlow, Proto: uint8(k.L4 >> 32)}
	if k.V6 {
		p.Flags |= packet.FlagV6
	}
	return p
}

// lookup finds one key by both ways in and fails if they disagree.
func lookup(t testing.TB, h *Handle, k *Key) Ref {
	t.Helper()
	ps, refs := []packet.Parsed{frame(k)}, []Ref{0}
	h.Find(ps, refs)
	if one := h.FindKey(k); one != refs[0] {
		t.Fatalf("Find says %#x and FindKey %#x for %+v", refs[0], one, *k)
	}
	if refs[0] != 0 && h.StillMissing(0, k.V6) {
		t.Fatalf("%+v is there and missing", *k)
	}
	return refs[0]
}

func mustInsert(t testing.TB, h *Handle, s Spec, now Tick) Ref {
	t.Helper()
	r, res := h.Insert(&s, now)
	if res != Inserted {
		t.Fatalf("insert %+v: %v", s.Key, res)
	}
	return r
}
