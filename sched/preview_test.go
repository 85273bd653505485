package sched

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// Each Preview, however often it is asked, is what the next Pick does.
func TestPreviewIsTheNextPickAndLeavesNoTrace(t *testing.T) {
	rnd := testutil.Rand(t)
	for _, name := range Names() {
		s, err := New(name, 0, Options{})
		if err != nil {
			t.Fatal(err)
		}
		previewsHold(t, rnd, s)
	}
}

func previewsHold(t *testing.T, rnd *rand.Rand, s *Scheduler) {
	t.Helper()
	dests := make([]lvs.Destination, 1+rnd.IntN(24))
	for i := range dests {
		dests[i] = lvs.Destination{
			ID: lvs.DestID(i + 1), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), Port: 80,
			Weight: int32(rnd.IntN(4)), Load: new(lvs.Load),
		}
	}
	if err := s.Update(dests); err != nil {
		t.Fatal(err)
	}
	for now := range int64(2000) {
		tuple := packet.Tuple{SrcPort: uint16(rnd.IntN(1 << 16)), DstPort: 80, Proto: lvs.ProtoTCP}
		tuple.Src[15], tuple.Dst[15] = byte(rnd.IntN(8)), byte(rnd.IntN(8))
		id, ok, sure := s.Preview(&tuple, now)
		again, _, _ := s.Preview(&tuple, now)
		got, picked := s.Pick(&tuple, now)
		if sure && (id != got || ok != picked || again != id) {
			t.Fatalf("%s: previews %d and %d, then the pick is %d", s.Name(), id, again, got)
		}
		if picked && rnd.IntN(3) > 0 {
			dests[got-1].Load.Bind(rnd.IntN(2) == 0)
		}
	}
}
