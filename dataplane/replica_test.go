package dataplane

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// pair is a director and its standby, of which no packet reaches the second until somebody sends one there.
type pair struct {
	*bed
	standby *bed
	replica *Replica
}

// newPair makes two directors with the same services, whose clocks differ by far.
func newPair(tb testing.TB, services ...lvs.Service) *pair {
	tb.Helper()
	p := &pair{
		bed:     newBed(tb, bedOptions{log: 1024, workers: 2, bits: 12}, services...),
		standby: newBed(tb, bedOptions{log: 1024, workers: 2, bits: 12}, services...),
	}
	p.bed.now, p.standby.now = 1<<20, 1<<21
	p.replica = NewReplica(ReplicaOptions{
		Table: p.standby.table, Handle: 1, Snapshots: &p.standby.snapshots, Term: new(atomic.Uint32),
		Digest: conntrack.DigestKey{1, 2, 3, 4},
	})
	return p
}

// pass lets time go by on both, with expiry, and brings what the first tells to the second.
func (p *pair) pass(ticks conntrack.Tick) {
	for range max(1, ticks/8) {
		p.bed.now += min(ticks, 8)
		p.standby.now += min(ticks, 8)
		p.bed.worker.Sweep(p.bed.now)
		p.standby.worker.Sweep(p.standby.now)
		p.sync()
	}
}

func (p *pair) sync() {
	records := p.told()
	p.replica.Begin(p.standby.now)
	for i := range records {
		p.replica.Apply(&records[i])
	}
	p.replica.End()
}

// listed returns the sessions of a table by client and what they are.
func (b *bed) listed() map[string]conntrack.Info {
	out := map[string]conntrack.Info{}
	b.table.Walk(func(_ conntrack.Ref, _ *conntrack.Entry, i conntrack.Info) bool {
		out[fmt.Sprintf("%d %s", i.Proto, i.Client)] = i
		return true
	})
	return out
}

func (p *pair) same(what string) {
	p.tb.Helper()
	here, there := p.listed(), p.standby.listed()
	for k, i := range here {
		o, ok := there[k]
		if !ok {
			p.tb.Errorf("%s: the standby lacks %s", what, k)
			continue
		}
		if o.Dest != i.Dest || o.State != i.State || o.DestID != i.DestID || o.ServiceID != i.ServiceID ||
			apart(o.Expires(p.standby.now), i.Expires(p.bed.now)) > i.Timeout/2+8 || (o.Control == 0) != (i.Control == 0) {
			p.tb.Errorf("%s: %s is\n%+v here and\n%+v there", what, k, i, o)
		}
	}
	if len(here) != len(there) {
		p.tb.Errorf("%s: %d sessions here, %d there", what, len(here), len(there))
	}
}

func apart(a, b conntrack.Tick) conntrack.Tick { return max(a, b) - min(a, b) }

func (b *bed) loads() (active, inactive, templates int32) {
	for _, d := range b.services.Destinations {
		if d != nil {
			active, inactive, templates = active+d.Load.Active(), inactive+d.Load.Inactive(), templates+d.Load.Persist()
		}
	}
	return active, inactive, templates
}

func TestTheStandbyHasEverySessionWithItsStateTimeAndLoad(t *testing.T) {
	web := service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80")
	web.Persistence = time.Minute
	dns := serviceOf(lvs.ProtoUDP, "198.18.0.100:53", lvs.MethodNAT, "10.0.0.21:5353")
	six := service(vip6, lvs.MethodTUN, "[fd00::21]:80")
	p := newPair(t, web, dns, six)
	for i := range 20 {
		syn := seg{src: fmt.Sprintf("192.0.2.%d:1000", i+1), dst: vip4, flags: packet.TCPSyn}
		ack := syn
		ack.flags = packet.TCPAck
		p.one(0, syn.bytes(t), 1)
		p.one(0, ack.bytes(t), 1)
		p.one(0, seg{src: syn.src, dst: "198.18.0.100:53", proto: packet.ProtoUDP}.bytes(t), 1)
	}
	for _, flags := range []uint8{packet.TCPSyn, packet.TCPAck} {
		p.one(0, seg{src: client6, dst: vip6, flags: flags}.bytes(t), 1)
	}
	p.pass(1)
	p.same("at first")
	fin := seg{src: "192.0.2.3:1000", dst: vip4, flags: packet.TCPFin | packet.TCPAck}
	p.one(0, fin.bytes(t), 1)
	p.pass(8 * 30)
	p.same("after a FIN and 30 s")
	a, i, n := p.loads()
	if sa, si, sn := p.standby.loads(); sa != a || si != i || sn != n || a != 20 || n != 20 {
		t.Errorf("loads are %d %d %d here and %d %d %d there", a, i, n, sa, si, sn)
	}
	p.pass(8 * 120)
	p.same("after the finished session is gone")
	p.pass(8 * 1000)
	p.same("after all of them are gone")
	if a, i, n := p.standby.loads(); a != 0 || i != 0 || n != 0 {
		t.Errorf("loads left on the standby: %d %d %d", a, i, n)
	}
}

// TestTemplatesOutliveTheirDirector is the source document's experiment: two UDP clients, persistence 360 s, the
// master is killed, and the templates are watched on the backup for ten minutes. A kernel's backup counts them
// down from 180 s (sync version 0) or from 60 s (version 1, after the first renewal) and drops them while
// the clients are connected, because the link from session to template is not replicated
// (reference/sync_failover_trace.txt, the backup 30 s and 45 s after the master stopped):
//
//	t=30 TCP AC100102 0000 0A000001 01BB 0A010003 01BB ASSURED     SYNC         2
//	t=30 TCP AC100102 138A 0A000001 01BB 0A010003 01BB ESTABLISHED SYNC       821
//	t=45 TCP AC100102 138A 0A000001 01BB 0A010003 01BB ESTABLISHED SYNC       806
//
// and the client's next connection starts on a template made anew, wherever that leads.
func TestTemplatesOutliveTheirDirector(t *testing.T) {
	s := serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80")
	s.Persistence = 360 * time.Second
	p := newPair(t, s)
	clients := []string{"192.0.2.1", "192.0.2.2"}
	send := func(b *bed, port int) (macs []string) {
		for _, c := range clients {
			f := seg{src: fmt.Sprintf("%s:%d", c, port), dst: vip4, proto: packet.ProtoUDP}.bytes(t)
			macs = append(macs, string(b.one(0, f, 1)[0].Data[:6]))
		}
		return macs
	}
	first := send(p.bed, 1000)
	for range 12 { // a minute of traffic
		p.pass(40)
		send(p.bed, 1000)
	}
	p.pass(1)
	p.same("before the master dies")
	for second := range 600 {
		p.standby.now += 8
		p.standby.worker.Sweep(p.standby.now)
		if second%10 == 0 { // the clients go on
			send(p.standby, 1000)
		}
		conns := p.standby.listed()
		for _, c := range clients {
			tmpl, ok := conns["17 "+c+":0"]
			if !ok {
				t.Fatalf("%d s after the master died, the template of %s is gone:\n%+v", second, c, conns)
			}
			if tmpl.Controlled == 0 {
				t.Fatalf("%d s after: nothing hangs on the template of %s", second, c)
			}
		}
	}
	if again := send(p.standby, 2000); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("a new session of the same clients goes to % x, and went to % x before", again, first)
	}
	if tmpl := p.standby.listed()["17 192.0.2.1:0"]; tmpl.Timeout != 360*8 {
		t.Errorf("the template goes on with %s, 360 s are configured", tmpl.Timeout.Duration())
	}
}

func TestATemplateThatWasLostIsMadeOfItsSessions(t *testing.T) {
	s := service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80")
	s.Persistence = time.Minute
	p := newPair(t, s)
	for _, flags := range []uint8{packet.TCPSyn, packet.TCPAck} {
		p.one(0, tcpSeg(flags).bytes(t), 1)
	}
	records := p.told()
	p.replica.Begin(p.standby.now)
	for i := range records {
		if !records[i].Template() { // it is lost
			p.replica.Apply(&records[i])
		}
	}
	p.replica.End()
	p.same("without the template's record")

	// One that is there, but that its session does not hang on, is linked at a takeover.
	var ref conntrack.Ref
	p.standby.table.Walk(func(r conntrack.Ref, e *conntrack.Entry, i conntrack.Info) bool {
		if i.Control != 0 {
			ref = e.TakeControl()
		}
		return true
	})
	p.standby.table.Entry(ref).AddControlled(-1)
	p.replica.Begin(p.standby.now)
	if n := p.replica.Relink(); n != 1 {
		t.Errorf("%d sessions were linked, want 1", n)
	}
	p.replica.End()
	p.same("after the takeover")
}

func TestAPeersSessionLivesUntilItsRefreshIsOverdueAndIsOursWithItsFirstPacket(t *testing.T) {
	p := newPair(t, service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80"))
	for _, flags := range []uint8{packet.TCPSyn, packet.TCPAck} {
		p.one(0, tcpSeg(flags).bytes(t), 1)
	}
	p.pass(1)
	p.standby.now += 8 * 1340 // 900 s, and nearly half of it again: the last refresh may have been lost
	p.standby.worker.Sweep(p.standby.now)
	p.standby.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	r := p.standby.expectTold("the first packet after a takeover", "put ESTABLISHED")[0]
	if r.Remaining != 900*8 {
		t.Errorf("told %+v", r)
	}
	p.standby.now += 8 * 901
	p.standby.worker.Sweep(p.standby.now)
	p.standby.expectTold("its own time", "close ESTABLISHED")

	p.pass(1)
	p.bed.told()
	q := newPair(t, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	for _, flags := range []uint8{packet.TCPSyn, packet.TCPAck} {
		q.one(0, tcpSeg(flags).bytes(t), 1)
	}
	q.sync()
	q.standby.now += 8 * 1351
	q.standby.worker.Sweep(q.standby.now)
	if n := len(q.standby.listed()); n != 0 {
		t.Errorf("%d sessions are left of a peer that is silent", n)
	}
	q.standby.expectTold("a peer's session that ran out")
}

func record(t testing.TB, port int, v conntrack.Version) conntrack.Record {
	t.Helper()
	return conntrack.Record{
		Key: conntrack.Key{
			Addr: [4]uint64{uint64(packet.WireV4(benchVIP.Addr()))<<32 | 0x010200c0},
			L4:   uint64(packet.WirePort(uint16(port))) | uint64(packet.WirePort(80))<<16 | packet.ProtoTCP<<32,
		},
		DestAddr: [2]uint64{0x1500000a}, DestPort: packet.WirePort(80), State: conntrack.TCPEstablished,
		Service: lvs.ServiceKey{Addr: benchVIP.Addr(), Port: 80, Proto: lvs.ProtoTCP}.Identity(),
		Op:      conntrack.OpPut, Version: v, Remaining: 80, Flags: conntrack.FlagNoOutput,
	}
}

func TestWhateverTheOrderTheNewestRecordHolds(t *testing.T) {
	rng := testutil.Rand(t)
	v := func(n uint64) conntrack.Version { return conntrack.MakeVersion(1, 1000+n) }
	for range testutil.Rounds(200) {
		p := newPair(t, service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80"))
		var records []conntrack.Record
		for port := range 4 {
			put, moved, fin, end := record(t, port, v(1)), record(t, port, v(2)), record(t, port, v(3)), record(t, port, v(4))
			moved.DestAddr[0] = 0x1600000a
			fin.DestAddr[0], fin.State = 0x1600000a, conntrack.TCPFinWait
			end.Op = conntrack.OpClose
			records = append(records, put, moved, fin)
			if port%2 == 0 {
				records = append(records, end)
			}
		}
		p.replica.Begin(p.standby.now)
		for range 3 {
			for _, i := range rng.Perm(len(records)) {
				p.replica.Apply(&records[i])
			}
		}
		p.replica.End()
		conns := p.standby.listed()
		if len(conns) != 2 {
			t.Fatalf("%d sessions are left, want the two that did not end: %+v", len(conns), conns)
		}
		for k, i := range conns {
			if i.State != conntrack.TCPFinWait || i.Dest.Addr().String() != "10.0.0.22" {
				t.Fatalf("%s is %+v", k, i)
			}
		}
		if a, i, _ := p.standby.loads(); a != 0 || i != 2 {
			t.Fatalf("loads are %d active and %d inactive, want 0 and 2", a, i)
		}
	}
}

func TestAnOldRecordBringsNothingBackUntilItsTombstoneIsForgotten(t *testing.T) {
	p := newPair(t, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	put, end := record(t, 1, conntrack.MakeVersion(1, 5)), record(t, 1, conntrack.MakeVersion(1, 6))
	end.Op = conntrack.OpClose
	apply := func(r conntrack.Record, want conntrack.Applied) {
		t.Helper()
		p.replica.Begin(p.standby.now)
		if got := p.replica.Apply(&r); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		p.replica.End()
	}
	apply(end, conntrack.AppliedNothing)
	apply(put, conntrack.AppliedBuried)
	p.standby.now += 79
	apply(put, conntrack.AppliedBuried)
	newer := put
	newer.Version = conntrack.MakeVersion(1, 7)
	apply(newer, conntrack.AppliedInserted)
	apply(newer, conntrack.AppliedRefreshed)
	apply(end, conntrack.AppliedNothing)
	end.Version = newer.Version.Next(1)
	apply(end, conntrack.AppliedClosed)
	p.standby.now += 161
	apply(put, conntrack.AppliedInserted)
}

// A peer that has not heard yet of an end tells of the session in digests and snapshots.
func TestNoPeerBringsBackASessionThatEndedHere(t *testing.T) {
	p := newPair(t, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	put, end := record(t, 1, conntrack.MakeVersion(0, 5)), record(t, 1, conntrack.MakeVersion(0, 6))
	other := record(t, 2, conntrack.MakeVersion(0, 5))
	end.Op = conntrack.OpClose
	p.replica.Begin(p.standby.now)
	defer p.replica.End()
	p.replica.Gone([]conntrack.Record{other, end})
	if got := p.replica.Apply(&put); got != conntrack.AppliedBuried {
		t.Errorf("the session that ended: %s, want %s", got, conntrack.AppliedBuried)
	}
	if got := p.replica.Apply(&other); got != conntrack.AppliedInserted {
		t.Errorf("one that did not: %s, want %s", got, conntrack.AppliedInserted)
	}
	records := []conntrack.Record{put, end}
	testutil.AllocFree(t, func() { p.replica.Gone(records) })
}

func TestASessionOfAServiceThatIsNotConfiguredYetGetsItsRealServerWhenItIs(t *testing.T) {
	s := service(vip4, lvs.MethodDR, "10.0.0.21:80")
	p := newPair(t, s)
	p.standby.apply()
	for _, flags := range []uint8{packet.TCPSyn, packet.TCPAck} {
		p.one(0, tcpSeg(flags).bytes(t), 1)
	}
	p.sync()
	if n := p.replica.Unbound(); n != 1 {
		t.Fatalf("%d sessions are unbound, want 1", n)
	}
	p.standby.apply(s)
	p.sync()
	if n := p.replica.Unbound(); n != 0 {
		t.Errorf("%d sessions are unbound, want none", n)
	}
	p.same("after the service was configured")
	p.standby.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
}

func TestSessionsThatFollowFromTheirAddressesAreToldWhenTheyDoNotAnyMore(t *testing.T) {
	reals := []string{"10.0.0.21:80", "10.0.0.22:80", "10.0.0.23:80"}
	mh := func(n int) lvs.Service {
		s := service(vip4, lvs.MethodDR, reals[:n]...)
		s.Scheduler, s.SchedFlags = "mh", lvs.SchedPort
		return s
	}
	b := newBed(t, bedOptions{log: 1024, workers: 2}, mh(2))
	r := NewReplica(ReplicaOptions{Table: b.table, Handle: 1, Snapshots: &b.snapshots, Term: new(atomic.Uint32)})
	const flows = 200
	for port := range flows {
		for _, flags := range []uint8{packet.TCPSyn, packet.TCPAck} {
			b.one(0, seg{src: fmt.Sprintf("192.0.2.1:%d", 1000+port), dst: vip4, flags: flags}.bytes(t), 1)
		}
	}
	exceptions := func() (n int) {
		r.Begin(b.now)
		defer r.End()
		r.Exceptions(conntrack.MakeVersion(1, 1), func(rec *conntrack.Record) {
			if rec.Version == 0 || rec.State != conntrack.TCPEstablished {
				t.Errorf("told %+v", rec)
			}
			n++
		})
		return n
	}
	if n := exceptions(); n != 0 {
		t.Errorf("%d exceptions while nothing changed", n)
	}
	b.apply(mh(3))
	if n := exceptions(); n < flows/5 || n > flows/2 {
		t.Errorf("%d of %d sessions are exceptions after a third real server came, want about a third", n, flows)
	}
	if n := exceptions(); n != 0 {
		t.Errorf("%d are told twice", n)
	}
}

func TestApplyingARecordAllocatesNothing(t *testing.T) {
	p := newPair(t, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	n := uint64(0)
	rec := record(t, 1, 1)
	p.replica.Begin(p.standby.now)
	testutil.AllocFree(t, func() {
		for range 8 {
			n++
			rec.Version = conntrack.MakeVersion(1, n)
			p.replica.Apply(&rec)
		}
	})
	p.replica.End()
}

func BenchmarkApply(b *testing.B) {
	p := newPair(b, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	rec := record(b, 1, 1)
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		if n%4096 == 0 {
			p.replica.Begin(1<<20 + conntrack.Tick(n>>16))
		}
		n++
		rec.Addr[0] = rec.Addr[0]&^0xffffffff | n&0xfffff
		rec.Version = conntrack.MakeVersion(1, n)
		p.replica.Apply(&rec)
		if n%4096 == 0 {
			p.replica.End()
		}
	}
}

func TestASessionIsOursWithItsFirstPacketAlsoInTheTickItWasTold(t *testing.T) {
	p := newPair(t, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	p.one(0, tcpSeg(packet.TCPSyn).bytes(t), 1)
	p.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	p.sync()
	p.standby.one(0, tcpSeg(packet.TCPAck).bytes(t), 1)
	p.standby.expectTold("the first packet", "put ESTABLISHED")
}
