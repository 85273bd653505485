package dataplane

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// twins are two workers in equal worlds: one asks steady first, the other only flow.
type twins struct {
	t     *testing.T
	rng   *rand.Rand
	beds  [2]*bed
	short map[Verdict]int // how often steady decided so
	built map[seg][]byte
}

var twinServices = []lvs.Service{
	service("198.18.0.1:80", lvs.MethodDR, "10.0.0.11:80", "10.0.0.12:80"),
	service("198.18.0.2:80", lvs.MethodNAT, "10.0.0.21:8080", "10.0.0.22:80"),
	service("198.18.0.3:80", lvs.MethodTUN, "10.0.0.31:80", "10.0.0.32:80"),
	serviceOf(lvs.ProtoUDP, "198.18.0.1:53", lvs.MethodDR, "10.0.0.41:53"),
	serviceOf(lvs.ProtoUDP, "198.18.0.2:53", lvs.MethodNAT, "10.0.0.51:5353", "10.0.0.52:53"),
	service("[2001:db8:c::1]:80", lvs.MethodNAT, "[fd00::61]:8080"),
	service("[2001:db8:c::2]:80", lvs.MethodDR, "[fd00::71]:80"),
	service("[2001:db8:c::3]:80", lvs.MethodTUN, "10.0.0.81:80"),
}

func newTwins(t *testing.T, o bedOptions) *twins {
	tw := &twins{t: t, rng: testutil.Rand(t), built: map[seg][]byte{}}
	o.heap, o.bits = true, 8
	for i := range tw.beds {
		services := append([]lvs.Service(nil), twinServices...)
		for k := range services {
			services[k].Destinations = append([]lvs.Destination(nil), services[k].Destinations...)
		}
		services[4].Persistence = 50 * time.Second
		services[2].Destinations[0].Tunnel = lvs.Tunnel{Type: lvs.TunnelGUE, Port: 6080}
		tw.beds[i] = newBed(t, o, services...)
	}
	return tw
}

// pass is what became of one packet.
type pass struct {
	verdict Verdict
	frame   []byte
	port    uint8
	conn    string
	stats   []DestStats
}

// run passes a frame through worker i.
func (tw *twins) run(i int, port uint8, b []byte) pass {
	bed := tw.beds[i]
	w := bed.worker
	w.begin(bed.now)
	buf := make([]byte, 4096)
	f := packet.Frame{Buf: buf, Off: 256, Len: uint16(copy(buf[256:], forPort(port, b))), Port: port}
	var p [1]packet.Parsed
	var refs [1]conntrack.Ref
	if packet.ParsePlain([]packet.Frame{f}, &w.macs, p[:]) == 0 {
		if err := packet.Parse(f.Bytes(), &p[0]); err != 0 || p[0].Kind != packet.KindFlow || p[0].Flags&unusual != 0 {
			return pass{verdict: ParseVerdict(err)}
		}
	}
	w.conns.Find(p[:], refs[:])
	out := pass{verdict: undecided}
	if i == 0 {
		out.verdict = tw.ask(w, &f, &p[0], refs[0])
	}
	if out.verdict == undecided {
		out.verdict = w.flow(&f, &p[0], refs[0])
	}
	out.frame, out.port = f.Bytes(), f.Port
	w.sendPieces()
	w.stats.publish(w.snap)
	bed.queue.Take()
	w.conns.Find(p[:], refs[:])
	out.conn = tw.conn(w, refs[0])
	for id := range bed.services.Destinations {
		out.stats = append(out.stats, w.stats.Dest(lvs.DestID(id)))
	}
	w.conns.Quiesce()
	return out
}

// ask has steady decide, and checks that what it leaves undecided it leaves alone.
func (tw *twins) ask(w *Worker, f *packet.Frame, p *packet.Parsed, ref conntrack.Ref) Verdict {
	was, frame, conn := *f, bytes.Clone(f.Buf), tw.conn(w, ref)
	touched := len(w.stats.touched)
	v := &w.v4
	if p.V6() {
		v = &w.v6
	}
	v.n, v.at[0], v.parsed[0], v.refs[0] = 1, 0, *p, ref
	frames := []packet.Frame{*f}
	w.restartTimers()
	n := w.steady(frames, v, 0)
	*f = frames[0]
	if n == 1 {
		tw.short[w.verdicts[0]]++
		return w.verdicts[0]
	}
	if f.Off != was.Off || f.Len != was.Len || f.Port != was.Port || !bytes.Equal(f.Buf, frame) ||
		conn != tw.conn(w, ref) || touched != len(w.stats.touched) {
		tw.t.Fatal("steady changed what it did not decide")
	}
	return undecided
}

// conn is all there is to see of a session.
func (tw *twins) conn(w *Worker, ref conntrack.Ref) string {
	if ref == 0 {
		return "none"
	}
	e := w.table.Entry(ref)
	template := "none"
	if c := e.Control(); c != 0 {
		template = w.table.Entry(c).State().String()
	}
	return fmt.Sprint(template, ref.Reply(), e.Live(), e.State(), e.Flags(), e.Seen(), e.Timeout(), e.Dest(), e.Aux(),
		e.Controlled(), e.Version(), e.Key())
}

// packet is a random packet of a few clients and services, from either side.
func (tw *twins) packet() (port uint8, b []byte) {
	svc := tw.rng.IntN(len(twinServices))
	key := twinServices[svc].Key
	s := seg{dst: key.AddrPort().String(), proto: key.Proto, df: tw.rng.IntN(3) == 0}
	s.payload = []int{0, 10, 10, 300, 900}[tw.rng.IntN(5)]
	s.tos = uint8(tw.rng.IntN(4))
	s.src = fmt.Sprintf("192.0.2.1:%d", 1024+tw.rng.IntN(3))
	if key.Addr.Is6() {
		s.src = fmt.Sprintf("[2001:db8::1]:%d", 1024+tw.rng.IntN(3))
	}
	if tw.rng.IntN(2) == 0 {
		d := twinServices[svc].Destinations[tw.rng.IntN(len(twinServices[svc].Destinations))]
		if d.Addr.Is6() == key.Addr.Is6() {
			port, s.src, s.dst = 1, d.AddrPort().String(), s.src
		}
	}
	if tw.rng.IntN(8) == 0 {
		s.ttl = uint8(1 + tw.rng.IntN(2))
	}
	if port == 1 && tw.beds[0].vlan != 0 {
		s.vlan = tw.beds[0].vlan
	}
	s.flags = packet.TCPAck
	if tw.rng.IntN(4) == 0 {
		s.flags = []uint8{packet.TCPSyn, packet.TCPSyn, packet.TCPSyn, packet.TCPSyn | packet.TCPAck,
			packet.TCPFin | packet.TCPAck, packet.TCPRst, 0}[tw.rng.IntN(7)]
	}
	b = tw.bytes(s)
	if s.proto == packet.ProtoUDP && !key.Addr.Is6() && s.vlan == 0 && tw.rng.IntN(3) == 0 {
		b[40], b[41] = 0, 0 // no checksum
	}
	return port, b
}

// bytes is s.bytes, which is slow, remembered.
func (tw *twins) bytes(s seg) []byte {
	b := tw.built[s]
	if b == nil {
		b = s.bytes(tw.t)
		tw.built[s] = b
	}
	return bytes.Clone(b)
}

// disturb changes both worlds alike: time, next hops, real servers, settings, sessions.
func (tw *twins) disturb() {
	what, n := tw.rng.IntN(8), tw.rng.Uint32()
	for i, b := range tw.beds {
		switch what {
		case 0, 1, 2:
			b.now += conntrack.Tick(n % 16)
		case 3:
			b.now += conntrack.Tick(n % 8000)
		case 4:
			hop := &b.hops[1+n%uint32(len(b.hops)-1)]
			hop.State = HopReady
			if n>>8%8 == 0 {
				hop.State = HopUnresolved
			}
			hop.MTU = []uint16{1500, 1500, 1500, 700, 72, 1300, 60}[n>>16%7]
			hop.VLAN = uint16(n >> 20 & n >> 21 & 1 * 9)
			b.publish(b.services)
		case 5:
			s := *b.snapshots.Load()
			s.RouteEpoch += uint16(n & 1)
			s.Settings.SecureTCP, s.Settings.DropEntry = 3*int(n>>1&n>>5&1), 3*int(n>>2&n>>6&1)
			s.Settings.PMTUDisc, s.Settings.ExpireNodestConn = int(n>>3&1), int(n>>4&1)
			b.snapshots.Store(&s)
		case 6:
			s := *b.snapshots.Load()
			s.Dests = append([]Dest(nil), s.Dests...)
			d := &s.Dests[n%uint32(len(s.Dests))]
			d.Removed = !d.Removed && n>>8%4 == 0
			s.removed = 0
			b.snapshots.Store(&s)
		case 7:
			tw.tamper(i, n)
		}
	}
}

// tamper changes every session of worker i in some way.
func (tw *twins) tamper(i int, n uint32) {
	tw.beds[i].table.Walk(func(_ conntrack.Ref, e *conntrack.Entry, _ conntrack.Info) bool {
		switch h := n ^ uint32(e.ClientPort())>>8; h % 4 {
		case 0:
			e.SetState(e.State(), conntrack.TCPEstablished)
		case 1:
			e.SetFlags(conntrack.Flags(1 << (2 + h>>4%8) &^ int(conntrack.FlagTemplate|conntrack.FlagUnlinked)))
		case 2:
			e.Touch(tw.beds[i].now, conntrack.Tick(h>>8%64))
		case 3:
			e.SetAux(h)
		}
		return true
	})
}

// TestTheShortWayIsTheLongWay has two workers in equal worlds see the same packets, changes and clocks.
func TestTheShortWayIsTheLongWay(t *testing.T) {
	steps := 8000
	if testutil.RaceEnabled || testing.Short() {
		steps = 1000
	}
	short := map[Verdict]int{}
	unseen := func() bool {
		return slices.ContainsFunc([]Verdict{TxDR, TxNAT, TxNATReply, TxTUN}, func(v Verdict) bool { return short[v] == 0 })
	}
	for name, o := range map[string]bedOptions{"plain": {}, "vlan": {vlan: 7}, "log": {log: 1 << 10}} {
		t.Run(name, func(t *testing.T) {
			tw := newTwins(t, o)
			tw.short = short
			// Where NAT's real servers are away for long, their replies are rare.
			for step := 0; step < steps || unseen() && step < 50*steps; step++ {
				if tw.rng.IntN(40) == 0 {
					tw.disturb()
				}
				port, frame := tw.packet()
				short, long := tw.run(0, port, frame), tw.run(1, port, frame)
				if fmt.Sprint(short) != fmt.Sprint(long) {
					t.Fatalf("step %d, port %d, frame %x:\nshort %+v\nlong  %+v", step, port, frame, short, long)
				}
			}
		})
	}
	if unseen() {
		t.Error("one of the forwarding methods never went the short way: this test saw nothing of it")
	}
	t.Log(short)
}
