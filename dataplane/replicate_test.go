package dataplane

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// told returns what the worker logged since the last call.
func (b *bed) told() []conntrack.Record {
	var out []conntrack.Record
	for n := 1; n > 0; b.log.Release(n) {
		got := b.log.Read(1 << 20)
		for i := range got {
			if got[i].Op != 0 {
				out = append(out, got[i])
			}
		}
		n = len(got)
	}
	return out
}

// expectTold compares the ops and states that were logged.
func (b *bed) expectTold(what string, want ...string) []conntrack.Record {
	b.tb.Helper()
	records := b.told()
	var got []string
	for _, r := range records {
		op := "put"
		if r.Op == conntrack.OpClose {
			op = "close"
		}
		if r.Template() {
			op += " template"
		}
		got = append(got, op+" "+r.State.String())
	}
	if !slices.Equal(got, want) {
		b.tb.Fatalf("%s: logged %q, want %q", what, got, want)
	}
	return records
}

func tcpSeg(flags uint8) seg { return seg{src: client4, dst: vip4, flags: flags} }

func TestPeersHearOfATCPSessionFromEstablishedToItsEnd(t *testing.T) {
	b := newBed(t, bedOptions{log: 64}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.one(0, tcpSeg(packet.TCPSyn).bytes(t), 1)
	b.expectTold("a SYN")
	b.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	put := b.expectTold("the ACK", "put ESTABLISHED")[0]
	key := lvs.ServiceKey{Addr: benchVIP.Addr(), Port: 80, Proto: lvs.ProtoTCP}
	if put.Service != key.Identity() || put.Remaining != 900*8 || put.Version == 0 || put.DestPort != packet.WirePort(80) {
		t.Errorf("told %+v", put)
	}
	b.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	b.now += 8
	b.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	b.expectTold("more of the same")
	b.one(0, tcpSeg(packet.TCPFin|packet.TCPAck).bytes(t), 1)
	fin := b.expectTold("the FIN", "put FIN_WAIT")[0]
	if !fin.Version.Newer(put.Version) || fin.Remaining != 120*8 {
		t.Errorf("told %+v after %+v", fin, put)
	}
	b.now += 121 * 8
	b.worker.Sweep(b.now)
	gone := b.expectTold("the time", "close FIN_WAIT")[0]
	if !gone.Version.Newer(fin.Version) || gone.Key != put.Key {
		t.Errorf("told %+v after %+v", gone, fin)
	}
}

func TestWhatNeverWasEstablishedIsNotTold(t *testing.T) {
	b := newBed(t, bedOptions{log: 64}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.one(0, tcpSeg(packet.TCPSyn).bytes(t), 1)
	b.one(0, tcpSeg(packet.TCPFin).bytes(t), 1)
	b.now += 1000
	b.worker.Sweep(b.now)
	b.expectTold("a session that ended half open")
}

func TestPeersHearOfAUDPSessionAtItsFirstPacket(t *testing.T) {
	b := newBed(t, bedOptions{log: 64}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodNAT, "10.0.0.21:5353"))
	b.one(0, seg{src: client4, dst: vip4, proto: packet.ProtoUDP}.bytes(t), 1)
	r := b.expectTold("a datagram", "put UDP")[0]
	if r.Flags != conntrack.FlagNAT || r.DestPort != packet.WirePort(5353) {
		t.Errorf("told %+v", r)
	}
}

func TestAnUnchangedSessionIsToldAgainBeforeHalfItsTimeHasPassed(t *testing.T) {
	b := newBed(t, bedOptions{log: 64}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.one(0, tcpSeg(packet.TCPSyn).bytes(t), 1)
	b.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	first := b.expectTold("the ACK", "put ESTABLISHED")[0]
	began := b.now
	for len(b.worker.log.Read(1)) == 0 {
		b.now += 8
		b.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	}
	again := b.expectTold("time", "put ESTABLISHED")[0]
	if after := b.now - began; after < 225*8 || after > 451*8 {
		t.Errorf("told again after %s of 900 s", after.Duration())
	}
	if again.Version != first.Version {
		t.Error("a refresh changes the version, and with it all digests")
	}
}

func TestTemplatesAreToldWithTheTimeoutThatIsConfigured(t *testing.T) {
	s := service(vip4, lvs.MethodDR, "10.0.0.21:80")
	s.Persistence = 20 * time.Second
	b := newBed(t, bedOptions{log: 64}, s)
	b.one(0, tcpSeg(packet.TCPSyn).bytes(t), 1)
	r := b.expectTold("a SYN", "put template NONE")[0]
	if r.Timeout != 160 || r.Remaining != 160 || r.L4&0xffff != 0 {
		t.Errorf("told %+v", r)
	}
	b.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	b.expectTold("the ACK", "put template ASSURED", "put ESTABLISHED")
	b.now += 161
	b.worker.Sweep(b.now) // sessions hang on it: it goes on for 60 s, and then for 60 s more
	b.now += 60 * 8
	b.worker.Sweep(b.now)
	r = b.expectTold("its time", "put template ASSURED")[0]
	if r.Timeout != 160 || r.Remaining < 59*8 {
		t.Errorf("told %+v; the peer has to begin anew with 20 s", r)
	}
	b.now += 8 * 960
	b.worker.Sweep(b.now)
	b.worker.Sweep(b.now + 8*61)
	b.expectTold("the end", "put template ASSURED", "close ESTABLISHED", "close template ASSURED")
}

func TestOnePacketSessionsAreNotTold(t *testing.T) {
	s := serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80")
	s.OnePacket = true
	b := newBed(t, bedOptions{log: 64}, s)
	b.one(0, seg{src: client4, dst: vip4, proto: packet.ProtoUDP}.bytes(t), 1)
	b.expectTold("a datagram")
}

func TestSessionsThatFollowFromTheirAddressesAreNotToldAndTakenOnInTheMiddle(t *testing.T) {
	for _, name := range []string{"mh", "sh"} {
		s := service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80", "10.0.0.23:80")
		s.Scheduler, s.SchedFlags = name, lvs.SchedPort
		b := newBed(t, bedOptions{log: 64}, s)
		peer := newBed(t, bedOptions{log: 64}, s)
		for port := range 50 {
			syn := seg{src: fmt.Sprintf("192.0.2.1:%d", 1000+port), dst: vip4, flags: packet.TCPSyn}
			ack := syn
			ack.flags = packet.TCPAck
			b.one(0, syn.bytes(t), 1)
			here := b.one(0, ack.bytes(t), 1)[0]
			there := peer.one(0, ack.bytes(t), 1)[0] // it never saw the SYN
			if here.Port != there.Port || string(here.Data[:6]) != string(there.Data[:6]) {
				t.Fatalf("%s: two directors send port %d to % x and % x", name, port, here.Data[:6], there.Data[:6])
			}
		}
		b.expectTold(name)
		rst := seg{src: "192.0.2.1:999", dst: vip4, flags: packet.TCPRst}
		peer.one(0, rst.bytes(t), 0)
	}
	s := service(vip4, lvs.MethodNAT, "10.0.0.21:80")
	s.Scheduler = "mh"
	b := newBed(t, bedOptions{log: 64}, s)
	b.one(0, tcpSeg(packet.TCPSyn).bytes(t), 1)
	b.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	b.expectTold("NAT's replies need the session", "put ESTABLISHED")
}

func TestAFullLogStopsNoPacketAndIsCounted(t *testing.T) {
	b := newBed(t, bedOptions{log: 4}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80"))
	for port := range 20 {
		b.one(0, seg{src: fmt.Sprintf("192.0.2.1:%d", 1000+port), dst: vip4, proto: packet.ProtoUDP}.bytes(t), 1)
	}
	if n := len(b.told()); n != 4 || b.log.Dropped() != 16 {
		t.Errorf("%d records and %d dropped, want 4 and 16", n, b.log.Dropped())
	}
	b.check()
}

func TestLoggingCostsNoAllocation(t *testing.T) {
	s := serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80")
	s.Persistence = time.Minute
	b := newBed(t, bedOptions{bits: 14, log: 1 << 14}, s)
	b.allocFree(map[uint8][][]byte{0: {seg{src: client4, dst: vip4, proto: packet.ProtoUDP}.bytes(t)}}, true, TxDR)
	want := 100 * BatchSize
	if testutil.RaceEnabled { // then it runs once
		want = BatchSize
	}
	if n := len(b.log.Read(1 << 14)); n < want || b.log.Dropped() != 0 {
		t.Errorf("%d records were logged and %d dropped, want at least %d and none", n, b.log.Dropped(), want)
	}
	testutil.AllocFree(t, func() { b.log.Flush() })
}
