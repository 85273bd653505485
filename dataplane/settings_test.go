package dataplane

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// set changes a setting by its sysctl name.
func (b *bed) set(name string, value int) {
	b.tb.Helper()
	b.edited(func(s *Snapshot) {
		if err := s.Settings.Set(name, value); err != nil {
			b.tb.Fatal(err)
		}
	})
}

// finished has a session of client4 in CLOSE, with its real server.
func finished(t *testing.T) *bed {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80"))
	b.one(0, syn4(t), 1)
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPAck}.bytes(t), 1)
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPRst}.bytes(t), 1)
	if got := b.sessions(); len(got) != 1 || got[0].State != conntrack.TCPClose {
		t.Fatalf("the session is %+v", got)
	}
	return b
}

func (b *bed) conns() (n uint64) {
	for id := range b.services.Destinations {
		n += b.worker.Stats().Dest(lvs.DestID(id)).Conns
	}
	return n
}

func TestConnReuseModeDecidesAboutASYNOnAFinishedSession(t *testing.T) {
	for mode, want := range map[int]uint64{0: 1, 1: 2} {
		b := finished(t)
		b.set("conn_reuse_mode", mode)
		b.one(0, syn4(t), 1)
		if got := b.conns(); got != want {
			t.Errorf("mode %d: %d sessions were started, want %d", mode, got, want)
		}
		if n := b.table.Stats().Conns; n != 1 {
			t.Errorf("mode %d: %d sessions are there", mode, n)
		}
		b.check()
	}
}

func TestTwoSYNsInOneBatchReuseASessionOnce(t *testing.T) {
	b := finished(t)
	if out := b.send(0, syn4(t), syn4(t), syn4(t)); len(out) != 3 || b.conns() != 2 {
		t.Errorf("%d came out, %d sessions were started, want 3 and 2", len(out), b.conns())
	}
	b.check()
}

func TestSloppyTCPStartsASessionWithAnyButAReset(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.set("sloppy_tcp", 1)
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPRst}.bytes(t), 0)
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPAck}.bytes(t), 1)
	if got := b.sessions(); len(got) != 1 || got[0].State != conntrack.TCPEstablished {
		t.Errorf("the session is %+v, want ESTABLISHED at once", got)
	}
}

func TestExpireNodestConnSchedulesAnewWhenTheRealServerIsGone(t *testing.T) {
	for on, want := range map[int]Verdict{0: DropRemoved, 1: TxDR} {
		b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
		b.one(0, syn4(t), 1)
		b.apply(service(vip4, lvs.MethodDR, "10.0.0.22:80"))
		b.set("expire_nodest_conn", on)
		before := b.verdict(want)
		b.send(0, syn4(t))
		if b.verdict(want) != before+1 {
			t.Errorf("expire_nodest_conn %d: %v, want %s", on, b.counted(), want)
		}
		b.check()
	}
}

func TestExpireQuiescentTemplateLeavesAQuiescedRealServer(t *testing.T) {
	for on, want := range map[int]packet.MAC{0: realMAC(21), 1: realMAC(22)} {
		s := service(vip4, lvs.MethodDR, "10.0.0.21:80")
		s.Persistence = time.Minute
		b := newBed(t, bedOptions{heap: true}, s)
		b.one(0, syn4(t), 1)
		s = service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80")
		s.Persistence = time.Minute
		s.Destinations[1].Weight = 0
		b.apply(s)
		b.set("expire_quiescent_template", on)
		out := b.one(0, seg{src: "192.0.2.1:40001", dst: vip4, flags: packet.TCPSyn}.bytes(t), 1)[0]
		if got := packet.MAC(out.Data[:6]); got != want {
			t.Errorf("expire_quiescent_template %d: the client went to %x, want %x", on, got, want)
		}
	}
}

func TestATemplateOfARemovedRealServerIsReplacedAndItsCountsStayRight(t *testing.T) {
	first := service(vip4, lvs.MethodDR, "10.0.0.21:80")
	first.Persistence = 20 * time.Second
	b := newBed(t, bedOptions{heap: true}, first)
	b.one(0, syn4(t), 1)
	second := service(vip4, lvs.MethodDR, "10.0.0.22:80")
	second.Persistence = 20 * time.Second
	b.apply(second)
	for i := range 3 {
		s := seg{src: fmt.Sprintf("192.0.2.1:%d", 41000+i), dst: vip4, flags: packet.TCPSyn}
		if out := b.one(0, s.bytes(t), 1)[0]; packet.MAC(out.Data[:6]) != realMAC(22) {
			t.Errorf("the client went to %x, want the real server that is left", out.Data[:6])
		}
	}
	for range 200 * conntrack.TicksPerSecond {
		b.now++
		b.worker.Sweep(b.now)
	}
	if got := b.sessions(); len(got) != 0 {
		t.Errorf("%d entries outlive all timeouts: %+v", len(got), got)
	}
	b.wantLoad("removed", 1, [3]int32{})
	b.wantLoad("new", 2, [3]int32{})
}

func TestPMTUDiscOffCutsTheTunnelsPackets(t *testing.T) {
	b := newBed(t, bedOptions{heap: true, mtu: 1000}, service(vip4, lvs.MethodTUN, "10.0.0.21:80"))
	b.set("pmtu_disc", 0)
	out := b.send(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn, payload: 1400, df: true}.bytes(t))
	whole := joinSent(t, out, 1000)
	if got := decode(t, whole); len(out) != 2 || len(got.payload) != 1400 || len(got.outer) != 2 {
		t.Errorf("%d pieces: %+v", len(out), got)
	}
	if whole[20]&0x40 != 0 {
		t.Error("the outer packet still forbids to be cut")
	}
	b.check()
}

func TestAMarkServiceTakesWhatItsRulesMatch(t *testing.T) {
	any := lvs.Service{
		Key: lvs.ServiceKey{Addr: netip.MustParseAddr("0.0.0.0"), Mark: 7}, Scheduler: "rr", Persistence: time.Minute,
		Destinations: []lvs.Destination{{Addr: netip.MustParseAddr("10.0.0.31"), Method: lvs.MethodDR, Weight: 1}},
	}
	b := newBed(t, bedOptions{heap: true}, any, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.edited(func(s *Snapshot) {
		s.Marks = []MarkRule{
			{Mark: 9, Proto: lvs.ProtoUDP}, // no service has it
			{Mark: 7, Dst: netip.MustParsePrefix("198.18.0.0/24"), DstPorts: [2]uint16{8000, 8999}},
			{Mark: 7, Src: netip.MustParsePrefix("192.0.2.128/25"), Port: 1},
		}
	})
	for _, c := range []struct {
		src, dst string
		want     packet.MAC
	}{
		{client4, "198.18.0.100:8000", realMAC(31)}, {client4, "198.18.0.77:8999", realMAC(31)},
		{client4, vip4, realMAC(21)}, {"192.0.2.200:4000", vip4, realMAC(31)},
	} {
		out := b.one(0, seg{src: c.src, dst: c.dst, flags: packet.TCPSyn}.bytes(t), 1)[0]
		if got := packet.MAC(out.Data[:6]); got != c.want {
			t.Errorf("%s -> %s went to %x, want %x", c.src, c.dst, got, c.want)
		}
	}
	b.check()
}

func TestNATICMPSendTellsARealServerThatItsSessionIsGone(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodNAT, "10.0.0.21:80"))
	late := seg{src: "10.0.0.21:80", dst: client4, proto: packet.ProtoUDP, payload: 9}
	if out := b.one(1, late.bytes(t), 1)[0]; out.Port != 0 || b.verdict(TxRouted) != 1 {
		t.Errorf("by default it is routed: port %d, %v", out.Port, b.counted())
	}
	b.set("nat_icmp_send", 1)
	out := b.one(1, late.bytes(t), 1)[0]
	if got := decode(t, out.Data); out.Port != 1 || got.icmp != [2]uint8{3, 3} || got.dst.Addr().String() != "10.0.0.21" {
		t.Errorf("port %d, %+v", out.Port, got)
	}
	b.check()
}
