package gossip

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"

	"ulvs/internal/testutil"
)

type laneGot struct {
	from    NodeID
	payload []byte
}

// ownHost is one that no other package's tests listen at: TCP's free port has to be free for UDP as well.
var ownHost = netip.MustParseAddrPort("127.0.76.1:0")

func newTestTransport(t testing.TB, name string, keys Keys) (*Transport, chan laneGot) {
	t.Helper()
	got := make(chan laneGot, 1024)
	tr, err := NewTransport(TransportOptions{
		Addr: ownHost, Keys: keys, Node: IDOf(name), Epoch: NewEpoch(),
		Lane: func(from NodeID, _ netip.AddrPort, b []byte) { got <- laneGot{from, bytes.Clone(b)} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return tr, got
}

func (t *Transport) count(r Reject) uint64 { return t.rejects[r].Load() }

func TestAnUnknownDirectorIsAskedToProveItselfAndThenHeard(t *testing.T) {
	a, _ := newTestTransport(t, "alice", testKeys(t))
	b, got := newTestTransport(t, "bob", testKeys(t))
	testutil.Await(t, "bob hears alice", func() bool {
		if err := a.SendLane([]byte("sessions"), b.Addr()); err != nil {
			t.Fatal(err)
		}
		return len(got) > 0
	})
	if g := <-got; g.from != IDOf("alice") || string(g.payload) != "sessions" {
		t.Errorf("bob got %+v", g)
	}
	if b.count(RejectEpoch) == 0 {
		t.Error("the first datagram was taken before alice proved her epoch")
	}
}

func TestMemberlistGetsOnlyWhatDirectorsSealed(t *testing.T) {
	a, _ := newTestTransport(t, "alice", testKeys(t))
	b, _ := newTestTransport(t, "bob", testKeys(t))
	c, err := a.DialTimeout(b.Addr().String(), testutil.AwaitLimit)
	if err != nil {
		t.Fatal(err)
	}
	server := <-b.StreamCh()
	go func() { _, _ = c.Write([]byte("push/pull")); _ = c.Close() }()
	if text, err := io.ReadAll(server); err != nil || string(text) != "push/pull" {
		t.Errorf("the stream gave %q: %v", text, err)
	}
	_ = server.Close()

	raw, err := net.Dial("udp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	sealed := a.seal.seal(nil, kindMemberlist, []byte("ping"))
	bad := append(bytes.Clone(sealed[:40]), 1, 2, 3)
	for _, p := range [][]byte{[]byte("ping"), sealed[:30], bad, make([]byte, 3000), sealed, sealed} {
		_, _ = raw.Write(p)
	}
	p := <-b.PacketCh()
	if string(p.Buf) != "ping" {
		t.Errorf("memberlist got %q", p.Buf)
	}
	testutil.Await(t, "the replay is refused", func() bool { return b.count(RejectReplay) == 1 })
	if len(b.PacketCh()) != 0 || b.count(RejectForged) == 0 || b.count(RejectShort) == 0 || b.count(RejectFormat) == 0 {
		t.Errorf("forged %d, short %d, format %d", b.count(RejectForged), b.count(RejectShort), b.count(RejectFormat))
	}
}

func TestAForeignClusterGetsNeitherStreamNorDatagramThrough(t *testing.T) {
	a, _ := newTestTransport(t, "alice", testKeys(t, key2))
	b, got := newTestTransport(t, "bob", testKeys(t))
	if _, err := a.DialTimeout(b.Addr().String(), testutil.AwaitLimit); err == nil {
		t.Error("a stream was opened")
	}
	_ = a.SendLane([]byte("x"), b.Addr())
	testutil.Await(t, "the datagram is counted", func() bool { return b.count(RejectKey) >= 2 })
	if len(got) != 0 || len(b.StreamCh()) != 0 {
		t.Error("something came through")
	}
}

func TestStreamsThatProveNothingAreBounded(t *testing.T) {
	b, _ := newTestTransport(t, "bob", testKeys(t))
	// On a busy machine the first of them may be over before the last one comes.
	testutil.Await(t, "the rest to be refused", func() bool { return crowd(t, b, perAddress+5) == 5 })
	a, _ := newTestTransport(t, "alice", testKeys(t))
	testutil.Await(t, "a director gets in", func() bool {
		c, err := a.DialTimeout(b.Addr().String(), testutil.AwaitLimit)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// crowd opens n streams, has them say what no director says, and returns how many were refused for the others' sake.
func crowd(t *testing.T, b *Transport, n uint64) (refused uint64) {
	t.Helper()
	busy, ended := b.count(RejectBusy), b.count(RejectHandshake)
	came := func() uint64 { return b.count(RejectBusy) - busy + b.count(RejectHandshake) - ended }
	var conns []net.Conn
	for range n {
		c, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	testutil.Await(t, "those too many to come", func() bool { return came() >= n-perAddress })
	for _, c := range conns {
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\nUser-Agent: none of ours\r\n\r\n"))
		_ = c.Close()
	}
	testutil.Await(t, "all of them to end", func() bool { return came() == n })
	return b.count(RejectBusy) - busy
}

func TestTheTransportListensOnOneAddressOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0"} {
		if tr, err := NewTransport(TransportOptions{Addr: netip.MustParseAddrPort(addr), Keys: InsecureKeys()}); err == nil {
			_ = tr.Shutdown()
			t.Errorf("listens on %s", addr)
		}
	}
}

func TestALaneDatagramCostsNoAllocation(t *testing.T) {
	s, o := sealed(t, testKeys(t))
	n := 0
	b := &Transport{open: o, opt: TransportOptions{Lane: func(NodeID, netip.AddrPort, []byte) { n++ }}}
	payload, buf := make([]byte, maxPayload), make([]byte, 0, maxDatagram)
	from := netip.MustParseAddrPort("127.0.0.1:1")
	testutil.AllocFree(t, func() { b.packet(s.seal(buf, kindLane, payload), from) })
	if n == 0 {
		t.Error("nothing came through")
	}
}
