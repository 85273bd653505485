package dataplane

import (
	"math/rand/v2"
	"testing"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
)

// Ends are remembered for 10 s however many there are, and forgotten after 20.
func TestEndsAreRememberedForTenSeconds(t *testing.T) {
	rng := testutil.Rand(t)
	var tombs tombstones
	tombs.init()
	type end struct {
		key uint64
		v   conntrack.Version
	}
	var ends []end
	const start = 65_530 // the seconds kept wrap on the way
	for second := range conntrack.Tick(10) {
		for range 10_000 {
			e := end{rng.Uint64(), conntrack.MakeVersion(1, 1+rng.Uint64N(1000))}
			tombs.turn((start + second) * conntrack.TicksPerSecond)
			tombs.bury(e.key, e.v)
			ends = append(ends, e)
		}
	}
	missed := 0
	for _, e := range ends {
		if !tombs.buried(e.key, e.v) {
			missed++
		}
		if tombs.buried(e.key, e.v+1) {
			t.Fatalf("a newer record of %x is buried", e.key)
		}
	}
	if missed > len(ends)/20 { // a few, until the table has grown
		t.Errorf("%d of %d ends are forgotten after at most 10 s", missed, len(ends))
	}
	tombs.turn((start + 40) * conntrack.TicksPerSecond)
	for _, e := range ends {
		if tombs.buried(e.key, e.v) {
			t.Fatalf("the end of %x is remembered after 30 s", e.key)
		}
	}
}

func TestTheNewestEndOfASessionIsRemembered(t *testing.T) {
	var tombs tombstones
	tombs.init()
	v := func(n uint64) conntrack.Version { return conntrack.MakeVersion(1, n) }
	tombs.bury(7, v(5))
	tombs.bury(7, v(3))
	if !tombs.buried(7, v(5)) || tombs.buried(7, v(6)) || tombs.buried(8, v(1)) {
		t.Error("want what is as old as the newest end buried, and nothing else")
	}
}

func BenchmarkEnds(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	var tombs tombstones
	tombs.init()
	for n := conntrack.Tick(0); b.Loop(); n++ {
		tombs.turn(n / 31_250) // a quarter of a million a second
		tombs.bury(rng.Uint64(), conntrack.MakeVersion(1, 1))
	}
}
