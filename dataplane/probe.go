package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// Probes are the health checks that are on their way down the real path, known by the port that they come from:
// each has one of a reserved range to itself. Control goroutines open and close them, workers look them up
// without a lock. The range bounds them.
type Probes struct {
	first uint16
	slots []atomic.Pointer[Probe]

	mu      sync.Mutex
	next    int
	open    int
	refused uint64
}

// ErrProbeLimit is Open's when every port of the range is taken.
var ErrProbeLimit = errors.New("every probe port is in use")

// NewProbes makes a table for source ports first to last.
func NewProbes(first, last uint16) *Probes {
	return &Probes{first: first, slots: make([]atomic.Pointer[Probe], int(last)-int(first)+1)}
}

// ProbeSpec says how the packets of a probe go: as a client's of the service would to one real server, past scheduler,
// weight, thresholds and persistence, and without a session.
type ProbeSpec struct {
	Proto  uint8            // TCP or UDP
	From   netip.Addr       // what the real server sees as the client
	To     netip.AddrPort   // the VIP and the port there
	Real   *lvs.Destination // method, tunnel and address count; port 0 is To's
	Source netip.Addr       // our address towards it: what an outer header has as its source
}

// Probe is one probe under way.
type Probe struct {
	From    netip.AddrPort
	To      netip.AddrPort
	request conntrack.Key // as the stack sends it
	wire    conntrack.Key // as the real server sees it, behind a tunnel's header
	answer  conntrack.Key // as the real server answers it
	real    netip.Addr
	dest    Dest
	conn    *conntrack.Entry // what the methods read addresses from
	trouble atomic.Uint32    // Verdict of its last packet if that was not sent
}

// Trouble returns what became of the probe's last packet if it could not be sent.
func (p *Probe) Trouble() (Verdict, bool) {
	v := Verdict(p.trouble.Load())
	return v, v != noTrouble
}

const noTrouble = TxProbe

// Open makes a probe and has workers know it. Close gives its port back.
func (t *Probes) Open(s ProbeSpec) (*Probe, error) {
	if s.From.Is4() != s.To.Addr().Is4() || s.Proto != lvs.ProtoTCP && s.Proto != lvs.ProtoUDP {
		return nil, fmt.Errorf("a probe from %s to %s of protocol %d is not possible", s.From, s.To, s.Proto)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for range t.slots {
		i := t.next
		t.next = (i + 1) % len(t.slots)
		if t.slots[i].Load() != nil {
			continue
		}
		p := newProbe(&s, netip.AddrPortFrom(s.From, t.first+uint16(i)))
		t.slots[i].Store(p)
		t.open++
		return p, nil
	}
	t.refused++
	return nil, fmt.Errorf("%w: %d from %d on", ErrProbeLimit, len(t.slots), t.first)
}

// Close ends a probe: what still comes for it is nobody's.
func (t *Probes) Close(p *Probe) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slots[p.From.Port()-t.first].CompareAndSwap(p, nil) {
		t.open--
	}
}

// Stats returns how many probes are open, how many can be, and how often there was no port for one.
func (t *Probes) Stats() (open, limit int, refused uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open, len(t.slots), t.refused
}

// Range returns the first and the last port that probes come from.
func (t *Probes) Range() (first, last uint16) { return t.first, t.first + uint16(len(t.slots)-1) }

func newProbe(s *ProbeSpec, from netip.AddrPort) *Probe {
	d := *s.Real
	d.Load = new(lvs.Load) // a path's MTU is learned for real sessions only
	if d.Port == 0 {
		d.Port = s.To.Port()
	}
	p := &Probe{
		From: from, To: s.To, request: keyOf(s.Proto, from, s.To), real: d.Addr, dest: NewDest(&d, s.Source),
	}
	p.trouble.Store(uint32(noTrouble))
	p.wire, p.answer = p.request, keyOf(s.Proto, s.To, from)
	spec := conntrack.Spec{Key: p.request, DestAddr: p.dest.Addr, DestPort: p.dest.Port}
	if d.Method == lvs.MethodNAT {
		real := netip.AddrPortFrom(d.Addr, d.Port)
		p.wire, p.answer = keyOf(s.Proto, from, real), keyOf(s.Proto, real, from)
		spec.Flags = conntrack.FlagNAT
	}
	p.conn = conntrack.Detached(&spec)
	return p
}

// keyOf is the key of packets from one address to another.
func keyOf(proto uint8, from, to netip.AddrPort) conntrack.Key {
	l4 := uint64(packet.WirePort(from.Port())) | uint64(packet.WirePort(to.Port()))<<16 | uint64(proto)<<32
	if from.Addr().Is4() {
		addr := uint64(packet.WireV4(from.Addr())) | uint64(packet.WireV4(to.Addr()))<<32
		return conntrack.Key{Addr: [4]uint64{addr}, L4: l4}
	}
	src, dst := packet.WireV6(from.Addr()), packet.WireV6(to.Addr())
	return conntrack.Key{Addr: [4]uint64{src[0], src[1], dst[0], dst[1]}, L4: l4, V6: true}
}

// at returns the probe that comes from a port in wire order.
func (t *Probes) at(port uint16) *Probe {
	i := int(packet.WirePort(port)) - int(t.first)
	if i < 0 || i >= len(t.slots) {
		return nil
	}
	return t.slots[i].Load()
}

// sent returns the probe that the stack's packet p belongs to.
func (t *Probes) sent(p *packet.Parsed) *Probe {
	if probe := t.at(uint16(p.L4)); probe != nil && probe.request == flowKey(p) {
		return probe
	}
	return nil
}

// answered returns the probe that p is the answer to.
func (t *Probes) answered(p *packet.Parsed) *Probe {
	if probe := t.at(uint16(p.L4 >> 16)); probe != nil && probe.answer == flowKey(p) {
		return probe
	}
	return nil
}

// about returns the probe whose packet an ICMP error quotes, as it was on the wire.
func (t *Probes) about(quoted *packet.Parsed) *Probe {
	if probe := t.at(uint16(quoted.L4)); probe != nil && probe.wire == flowKey(quoted) {
		return probe
	}
	return nil
}

// sendProbe forwards a probe's packet as the method of its real server forwards a client's. The next hop is looked
// up anew for each: a probe must follow a route that has changed, and it may be for a real server that no
// snapshot has any more.
func (w *Worker) sendProbe(f *packet.Frame, p *packet.Parsed, probe *Probe) Verdict {
	v := w.forwardProbe(f, p, probe)
	switch {
	case v == hold:
		probe.trouble.Store(uint32(DropNeighbour)) // which it will be, unless the neighbour answers
		return v
	case v.IsTx():
		v = TxProbe
	}
	probe.trouble.Store(uint32(v))
	return v
}

func (w *Worker) forwardProbe(f *packet.Frame, p *packet.Parsed, probe *Probe) Verdict {
	key, ok := w.snap.Routes.NextHop(probe.real)
	if !ok {
		return DropNoRoute
	}
	id := w.snap.HopIDs[key]
	if id == 0 {
		w.notify(Notice{Kind: NoticeNewHop, Hop: key})
		return hold
	}
	hop := &w.snap.Hops[id]
	if hop.State != HopReady {
		return w.unresolved(id)
	}
	to := forwarding{probe.conn, &probe.dest, hop, probe.dest.Method}
	if int(p.TotalLen)+int(probe.dest.Overhead) > int(hop.MTU) {
		return DropTooBig
	}
	return w.apply(f, p, to)
}

// probeAnswer hands a real server's answer to a probe to the stack, from the VIP. ok is false if p is no such answer.
func (w *Worker) probeAnswer(f *packet.Frame, p *packet.Parsed) (v Verdict, ok bool) {
	probe := w.stack.Probes.answered(p)
	if probe == nil {
		return 0, false
	}
	if probe.dest.Method == lvs.MethodNAT {
		if v := w.forwardReply(f, p, probe.conn, noHop()); v != TxNATReply {
			return v, true
		}
		return w.hand(l3(f, p), netip.AddrPort{}, ProbeAnswer), true
	}
	return w.hand(ipPacket(f, p), netip.AddrPort{}, ProbeAnswer), true
}

// noHop stands in where an Ethernet header is written that nobody reads.
func noHop() *Hop { return &Hop{} }

// probeError hands an ICMP error about a probe to the stack, as an error about what the stack sent.
func (w *Worker) probeError(f *packet.Frame, p *packet.Parsed) (v Verdict, ok bool) {
	if w.stack == nil || w.inner.Kind != packet.KindFlow || w.inner.V6() != p.V6() {
		return 0, false
	}
	probe := w.stack.Probes.about(&w.inner)
	if probe == nil {
		return 0, false
	}
	if probe.dest.Method == lvs.MethodNAT {
		if v := w.rewriteOut(f, p, probe.conn, noHop()); v != TxNATReply {
			return v, true
		}
		return w.hand(l3(f, p), netip.AddrPort{}, ProbeAnswer), true
	}
	return w.hand(ipPacket(f, p), netip.AddrPort{}, ProbeAnswer), true
}

// probeTunnelError does the same for an error about a tunnel's outer header; the probe's packet lies at in the frame.
func (w *Worker) probeTunnelError(f *packet.Frame, p *packet.Parsed, at span) (v Verdict, ok bool) {
	if w.stack == nil || w.inner.Kind != packet.KindFlow || w.stack.Probes.about(&w.inner) == nil {
		return 0, false
	}
	m := packet.ICMP(f.Bytes()[p.L4Off:])
	out := ownError{v4: typeCode{m.Type(), m.Code()}, rest: m.Rest()}
	if v := w.errorAbout(f, at, out, noHop()); v != TxICMPError {
		return v, true
	}
	return w.hand(f.Bytes()[packet.EthernetLen:], netip.AddrPort{}, ProbeAnswer), true
}

// ownSource handles what says that it comes from an address of our own. Real servers of DR and TUN have the VIP,
// too: their errors about probes are true.
func (w *Worker) ownSource(f *packet.Frame, p *packet.Parsed) Verdict {
	if w.stack == nil || p.Kind != packet.KindICMP || p.Proto == packet.ProtoICMPv6 || p.Flags&packet.FlagFragment != 0 ||
		!packet.ICMP(f.Bytes()[p.L4Off:]).IsError() ||
		packet.ParseInner(ipPacket(f, p)[int(p.L4Off-p.L3Off)+packet.ICMPLen:], &w.inner) != 0 {
		return DropOwnSource
	}
	if v, ok := w.probeError(f, p); ok {
		return v
	}
	return DropOwnSource
}
