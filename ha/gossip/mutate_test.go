package gossip

import (
	"bytes"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
)

// coreFor is how many inputs one core takes: what came before is part of what is tried.
const coreFor = 5000

// laneSeeds are datagrams of every kind, with and without records.
func laneSeeds() (seeds [][]byte) {
	for kind := range uint8(numTypes) {
		for seq := range uint64(3) {
			b := make([]byte, laneHeader)
			h := laneHead{kind: kind, count: 1, seq: seq + 2, tail: 1, base: 1000 * seq}
			h.put(b)
			seeds = append(seeds, slices.Clone(b))
			r := rec(int(seq)+3, 4)
			seeds = append(seeds, appendRecord(b, &r, seq == 1))
		}
	}
	return seeds
}

// Datagrams that are well sealed and nonsense, one after the other to the same core.
func TestMutatedLane(t *testing.T) {
	rng, seeds := testutil.Rand(t), laneSeeds()
	var c *Core
	var peer NodeID
	var buf []byte
	for i := range testutil.Mutations(t) {
		if i%coreFor == 0 {
			c, _, peer = fuzzCore()
		}
		buf = testutil.Mutate(rng, buf, seeds, maxPayload)
		now := time.Duration(i%coreFor) * 20 * time.Microsecond
		for _, a := range c.Step(now, &Event{Kind: EventDatagram, Peer: peer, Data: buf}) {
			if len(a.Data) > maxPayload && a.Kind == ActionDatagram {
				t.Fatalf("% x: a datagram of %d bytes", buf, len(a.Data))
			}
		}
	}
}

// Messages of streams likewise.
func TestMutatedSnapshots(t *testing.T) {
	h := snapshotHead{flags: snapFirst | snapLast, lanes: 1, from: IDOf("lvs0"), number: 1, count: 1}
	b := make([]byte, snapshotHeader+8)
	h.put(b)
	r := rec(5, 4)
	seeds := [][]byte{appendRecord(slices.Clone(b), &r, false), b[:snapshotHeader], b}
	rng := testutil.Rand(t)
	var c *Core
	var buf []byte
	for i := range testutil.Mutations(t) {
		if i%coreFor == 0 {
			c, _, _ = fuzzCore()
		}
		buf = testutil.Mutate(rng, buf, seeds, 4096)
		c.Step(time.Duration(i%coreFor)*20*time.Microsecond, &Event{Kind: EventMessage, Data: buf})
	}
}

// What is read of a record is written again as it was.
func TestMutatedRecords(t *testing.T) {
	var seeds [][]byte
	for i := range 4 {
		r := rec(i, 9)
		seeds = append(seeds, appendRecord(nil, &r, i%2 == 0))
	}
	rng := testutil.Rand(t)
	var buf, wire []byte
	for range testutil.Mutations(t) {
		buf = testutil.Mutate(rng, buf, seeds, 2*record6)
		var r, again conntrack.Record
		n, standby := parseRecord(buf, &r)
		if n == 0 {
			continue
		}
		wire = appendRecord(wire[:0], &r, standby)
		if m, s := parseRecord(wire, &again); m != n || s != standby || again != r {
			t.Fatalf("%+v became %+v", r, again)
		}
	}
}

// Damaged datagrams never get past the seal, whole ones once.
func TestMutatedDatagrams(t *testing.T) {
	s, o := sealed(t, testKeys(t))
	var seeds [][]byte
	for i := range 8 {
		seeds = append(seeds, s.seal(nil, []uint8{kindLane, kindMemberlist}[i%2], make([]byte, 40*i)))
	}
	got := 0
	tr := &Transport{open: o, packets: make(chan *memberlist.Packet, 1)}
	tr.opt.Lane = func(NodeID, netip.AddrPort, []byte) { got++ }
	tr.opt.Challenge = func(netip.Addr) bool { return false }
	rng := testutil.Rand(t)
	var buf []byte
	for range testutil.Mutations(t) {
		buf = testutil.Mutate(rng, buf, seeds, 3*maxDatagram)
		whole := slices.ContainsFunc(seeds, func(s []byte) bool { return bytes.Equal(s, buf) })
		before := got + len(tr.packets)
		tr.packet(buf, netip.AddrPort{})
		if got+len(tr.packets) != before && !whole {
			t.Fatal("a datagram that nobody sealed was handed on")
		}
		for len(tr.packets) > 0 {
			<-tr.packets
		}
	}
	if got > len(seeds) {
		t.Errorf("%d datagrams were handed on, %d were sealed", got, len(seeds))
	}
}

// Nothing but the beginning of what was sent comes out of a stream.
func TestMutatedStreams(t *testing.T) {
	keys := testKeys(t)
	var mine, theirs [helloSize]byte
	mine[0], theirs[0] = 1, 2
	good := &tape{in: bytes.NewReader(nil)}
	w := newStream(good, &keys.keys[0], true, mine, theirs)
	_ = w.record(recordData, []byte("push"))
	_ = w.record(recordData, []byte("pull"))
	_ = w.record(recordEnd, nil)
	seeds := [][]byte{good.out.Bytes()}
	rng := testutil.Rand(t)
	var buf []byte
	for range testutil.Mutations(t) / 10 {
		buf = testutil.Mutate(rng, buf, seeds, 4096)
		r := newStream(&tape{in: bytes.NewReader(buf)}, &keys.keys[0], false, theirs, mine)
		if got, _ := io.ReadAll(r); !bytes.HasPrefix([]byte("pushpull"), got) {
			t.Fatalf("%q came out of % x", got, buf)
		}
	}
}
