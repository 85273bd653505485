package dataplane

import (
	"fmt"
	"net/netip"
	"testing"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// load returns what a destination is counted with: active, inactive, templates.
func (b *bed) load(id lvs.DestID) [3]int32 {
	l := b.services.Dest(id).Load
	return [3]int32{l.Active(), l.Inactive(), l.Persist()}
}

func (b *bed) wantLoad(what string, id lvs.DestID, want [3]int32) {
	b.tb.Helper()
	if got := b.load(id); got != want {
		b.tb.Errorf("%s: real server %d has active, inactive, templates %v, want %v", what, id, got, want)
	}
}

func TestASessionThatExpiresIsGivenBack(t *testing.T) {
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN} {
		b := newBed(t, bedOptions{heap: true}, service("198.18.0.100:80", m, "10.0.0.21:80"))
		b.one(0, seg{src: "192.0.2.1:40000", dst: "198.18.0.100:80", flags: packet.TCPSyn}.bytes(t), 1)
		b.wantLoad("after the SYN", 1, [3]int32{1, 0, 0})
		b.worker.Sweep(b.now + 60*conntrack.TicksPerSecond - 1)
		b.wantLoad("just before SYN_RECV is over", 1, [3]int32{1, 0, 0})
		b.worker.Sweep(b.now + 60*conntrack.TicksPerSecond)
		b.wantLoad("when SYN_RECV is over", 1, [3]int32{})
		if n := b.table.Stats().Conns; n != 0 {
			t.Errorf("%s: %d sessions are left", m, n)
		}
	}
}

// sessions lists the table, templates too.
func (b *bed) sessions() (all []conntrack.Info) {
	b.table.Walk(func(_ conntrack.Ref, _ *conntrack.Entry, i conntrack.Info) bool {
		all = append(all, i)
		return true
	})
	return all
}

func TestBytesAreIPTotalLengthsAsReceived(t *testing.T) {
	for _, c := range []struct {
		method lvs.Method
		want   DestStats
	}{
		{lvs.MethodDR, DestStats{Conns: 1, InPackets: 2, InBytes: 40 + 140}},
		{lvs.MethodTUN, DestStats{Conns: 1, InPackets: 2, InBytes: 40 + 140}},
		{lvs.MethodNAT, DestStats{Conns: 1, InPackets: 2, InBytes: 40 + 140, OutPackets: 1, OutBytes: 340}},
	} {
		other := service(vip6, lvs.MethodDR, "[fd00::2]:80")
		b := newBed(t, bedOptions{heap: true}, service(vip4, c.method, "10.0.0.21:80"), other)
		b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn}.bytes(t), 1)
		b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPAck, payload: 100}.bytes(t), 1)
		if c.method == lvs.MethodNAT {
			b.one(1, seg{src: "10.0.0.21:80", dst: client4, flags: packet.TCPAck, payload: 300, vlan: 7}.bytes(t), 1)
		}
		d := b.services.Service(lvs.ServiceKey{Addr: netip.MustParseAddr("198.18.0.100"), Port: 80, Proto: 6}).Destinations[0]
		s := b.worker.Stats()
		if s.Dest(d.ID) != c.want || s.Service(d.Service) != c.want {
			t.Errorf("%s: real server %+v, service %+v, want %+v", c.method, s.Dest(d.ID), s.Service(d.Service), c.want)
		}
		b.one(0, seg{src: client6, dst: vip6, flags: packet.TCPSyn, payload: 8}.bytes(t), 1)
		if s.Dest(d.ID) != c.want {
			t.Errorf("%s: another service's packet counts here: %+v", c.method, s.Dest(d.ID))
		}
	}
}

func TestWhatIsNotForwardedCountsAsTheKernelCountsIt(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPAck}.bytes(t), 1) // reset
	b.one(0, seg{src: client4, dst: "198.18.0.100:81", flags: packet.TCPSyn}.bytes(t), 1)
	b.one(0, echo(t, "192.0.2.1", "198.18.0.100", 8), 1)
	if got := b.worker.Stats().Dest(1); got != (DestStats{}) {
		t.Errorf("counted %+v for nothing", got)
	}
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn, ttl: 1}.bytes(t), 1)
	if got := b.worker.Stats().Dest(1); got.Conns != 1 || got.InPackets != 1 {
		t.Errorf("a packet whose TTL ran out counts before it is forwarded: %+v", got)
	}
	b.apply(service(vip4, lvs.MethodDR))
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPAck}.bytes(t), 0)
	if got := b.worker.Stats().Dest(1); got.InPackets != 1 || b.verdict(DropRemoved) != 1 {
		t.Errorf("a packet for a removed real server counts: %+v, %v", got, b.counted())
	}
}

func TestMaxConnsRefusesNewSessionsAndKeepsOldOnes(t *testing.T) {
	b := newBed(t, bedOptions{heap: true, maxConns: 10}, service(vip4, lvs.MethodNAT, "10.0.0.21:80"))
	syn := func(i int) []byte {
		return seg{src: fmt.Sprintf("192.0.2.1:%d", 1000+i), dst: vip4, flags: packet.TCPSyn}.bytes(t)
	}
	for i := range 15 {
		b.send(0, syn(i))
	}
	if b.verdict(TxNAT) != 10 || b.verdict(DropTableFull) != 5 || b.table.Stats().Conns != 10 {
		t.Errorf("with room for 10: %v", b.counted())
	}
	b.one(0, syn(3), 1)
	b.wantLoad("full", 1, [3]int32{10, 0, 0})
	b.now += 61 * conntrack.TicksPerSecond
	b.worker.Sweep(b.now)
	for i := range 10 {
		b.one(0, syn(100+i), 1)
	}
	b.check()
}
