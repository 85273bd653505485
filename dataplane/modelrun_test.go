package dataplane

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// world is the worker and the model side by side.
type world struct {
	*bed
	m      *model
	rng    *rand.Rand
	config []lvs.Service
}

func newWorld(t *testing.T) *world {
	dr := service("198.18.0.1:80", lvs.MethodDR, "10.0.0.11:80", "10.0.0.12:80", "10.0.0.13:80")
	nat := service("198.18.0.2:80", lvs.MethodNAT, "10.0.0.21:8080", "10.0.0.22:8080", "10.0.0.22:8081")
	tun := service("198.18.0.3:80", lvs.MethodTUN, "10.0.0.31:80", "10.0.0.32:80")
	udp := serviceOf(lvs.ProtoUDP, "198.18.0.2:53", lvs.MethodNAT, "10.0.0.41:5353", "10.0.0.42:5353")
	ops := serviceOf(lvs.ProtoUDP, "198.18.0.4:53", lvs.MethodDR, "10.0.0.51:53", "10.0.0.52:53")
	ops.OnePacket = true
	sticky := service("198.18.0.5:80", lvs.MethodDR, "10.0.0.61:80", "10.0.0.62:80")
	sticky.Persistence, sticky.PersistBits = 50*time.Second, 30
	stickyNAT := serviceOf(lvs.ProtoUDP, "198.18.0.6:53", lvs.MethodNAT, "10.0.0.71:53", "10.0.0.72:53")
	stickyNAT.Persistence = 20 * time.Second
	six := service("[2001:db8:c::1]:80", lvs.MethodNAT, "[fd00::81]:8080", "[fd00::82]:8080")
	dr.Destinations[0].Upper, tun.Destinations[0].Upper = 4, 3
	w := &world{rng: testutil.Rand(t), config: []lvs.Service{dr, nat, tun, udp, ops, sticky, stickyNAT, six}}
	w.bed = newBed(t, bedOptions{heap: true, bits: 8}, w.config...)
	w.m = newModel(t, w.now)
	for _, s := range w.config {
		w.m.services[mFlow{vip: s.Key.AddrPort(), proto: s.Key.Proto}] = &mService{
			method: s.Destinations[0].Method, persist: conntrack.Ticks(s.Persistence), bits: int(s.PersistBits),
			ops: s.OnePacket, dests: map[netip.AddrPort]*mDest{},
		}
	}
	w.sync()
	return w
}

// sync tells the model the configuration.
func (w *world) sync() {
	for _, s := range w.config {
		dests := w.m.services[mFlow{vip: s.Key.AddrPort(), proto: s.Key.Proto}].dests
		for _, d := range dests {
			d.configured = false
		}
		for _, c := range s.Destinations {
			d := dests[c.AddrPort()]
			if d == nil || d.active+d.inactive+d.persist == 0 && !w.known(c.AddrPort()) {
				d = &mDest{}
				dests[c.AddrPort()] = d
			}
			if c.Upper == 0 || c.Upper > d.upper {
				d.overloaded = false
			}
			d.configured, d.weight, d.upper = true, c.Weight, c.Upper
		}
	}
}

// known tells whether the real server was never away, or came back with its counts.
func (w *world) known(a netip.AddrPort) bool {
	for _, d := range w.services.Destinations {
		if d != nil && d.AddrPort() == a && w.worker.Stats().Dest(d.ID) != (DestStats{}) {
			return true
		}
	}
	return false
}

// TestAgainstTheModel drives a worker and the model with the same random packets, replies,
// clock jumps and edits, and compares verdicts, real servers, sessions and counts.
func TestAgainstTheModel(t *testing.T) {
	w := newWorld(t)
	steps := 6000
	if testutil.RaceEnabled || testing.Short() {
		steps = 1500
	}
	for step := range steps {
		switch n := w.rng.IntN(100); {
		case n < 52:
			w.clientPacket()
		case n < 76:
			w.serverPacket()
		case n < 88:
			w.passTime(1 + w.rng.IntN(40))
		case n < 92:
			w.passTime(1 + w.rng.IntN(1000))
		case n == 92 && step%7 == 0:
			w.passTime(8000)
		default:
			w.edit()
		}
		if w.compare(); t.Failed() {
			t.Fatalf("at step %d", step)
		}
	}
	w.passTime(9000)
	w.passTime(9000)
	if w.compare(); w.table.Stats().Conns != 0 {
		t.Errorf("%d sessions are left", w.table.Stats().Conns)
	}
	t.Logf("verdicts: %v", w.counted())
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func (w *world) clientPacket() {
	f, ok := w.anySession(func(*mSession) bool { return true })
	if !ok || w.rng.IntN(2) == 0 {
		f = w.anyFlow()
	}
	flags := pick(w.rng, []uint8{
		packet.TCPSyn, packet.TCPSyn, packet.TCPSyn, packet.TCPAck, packet.TCPAck, packet.TCPFin | packet.TCPAck,
		packet.TCPRst, packet.TCPSyn | packet.TCPAck, packet.TCPRst | packet.TCPSyn, 0,
	})
	want := w.m.request(f, flags)
	defer w.m.left(f)
	verdict, got := w.exchange(0, seg{src: f.client.String(), dst: f.vip.String(), proto: f.proto, flags: flags})
	if verdict != want.verdict {
		w.tb.Fatalf("flags %#x of %v: %s, the model says %s", flags, f, verdict, want.verdict)
	}
	dest := w.reached(verdict, f, got)
	if !dest.IsValid() {
		w.m.answered(f, verdict)
		return
	}
	d := w.m.service(f).dests[dest]
	if want.dest.IsValid() && dest != want.dest {
		w.tb.Fatalf("%v went to %v, the model says %v", f, dest, want.dest)
	}
	if d == nil || want.fresh && !want.dest.IsValid() && !d.eligible() {
		w.tb.Fatalf("%v went to %v, which may not be picked: %+v", f, dest, d)
	}
	w.m.forwarded(f, flags, dest)
}

func (w *world) anyFlow() mFlow {
	s := pick(w.rng, w.config)
	f := mFlow{vip: s.Key.AddrPort(), proto: s.Key.Proto}
	client := netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + w.rng.IntN(6))})
	if f.vip.Addr().Is6() {
		client = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(1 + w.rng.IntN(4))})
	}
	f.client = netip.AddrPortFrom(client, uint16(40000+w.rng.IntN(3)))
	return f
}

// exchange sends one packet and returns what became of it.
func (w *world) exchange(port uint8, s seg) (Verdict, seen) {
	w.tb.Helper()
	before := w.worker.stats.verdicts
	out := w.send(port, s.bytes(w.tb))
	w.check()
	for v := range before {
		if w.worker.stats.verdicts[v] != before[v] {
			if len(out) == 1 {
				return Verdict(v), decode(w.tb, out[0].Data)
			}
			return Verdict(v), seen{}
		}
	}
	w.tb.Fatal("no verdict was counted")
	return 0, seen{}
}

// reached returns the real server that a frame went to.
func (w *world) reached(v Verdict, f mFlow, got seen) netip.AddrPort {
	switch v {
	case TxDR:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, got.dstMAC[5]}), f.vip.Port())
	case TxNAT:
		return got.dst
	case TxTUN:
		return netip.AddrPortFrom(got.outer[1], f.vip.Port())
	}
	return netip.AddrPort{}
}

// anySession draws from the model's sessions those that fit.
func (w *world) anySession(fits func(*mSession) bool) (mFlow, bool) {
	flows := slices.SortedFunc(maps.Keys(w.m.sessions), func(a, b mFlow) int {
		return cmp.Or(a.client.Compare(b.client), a.vip.Compare(b.vip), cmp.Compare(a.proto, b.proto))
	})
	flows = slices.DeleteFunc(flows, func(f mFlow) bool { return !fits(w.m.sessions[f]) })
	if len(flows) == 0 {
		return mFlow{}, false
	}
	return pick(w.rng, flows), true
}

func (w *world) serverPacket() {
	f, ok := w.anySession(func(s *mSession) bool { return s.nat })
	if !ok {
		return
	}
	flags := pick(w.rng, []uint8{
		packet.TCPSyn | packet.TCPAck, packet.TCPSyn | packet.TCPAck, packet.TCPAck, packet.TCPAck,
		packet.TCPFin | packet.TCPAck, packet.TCPRst,
	})
	verdict, got := w.exchange(1, seg{
		src: w.m.sessions[f].dest.String(), dst: f.client.String(), proto: f.proto, flags: flags,
	})
	if verdict != TxNATReply || got.src != f.vip || got.dst != f.client {
		w.tb.Fatalf("the reply of %v: %s, %+v", f, verdict, got)
	}
	w.m.replied(f, flags)
}

func (w *world) passTime(ticks int) {
	for range ticks {
		w.now++
		w.worker.Sweep(w.now)
		w.m.tick(func(f mFlow, t *mTemplate) bool {
			return slices.ContainsFunc(w.sessions(), func(i conntrack.Info) bool {
				return i.Flags&conntrack.FlagTemplate != 0 && i.Client == f.client && i.VIP == f.vip &&
					i.Dest == t.dest && i.Seen == w.now
			})
		})
	}
}

// edit changes one real server: its weight, its threshold, or whether it is there at all.
// Each service keeps one.
func (w *world) edit() {
	w.config = slices.Clone(w.config)
	s := &w.config[w.rng.IntN(len(w.config))]
	s.Destinations = slices.Clone(s.Destinations)
	i := w.rng.IntN(len(s.Destinations))
	d := &s.Destinations[i]
	switch n := w.rng.IntN(5); {
	case n < 2:
		d.Weight = int32(w.rng.IntN(3))
	case n == 2:
		d.Upper = uint32(w.rng.IntN(6))
	case n == 3 && len(s.Destinations) > 1:
		s.Destinations = slices.Delete(s.Destinations, i, i+1)
	default:
		w.comeBack(s)
	}
	w.apply(w.config...)
	w.sync()
}

// comeBack adds a real server that was there once.
func (w *world) comeBack(s *lvs.Service) {
	dests := w.m.services[mFlow{vip: s.Key.AddrPort(), proto: s.Key.Proto}].dests
	away := slices.SortedFunc(maps.Keys(dests), netip.AddrPort.Compare)
	away = slices.DeleteFunc(away, func(a netip.AddrPort) bool { return dests[a].configured })
	if len(away) > 0 {
		a := pick(w.rng, away)
		d := lvs.Destination{Addr: a.Addr(), Port: a.Port(), Method: s.Destinations[0].Method, Weight: 1}
		s.Destinations = slices.Insert(s.Destinations, 0, d)
	}
}

// compare holds the table and the counts against the model's.
func (w *world) compare() {
	w.tb.Helper()
	found := w.sessions()
	for _, i := range found {
		w.compareEntry(i)
	}
	if want := len(w.m.sessions) + len(w.m.templates) + len(w.m.discarded); len(found) != want {
		w.tb.Errorf("the table has %d entries, the model %d", len(found), want)
	}
	var total DestStats
	for id, d := range w.services.Destinations {
		total.Add(w.worker.Stats().Dest(lvs.DestID(id)))
		if d == nil {
			continue
		}
		s := w.services.Services[d.Service]
		md := w.m.services[mFlow{vip: s.Key.AddrPort(), proto: s.Key.Proto}].dests[d.AddrPort()]
		if got, want := w.load(d.ID), [3]int32{md.active, md.inactive, md.persist}; got != want {
			w.tb.Errorf("%v of %v counts %v, the model %v", d.AddrPort(), s.Key, got, want)
		}
	}
	if total.InBytes, total.OutBytes = 0, 0; total != w.m.total {
		w.tb.Errorf("counted %+v, the model %+v", total, w.m.total)
	}
}

func (w *world) compareEntry(i conntrack.Info) {
	w.tb.Helper()
	f := mFlow{i.Client, i.VIP, i.Proto}
	if i.Flags&conntrack.FlagTemplate != 0 {
		is := func(t *mTemplate) bool {
			return t.dest == i.Dest && t.sessions == i.Controlled && t.seen+t.timeout-w.now == i.Expires(w.now)
		}
		t, known := w.m.templates[f]
		known = known && is(t)
		for old, key := range w.m.discarded {
			known = known || key == f && is(old)
		}
		if !known {
			w.tb.Errorf("template %v at %d: %+v, the model %+v and %+v", f, w.now, i, t, w.m.discarded)
		}
		return
	}
	s := w.m.sessions[f]
	if s == nil || s.dest != i.Dest || s.state != i.State.String() || s.seen+s.timeout-w.now != i.Expires(w.now) ||
		(s.template != nil) != (i.Control != 0) {
		w.tb.Errorf("session %v at %d: %+v, the model %+v", f, w.now, i, s)
	}
}
