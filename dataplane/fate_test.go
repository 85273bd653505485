package dataplane

import (
	"fmt"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/dataplane/memqueue"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

var methods = []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN}

// failing is a service whose first session goes to .21, which then fails; .22 stays.
type failing struct {
	*bed
	proto       uint8
	both, other lvs.Service
	ack         seg
}

func newFailing(t *testing.T, proto uint8, m lvs.Method) *failing {
	t.Helper()
	x := &failing{proto: proto}
	x.both = serviceOf(proto, vip4, m, "10.0.0.22:80", "10.0.0.21:80")
	x.other = serviceOf(proto, vip4, m, "10.0.0.22:80")
	x.bed = newBed(t, bedOptions{heap: true}, x.both)
	x.ack = seg{src: client4, dst: vip4, proto: proto, flags: packet.TCPSyn, payload: 9}
	if got := x.server(x.one(0, x.ack.bytes(t), 1)[0]); got != 21 {
		t.Fatalf("the session went to %d", got)
	}
	x.ack.flags = packet.TCPAck
	return x
}

// server is the real server that a frame was sent to, by its MAC address; 0: none.
func (x *failing) server(out memqueue.Sent) int {
	mac := decode(x.tb, out.Data).dstMAC
	for i := 21; i <= 22; i++ {
		if mac == realMAC(i) {
			return i
		}
	}
	return 0
}

// told says what came out for the client's next packet.
func (x *failing) told() string {
	x.tb.Helper()
	text := ""
	for _, out := range x.send(0, x.ack.bytes(x.tb)) {
		got := decode(x.tb, out.Data)
		switch to := x.server(out); {
		case to != 0 && got.flags&packet.TCPRst != 0 && x.proto == lvs.ProtoTCP:
			if got.seq != 1000 || got.ack != 5000 || len(got.payload) != 0 {
				x.tb.Errorf("the reset to the server: %+v", got)
			}
			text += fmt.Sprintf(" reset>%d", to)
		case to != 0:
			text += fmt.Sprintf(" >%d", to)
		case got.flags&packet.TCPRst != 0 && got.proto == lvs.ProtoTCP:
			if got.seq != 5000 || got.src.String() != vip4 || got.dst.String() != client4 {
				x.tb.Errorf("the reset to the client: %+v", got)
			}
			text += " reset>client"
		case got.icmp == [2]uint8{3, 3}:
			text += " unreachable>client"
		default:
			text += fmt.Sprintf(" %+v", got)
		}
	}
	x.check()
	return text
}

func TestEveryFateOfASession(t *testing.T) {
	const tcp, udp = lvs.ProtoTCP, lvs.ProtoUDP
	for _, c := range []struct {
		fate     lvs.OnFailure
		proto    uint8
		next     string // what the next packet comes to
		returned string // and the one after the real server returned
	}{
		{lvs.FailDefault, tcp, "", " >21"},
		{lvs.FailDefault, udp, "", " >21"},
		{lvs.FailInhibit, tcp, " >21", " >21"},
		{lvs.FailInhibit, udp, " >21", " >21"},
		{lvs.FailExpire, tcp, " reset>client", " reset>client"},
		{lvs.FailExpire, udp, " >22", " >22"},
		{lvs.FailReset, tcp, " reset>21 reset>client", " reset>client"},
		{lvs.FailReset, udp, " unreachable>client", " >21"}, // a new one
		{lvs.FailReschedule, tcp, " >22", " >22"},
		{lvs.FailReschedule, udp, " >22", " >22"},
	} {
		for _, m := range methods {
			t.Run(fmt.Sprintf("%s/%s/%s", orWord(c.fate.String(), "keep"), lvs.ProtoName(c.proto), m), func(t *testing.T) {
				x := newFailing(t, c.proto, m)
				x.fail(c.fate, x.other)
				if got := x.told(); got != c.next {
					t.Errorf("failed:%s, want%s", got, c.next)
				}
				x.apply(x.both)
				if got := x.told(); got != c.returned {
					t.Errorf("returned:%s, want%s", got, c.returned)
				}
			})
		}
	}
}

func orWord(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func TestASessionResumesIfItsServerReturnsBeforeItsNextPacket(t *testing.T) {
	for fate := lvs.FailKeep; fate <= lvs.FailReschedule; fate++ {
		for _, m := range methods {
			x := newFailing(t, lvs.ProtoTCP, m)
			x.fail(fate, x.other)
			x.apply(x.both)
			if got := x.told(); got != " >21" {
				t.Errorf("%s, %s:%s", fate, m, got)
			}
		}
	}
}

func TestAFlowWaitsWhileThereIsNobodyToTakeIt(t *testing.T) {
	x := newFailing(t, lvs.ProtoUDP, lvs.MethodDR)
	none := x.both
	none.Destinations = nil
	x.fail(lvs.FailReschedule, none)
	if got := x.told(); got != "" || x.verdict(DropRemoved) != 1 {
		t.Errorf("nobody is there:%s, %v", got, x.counted())
	}
	x.apply(x.both)
	if got := x.told(); got != " >21" {
		t.Errorf("the real server is back:%s", got)
	}
}

// A reset of the client's needs no answer, and ends the session.
func TestAClientsResetEndsTheSession(t *testing.T) {
	for _, fate := range []lvs.OnFailure{lvs.FailReset, lvs.FailReschedule} {
		x := newFailing(t, lvs.ProtoTCP, lvs.MethodNAT)
		x.fail(fate, x.other)
		x.ack.flags = packet.TCPRst
		if got := x.told(); got != "" || x.table.Stats().Conns != 0 {
			t.Errorf("%s:%s, %d sessions", fate, got, x.table.Stats().Conns)
		}
	}
}

func TestTheServersResetIsWrappedInIPv6(t *testing.T) {
	s := service(vip6, lvs.MethodTUN, "[fd00::21]:80")
	b := newBed(t, bedOptions{heap: true}, s)
	in := seg{src: client6, dst: vip6, flags: packet.TCPSyn}
	b.one(0, in.bytes(t), 1)
	s.Destinations = nil
	b.fail(lvs.FailReset, s)
	in.flags = packet.TCPAck
	out := b.one(0, in.bytes(t), 2)
	if got := decode(t, out[0].Data); len(got.outer) != 2 || got.flags&packet.TCPRst == 0 || got.seq != 1000 {
		t.Errorf("to the server %+v", got)
	}
	if got := decode(t, out[1].Data); got.flags&packet.TCPRst == 0 || got.dst.String() != client6 {
		t.Errorf("to the client %+v", got)
	}
	b.check()
}

// Without a frame for the server's reset, the client still gets its own.
func TestAResetNeedsNoFrameForTheServer(t *testing.T) {
	x := newFailing(t, lvs.ProtoTCP, lvs.MethodDR)
	x.fail(lvs.FailReset, x.other)
	x.edited(func(s *Snapshot) { s.Hops[x.hopOf("10.0.0.21")].State = HopUnresolved })
	if got := x.told(); got != " reset>client" {
		t.Errorf("got%s", got)
	}
}

// A template does not send clients to a real server that failed or is being drained; expire_quiescent_template is
// for one whose weight somebody set to 0.
func TestTemplatesOfFailedServersAreNotFollowed(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(d *lvs.Destination)
		want int
	}{
		{"weight 0 by hand", func(d *lvs.Destination) { d.Weight = 0 }, 21},
		{"failed, inhibited", func(d *lvs.Destination) { d.Weight, d.Shunned = 0, true }, 22},
		{"failed, sessions reset", func(d *lvs.Destination) { d.Weight, d.Fate = 0, lvs.FailReset }, 22},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := service(vip4, lvs.MethodDR, "10.0.0.22:80", "10.0.0.21:80")
			s.Persistence = time.Minute
			b := newBed(t, bedOptions{heap: true}, s)
			x := &failing{bed: b}
			in := seg{src: "192.0.2.1:40000", dst: vip4, flags: packet.TCPSyn}
			b.one(0, in.bytes(t), 1)
			c.edit(&s.Destinations[0])
			b.apply(s)
			in.src = "192.0.2.1:40001"
			if got := x.server(b.one(0, in.bytes(t), 1)[0]); got != c.want {
				t.Errorf("the client's next session went to %d, want %d", got, c.want)
			}
		})
	}
}

// expire_nodest_conn is about what was taken away by hand; a fate stands above it.
func TestAFateStandsAboveExpireNodestConn(t *testing.T) {
	x := newFailing(t, lvs.ProtoTCP, lvs.MethodDR)
	x.fail(lvs.FailReset, x.other)
	x.edited(func(s *Snapshot) { s.Settings.ExpireNodestConn = 1 })
	if got := x.told(); got != " reset>21 reset>client" {
		t.Errorf("got%s", got)
	}
}

func TestNoFateCostsAnAllocation(t *testing.T) {
	for _, fate := range []lvs.OnFailure{lvs.FailExpire, lvs.FailReset, lvs.FailReschedule} {
		for _, m := range methods {
			x := newFailing(t, lvs.ProtoTCP, m)
			x.fail(fate, x.other)
			q := newLoopQueue(map[uint8][][]byte{0: {x.ack.bytes(t)}})
			x.worker.queue = q
			spec := x.dead(t)
			met := func() uint64 { return x.verdict(TxReset) + x.verdict(forwards[m]) }
			before, rounds := met(), uint64(0)
			testutil.AllocFree(t, func() {
				x.worker.conns.Insert(&spec, x.now)
				q.left, x.now = 1, x.now+8
				x.worker.RunOnce(x.now)
				rounds++
			})
			if got := met() - before; got == 0 || got > rounds*BatchSize {
				t.Errorf("%s, %s: %d frames of %d rounds: %v", fate, m, got, rounds, x.counted())
			}
		}
	}
}

// dead is a session like the first one, to be put into the table again and again.
func (x *failing) dead(t *testing.T) conntrack.Spec {
	t.Helper()
	var p packet.Parsed
	if packet.Parse(x.ack.bytes(t), &p) != 0 {
		t.Fatal("the packet cannot be parsed")
	}
	ref := x.worker.conns.FindKey(&conntrack.Key{Addr: p.Addr, L4: p.L4})
	e := x.table.Entry(ref)
	return conntrack.Spec{
		Key: conntrack.Key{Addr: p.Addr, L4: p.L4}, Dest: e.Dest(), Service: e.Service(), Flags: e.Flags(),
		DestAddr: [2]uint64{uint64(e.DestAddr4())}, DestPort: e.DestPort(), State: conntrack.TCPEstablished,
		Timeout: conntrack.TicksPerSecond * 60,
	}
}
