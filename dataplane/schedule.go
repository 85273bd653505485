package dataplane

import (
	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// miss decides about a packet that belongs to no session: it starts one, is answered, or is
// a real server's own.
func (w *Worker) miss(f *packet.Frame, p *packet.Parsed) Verdict {
	// The batch was looked up before its first packet was handled: an earlier packet of
	// it, or another worker, may have made the session meanwhile.
	key := flowKey(p)
	if ref := w.conns.FindKey(&key); ref != 0 {
		if e := w.table.Entry(ref); e.Live() && !w.over(e) {
			if ref.Reply() {
				return w.reply(f, p, e)
			}
			return w.request(f, p, w.session(ref))
		}
	}
	return w.unknown(f, p)
}

// unknown is miss for a packet that surely has no session.
func (w *Worker) unknown(f *packet.Frame, p *packet.Parsed) Verdict {
	if w.stack != nil {
		if v, ok := w.probeAnswer(f, p); ok {
			return v
		}
	}
	if !p.V6() && w.ours4(p.Addr[0]) {
		return DropOwnSource
	}
	id := w.service(f, p)
	if uint16(p.L4) == wirePortFTPData {
		id = 0
	}
	switch {
	case p.Proto == lvs.ProtoSCTP:
		return w.missSCTP(f, p, id)
	case id == 0:
		return w.stray(f, p)
	}
	if p.Proto == lvs.ProtoTCP && !w.starts(p) && !w.continues(p, id) {
		if w.snap.Settling {
			return DropUnsynced
		}
		return w.reset(f, p)
	}
	return w.schedule(f, p, &w.snap.Services[id])
}

// ours4 reports whether the low half is an IPv4 address of our own.
func (w *Worker) ours4(addr uint64) bool { return w.snap.own.get(addr&0xffff_ffff|ownAddr) != 0 }

// wirePortFTPData is port 20 in a little-endian load. A session from there belongs to another, and is never
// scheduled by itself (ip_vs_schedule).
const wirePortFTPData = 20 << 8

// starts reports whether a TCP segment may start a session: a SYN, with sloppy_tcp any but a RST.
func (w *Worker) starts(p *packet.Parsed) bool {
	if p.TCPFlags&packet.TCPRst != 0 {
		return false
	}
	return p.TCPFlags&packet.TCPSyn != 0 || w.snap.Settings.SloppyTCP != 0
}

func flowKey(p *packet.Parsed) conntrack.Key {
	return conntrack.Key{Addr: p.Addr, L4: p.L4, V6: p.V6()}
}

// schedule starts a session (ip_vs_schedule, ip_vs_sched_persist) and forwards its first
// packet.
func (w *Worker) schedule(f *packet.Frame, p *packet.Parsed, svc *Service) Verdict {
	if w.drops.Drop(w.snap.Settings.DropPacket, w.snap.Settings.AMDropRate) {
		return DropDefence
	}
	id, template := w.pick(p, svc)
	d := w.dest(uint32(id))
	if d == nil {
		return w.leave(f, p, svc)
	}
	ref, result := w.insert(p, newSession{svc, d, id, template})
	if result == conntrack.Full {
		return DropTableFull
	}
	s := w.session(ref)
	v := w.request(f, p, s)
	if s.meta.Flags()&conntrack.FlagOnePacket != 0 && result == conntrack.Inserted {
		return w.onePacket(s, v)
	}
	return v
}

// leave handles a packet that no real server could take (ip_vs_leave): with cache_bypass one of a mark's
// service goes on to the address that the client wanted, if that is not ours.
func (w *Worker) leave(f *packet.Frame, p *packet.Parsed, svc *Service) Verdict {
	if w.snap.Settings.CacheBypass == 0 || svc.Config.Key.Mark == 0 || w.snap.VIPs[p.Dst()] {
		return w.noDestination(f, p)
	}
	spec := conntrack.Spec{
		Key: flowKey(p), Service: uint32(svc.Config.ID), Flags: conntrack.FlagBypass | conntrack.FlagNoOutput,
		State: w.firstState(p, conntrack.InputOnly),
	}
	spec.Timeout = w.snap.Timeouts.Of(spec.State)
	if _, result := w.conns.Insert(&spec, w.now); result == conntrack.Full {
		return DropTableFull
	}
	return w.forwardRouted(f, p)
}

// pick chooses the destination, by template where the service is persistent.
func (w *Worker) pick(p *packet.Parsed, svc *Service) (lvs.DestID, conntrack.Ref) {
	if svc.Persist != 0 {
		return w.pickPersistent(p, svc)
	}
	return w.pickNew(p, svc), 0
}

func (w *Worker) pickNew(p *packet.Parsed, svc *Service) lvs.DestID {
	p.PutTuple(&w.tuple) // not a local: it would escape through the scheduler's interface
	id, ok := svc.Scheduler.Pick(&w.tuple, int64(w.now/conntrack.TicksPerSecond))
	if !ok {
		return 0
	}
	if d := w.dest(uint32(id)); d == nil || d.Removed {
		w.renewSnapshot()
	}
	return id
}

type newSession struct {
	svc      *Service
	dest     *Dest
	id       lvs.DestID
	template conntrack.Ref
}

func (w *Worker) insert(p *packet.Parsed, n newSession) (conntrack.Ref, conntrack.Result) {
	spec := &w.spec // not a local, which would be cleared and then written again; all of it is set here
	spec.Addr, spec.L4, spec.V6 = p.Addr, p.L4, p.V6()
	spec.DestAddr, spec.DestPort = n.dest.Addr, n.dest.Port
	spec.Dest, spec.Service, spec.Control = uint32(n.id), uint32(n.svc.Config.ID), n.template
	switch {
	case n.svc.Persist != 0:
		spec.DestPort = persistPort(p, n.svc.Config, n.dest)
	case spec.DestPort == 0:
		spec.DestPort = uint16(p.L4 >> 16)
	}
	switch n.dest.Method {
	case lvs.MethodNAT:
		spec.Flags = conntrack.FlagNAT
	case lvs.MethodTUN:
		spec.Flags = conntrack.FlagTUN | conntrack.FlagNoOutput
	default:
		spec.Flags = conntrack.FlagNoOutput
	}
	if n.svc.Config.OnePacket && p.Proto == lvs.ProtoUDP {
		spec.Flags |= conntrack.FlagOnePacket
	}
	if w.snap.Settings.DropEntry == defenceAlways {
		spec.Flags |= conntrack.FlagCounted
	}
	spec.State = w.firstState(p, inputDir(spec.Flags))
	spec.Timeout = w.snap.Timeouts.Of(spec.State)
	ref, result := w.conns.Insert(spec, w.now)
	if result != conntrack.Inserted {
		return ref, result
	}
	n.dest.Load.Bind(spec.State.Active())
	w.stats.conn(uint32(n.id))
	if n.template != 0 {
		w.table.Entry(n.template).AddControlled(1)
		if spec.State.Established() { // at once, by sloppy_tcp
			w.assure(w.table.Entry(ref))
		}
	}
	if w.log != nil && spec.State == conntrack.UDPNormal {
		w.tell(w.table.Entry(ref), spec.State, true)
	}
	return ref, result
}

// firstState is the state to insert a session with. The packet that opens it is tracked after that: TCP's
// stays where it is then, SCTP's would be taken for a repetition.
func (w *Worker) firstState(p *packet.Parsed, dir conntrack.Dir) conntrack.State {
	switch p.Proto {
	case lvs.ProtoTCP:
		return w.nextTCP(dir, conntrack.TCPNone, p.TCPFlags)
	case lvs.ProtoSCTP:
		return conntrack.SCTPNone
	}
	return conntrack.UDPNormal
}

// inputDir is the direction of a client's packet of a session with these flags.
func inputDir(f conntrack.Flags) conntrack.Dir {
	if f&conntrack.FlagNoOutput != 0 {
		return conntrack.InputOnly
	}
	return conntrack.Input
}

// stray handles a packet for no service: one for a VIP is answered as a closed port, everything else
// (a real server's own packet) is routed on as it is (ipvs-spec.md section 3.3).
func (w *Worker) stray(f *packet.Frame, p *packet.Parsed) Verdict {
	switch {
	case !w.snap.VIPs[p.Dst()] || w.gone(p):
		return w.strayReply(f, p)
	case p.Proto == lvs.ProtoTCP:
		return w.reset(f, p)
	}
	return w.portUnreachable(f, p)
}

// gone reports whether nat_icmp_send is on and the packet comes from the port of a NAT real server.
func (w *Worker) gone(p *packet.Parsed) bool {
	if w.snap.Settings.NATICMPSend == 0 {
		return false
	}
	k := realKey{port: uint16(p.L4), proto: p.Proto, v6: p.V6()}
	if k.v6 {
		k.addr = [2]uint64{p.Addr[0], p.Addr[1]}
	} else {
		k.addr[0] = uint64(uint32(p.Addr[0]))
	}
	return w.snap.reals[k] != 0
}

// strayReply routes a packet on that belongs to no session. A real server that answers one which is gone is
// told so, where nat_icmp_send is on; a reset needs no answer. What would have been routed is quoted
// with its TTL taken down.
func (w *Worker) strayReply(f *packet.Frame, p *packet.Parsed) Verdict {
	if p.V6() && w.snap.VIPs[p.Src()] {
		v := w.forwardRouted(f, p)
		if v == TxRouted {
			w.direct(f, p)
		}
		return v
	}
	if !w.gone(p) {
		return w.forwardRouted(f, p)
	}
	if w.snap.VIPs[p.Dst()] {
		return w.unknownReply(f, p)
	}
	id, v := w.route(p)
	if id == 0 {
		return v
	}
	reset := p.Proto == lvs.ProtoTCP && p.TCPFlags&packet.TCPRst != 0
	mtu := w.snap.Hops[id].MTU
	tooBig := p.TotalLen > mtu && w.refuses(p, int(mtu))
	if p.TTL <= 1 || reset || tooBig { // ip_forward looks at TTL and size before IPVS does
		return w.forwardRouted(f, p)
	}
	decTTL(f.Bytes()[p.L3Off:], p)
	return w.unknownReply(f, p)
}

// direct tracks the answer of a DR or TUN real server that we route: it comes from the VIP (ip_vs_out). A kernel
// takes such a packet for a forged one in IPv4, and in IPv6 not.
func (w *Worker) direct(f *packet.Frame, p *packet.Parsed) {
	key := swapped(p)
	ref := w.conns.FindKey(&key)
	if ref == 0 || ref.Reply() {
		return
	}
	s := w.session(ref)
	if !s.meta.Live() || s.e.Expired(w.now) || methodOf(s.meta.Flags()) == lvs.MethodNAT {
		return
	}
	s.e.ClearFlags(conntrack.FlagNoOutput)
	w.track(f, p, s, conntrack.Output)
	w.countReply(s.e.Dest(), p.TotalLen)
}
