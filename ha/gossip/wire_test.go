package gossip

import (
	"bytes"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
)

func TestARecordIsReadBackAsItWasWritten(t *testing.T) {
	rng := testutil.Rand(t)
	for i := range 2000 {
		want := rec(i, rng.Uint64())
		want.Flags = conntrack.Flags(rng.Uint32()) & conntrack.ReplicatedFlags
		want.State = conntrack.State(rng.IntN(conntrack.NumStates))
		want.Remaining = conntrack.Tick(rng.IntN(1<<16) * conntrack.TicksPerSecond)
		want.Timeout = conntrack.Tick(rng.IntN(1<<16) * conntrack.TicksPerSecond)
		want.Service = rng.Uint64() >> 16
		if want.Version == 0 {
			continue
		}
		b := appendRecord(nil, &want, i%2 == 0)
		var got conntrack.Record
		n, standby := parseRecord(b, &got)
		if n != len(b) || n != sizeOf(&want) || got != want || standby != (i%2 == 0) {
			t.Fatalf("wrote %+v\nread  %+v (%d of %d bytes)", want, got, n, len(b))
		}
	}
}

func TestTimesOnTheWireAreRoundedUpAndBounded(t *testing.T) {
	for ticks, want := range map[conntrack.Tick]uint16{0: 0, 1: 1, 8: 1, 9: 2, 1 << 30: 1<<16 - 1} {
		if got := seconds(ticks); got != want {
			t.Errorf("%d ticks are %d s, want %d", ticks, got, want)
		}
	}
}

func TestADatagramCarries35SessionsOfIPv4(t *testing.T) {
	if recordsMax != 35 || laneHeader+recordsMax*record4 > maxPayload {
		t.Errorf("%d records", recordsMax)
	}
}

// FuzzRecord: what is read is written again as it was, but for what is spare.
func FuzzRecord(f *testing.F) {
	for i := range 4 {
		r := rec(i, 9)
		f.Add(appendRecord(nil, &r, i%2 == 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again conntrack.Record
		n, standby := parseRecord(b, &r)
		if n == 0 {
			return
		}
		if n > len(b) {
			t.Fatalf("%d bytes of %d", n, len(b))
		}
		if m, s := parseRecord(appendRecord(nil, &r, standby), &again); m != n || s != standby || again != r {
			t.Fatalf("%+v became %+v", r, again)
		}
	})
}

// fuzzCore is a director with one peer and a few sessions of it.
func fuzzCore() (c *Core, store *fakeStore, peer NodeID) {
	now := new(time.Duration)
	store, peer = newFakeStore(now), IDOf("lvs0")
	c = NewCore(CoreOptions{ID: IDOf("lvs1"), Lanes: 1, Store: store, Digest: testDigest})
	c.Step(0, &Event{Kind: EventPeerUp, Peer: peer, Epoch: Epoch{1}})
	b := make([]byte, laneHeader)
	h := laneHead{kind: typeDelta, count: 2, seq: 1, tail: 1}
	h.put(b)
	for i := range 2 {
		r := rec(i, 1)
		b = appendRecord(b, &r, false)
	}
	c.Step(0, &Event{Kind: EventDatagram, Peer: peer, Data: b})
	return c, store, peer
}

// FuzzLane gives a director datagrams that are well sealed and nonsense: of another version, or of a broken peer.
// It takes all of a datagram or nothing, and goes on.
func FuzzLane(f *testing.F) {
	for kind := range uint8(numTypes) {
		h := laneHead{kind: kind, count: 1, seq: 3, tail: 1}
		b := make([]byte, laneHeader)
		h.put(b)
		r := rec(5, 4)
		f.Add(b)
		f.Add(appendRecord(b, &r, true))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, store, peer := fuzzCore()
		keep := bytes.Clone(b)
		before, refused := len(store.m), c.stats.Refused
		c.Step(0, &Event{Kind: EventDatagram, Peer: peer, Data: b})
		if !bytes.Equal(b, keep) {
			t.Fatal("the datagram was changed")
		}
		if c.stats.Refused > refused && len(store.m) != before {
			t.Fatal("refused, and applied")
		}
		for _, now := range []time.Duration{time.Millisecond, 30 * time.Millisecond, time.Second} {
			for _, a := range c.Step(now, &Event{Kind: EventTick}) {
				if len(a.Data) > maxPayload && a.Kind == ActionDatagram {
					t.Fatalf("a datagram of %d bytes", len(a.Data))
				}
			}
		}
	})
}

// FuzzSnapshot is FuzzLane for messages of streams.
func FuzzSnapshot(f *testing.F) {
	h := snapshotHead{flags: snapFirst | snapLast, lanes: 1, from: IDOf("lvs0"), number: 1, count: 1}
	b := make([]byte, snapshotHeader+8)
	h.put(b)
	r := rec(5, 4)
	f.Add(appendRecord(b, &r, false))
	f.Add(b[:snapshotHeader])
	f.Fuzz(func(t *testing.T, b []byte) {
		c, store, _ := fuzzCore()
		before := len(store.m)
		c.Step(0, &Event{Kind: EventMessage, Data: b})
		if c.stats.Refused > 0 && len(store.m) != before {
			t.Fatal("refused, and applied")
		}
		c.Step(time.Second, &Event{Kind: EventTick})
	})
}

func FuzzKeys(f *testing.F) {
	f.Add(key1 + "\n# old\n" + key2)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ParseKeys(text); err == nil && (len(k.keys) == 0 || len(k.keys) > 2) {
			t.Fatalf("%d keys", len(k.keys))
		}
	})
}
