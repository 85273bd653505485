package dataplane

import (
	"encoding/binary"
	"net/netip"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// An ICMP error belongs to the session of the packet that it quotes (ip_vs_in_icmp,
// ip_vs_out_icmp). The quoted packet went either way:
//
//	outside error, about VIP -> client:     goes on to the real server, as the session's packets do
//	inside error, about client -> server:   goes on to the client, from the VIP (NAT only)

// icmp4 answers echo requests to VIPs and relays errors.
func (w *Worker) icmp4(f *packet.Frame, p *packet.Parsed) Verdict {
	m := packet.ICMP(f.Bytes()[p.L4Off : int(p.L3Off)+int(p.TotalLen)])
	switch {
	case p.V6():
		return DropICMP
	case m.Type() == packet.ICMPEchoRequest && w.snap.VIPs[p.Dst()]:
		return w.echo4(f, p)
	case m.Type() == packet.ICMPUnreachable, m.Type() == packet.ICMPSourceQuench, m.Type() == packet.ICMPTimeExceeded:
		return w.relay(f, p)
	}
	return w.strayICMP(f, p)
}

// icmp6 answers echo requests to VIPs and neighbour solicitations for them, and relays errors.
func (w *Worker) icmp6(f *packet.Frame, p *packet.Parsed) Verdict {
	m := packet.ICMPv6(f.Bytes()[p.L4Off : int(p.L3Off)+int(p.TotalLen)])
	switch {
	case !p.V6():
		return DropICMP
	case m.Type() == packet.ICMPv6NeighborSolicit:
		return w.solicitation(f, p)
	case m.Type() == packet.ICMPv6EchoRequest && w.snap.VIPs[p.Dst()]:
		return w.echo6(f, p)
	case m.IsError():
		return w.relay(f, p)
	}
	return w.strayICMP(f, p)
}

// strayICMP is ICMP that is none of ours: routed on unless it is for us.
func (w *Worker) strayICMP(f *packet.Frame, p *packet.Parsed) Verdict {
	if w.snap.VIPs[p.Dst()] || p.TTL == packet.NDPHopLimit && p.V6() {
		return DropICMP
	}
	return w.forwardRouted(f, p)
}

// relay finds the session that an error is about.
func (w *Worker) relay(f *packet.Frame, p *packet.Parsed) Verdict {
	quoted := f.Bytes()[int(p.L4Off)+packet.ICMPLen : int(p.L3Off)+int(p.TotalLen)]
	inner := &w.inner
	if w.snap.idle[index(p.V6())] || packet.ParseInner(quoted, inner) != 0 {
		return w.strayICMP(f, p)
	}
	if v, ours := w.relayTunnel(f, p); ours {
		return v
	}
	if v, ours := w.probeError(f, p); ours {
		return v
	}
	if inner.Kind != packet.KindFlow || inner.V6() != p.V6() {
		return w.strayICMP(f, p)
	}
	key := swapped(inner)
	ref := w.conns.FindKey(&key)
	if ref != 0 && w.table.Entry(ref).Flags()&conntrack.FlagTemplate != 0 {
		ref = 0 // it quotes client port 0
	}
	if ref == 0 && w.snap.Settings.ScheduleICMP != 0 {
		if v := w.scheduleICMP(f, p, &key); v != 0 {
			return v
		}
	}
	if ref == 0 {
		v := w.strayICMP(f, p)
		if v == TxRouted {
			w.countError(p)
		}
		return v
	}
	e := w.table.Entry(ref)
	switch {
	case e.Flags()&conntrack.FlagTemplate != 0, !e.Live() || e.Expired(w.now):
		return w.strayICMP(f, p)
	case damaged(f, p):
		return DropICMP
	case ref.Reply():
		return w.relayOut(f, p, e)
	}
	return w.relayIn(f, p, e)
}

// damaged reports whether an error's checksum is wrong. The kernel does not look at ICMPv6's here.
func damaged(f *packet.Frame, p *packet.Parsed) bool {
	return !p.V6() && !packet.ICMP(f.Bytes()[p.L4Off:int(p.L3Off)+int(p.TotalLen)]).ChecksumOK()
}

// countError counts an inside error about a client's packet that a DR or TUN session carried: it is routed on as
// it is, but counted as the session's reply (ip_vs_out_icmp).
func (w *Worker) countError(p *packet.Parsed) {
	key := flowKey(&w.inner)
	ref := w.conns.FindKey(&key)
	if ref == 0 || ref.Reply() {
		return
	}
	e := w.table.Entry(ref)
	if methodOf(e.Flags()) != lvs.MethodNAT {
		w.countReply(e.Dest(), p.TotalLen)
	}
}

// scheduleICMP makes the session that an error about an unknown one belongs to (schedule_icmp), so that of
// several directors behind one anycast address any may get the error, and relays that; 0 if it is about no service.
// The session waits three seconds for a packet of its own.
func (w *Worker) scheduleICMP(f *packet.Frame, p *packet.Parsed, key *conntrack.Key) Verdict {
	about := &packet.Parsed{Addr: key.Addr, L4: key.L4, Kind: packet.KindFlow, Proto: w.inner.Proto, Flags: w.inner.Flags}
	id := w.service(f, about)
	if id == 0 || uint16(about.L4) == wirePortFTPData {
		return 0
	}
	if w.drops.Drop(w.snap.Settings.DropPacket, w.snap.Settings.AMDropRate) {
		return DropDefence
	}
	svc := &w.snap.Services[id]
	dest, template := w.pick(about, svc)
	d := w.dest(uint32(dest))
	if d == nil {
		return DropNoDestination
	}
	ref, result := w.insert(about, newSession{svc, d, dest, template})
	if ref == 0 {
		return DropTableFull
	}
	e := w.table.Entry(ref)
	if result == conntrack.Inserted {
		if about.Proto == packet.ProtoTCP { // no segment of the session's own was seen
			w.transition(e, e.State(), conntrack.TCPNone)
		}
		e.Touch(w.now, conntrack.NewTimeout)
	}
	v := DropICMP
	if !damaged(f, p) {
		v = w.relayIn(f, p, e)
	}
	if e.Flags()&conntrack.FlagOnePacket != 0 && result == conntrack.Inserted {
		return w.onePacket(w.session(ref), v)
	}
	return v
}

// swapped is the key of the quoted packet's other direction: the one in which the session is
// known to the table, as an error's sender saw what we sent or will see what we forward.
func swapped(p *packet.Parsed) conntrack.Key {
	k := conntrack.Key{V6: p.V6(), L4: p.L4&^uint64(0xffff_ffff) | p.L4&0xffff<<16 | p.L4>>16&0xffff}
	if p.V6() {
		k.Addr = [4]uint64{p.Addr[2], p.Addr[3], p.Addr[0], p.Addr[1]}
	} else {
		k.Addr[0] = p.Addr[0]<<32 | p.Addr[0]>>32
	}
	return k
}

// relayIn sends an outside error on to the session's real server. DR and TUN carry it unchanged;
// NAT rewrites its destination and what it quotes. It neither moves the session's state nor its timer.
func (w *Worker) relayIn(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry) Verdict {
	d := w.dest(e.Dest())
	if d == nil {
		return DropRemoved
	}
	if w.inner.Flags&packet.FlagLaterFrag != 0 && methodOf(e.Flags()) == lvs.MethodNAT {
		return DropICMP // as the kernel has it: there is no port to rewrite
	}
	if d.Local && w.stack != nil {
		w.stats.in(e.Dest(), p.TotalLen)
		return w.hand(ipPacket(f, p), netip.AddrPort{}, Local)
	}
	hop := &w.snap.Hops[d.Hop]
	if hop.State != HopReady {
		return w.unresolved(d.Hop)
	}
	if !d.Removed {
		w.stats.in(e.Dest(), p.TotalLen)
	}
	method := methodOf(e.Flags())
	if method != lvs.MethodNAT {
		return w.forward(f, p, forwarding{e, d, hop, method})
	}
	if p.TTL <= 1 {
		return w.timeExceeded(f, p, false)
	}
	if !setL2(f, ipSpan(p), hop, etherType(p)) {
		return DropHeadroom
	}
	b := l3(f, p)
	change := relayChange{outer: ip4Dst, inner: ip4Src, port: 0, to: e.DestPort(), from: uint16(w.inner.L4)}
	if p.V6() {
		change.outer, change.inner, change.addr6 = ip6Dst, ip6Src, e.DestAddr6()
	} else {
		change.addr4 = e.DestAddr4()
	}
	w.rewriteRelay(b, p, change)
	return TxNAT
}

// relayOut sends an inside error on to the client, from the VIP whoever sent it.
func (w *Worker) relayOut(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry) Verdict {
	if p.V6() && w.snap.Settings.KernelQuirks != 0 {
		// handle_response_icmp checks the ICMPv6 checksum without its pseudo header and
		// drops what is right.
		return DropICMP
	}
	hop, v := w.replyHop(p, e)
	if hop == nil {
		return v
	}
	if p.TTL <= 1 {
		return w.timeExceeded(f, p, true)
	}
	w.countReply(e.Dest(), p.TotalLen)
	return w.rewriteOut(f, p, e, hop)
}

// rewriteOut makes an inside error one that comes from the VIP, about what was sent there.
func (w *Worker) rewriteOut(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry, hop *Hop) Verdict {
	if !setL2(f, ipSpan(p), hop, etherType(p)) {
		return DropHeadroom
	}
	b := l3(f, p)
	change := relayChange{outer: ip4Src, inner: ip4Dst, port: 2, to: e.VIPPort(), from: uint16(w.inner.L4 >> 16)}
	if p.V6() {
		change.outer, change.inner, change.addr6 = ip6Src, ip6Dst, e.VIP6()
	} else {
		change.addr4 = e.VIP4()
	}
	w.rewriteRelay(b, p, change)
	return TxNATReply
}

// relayChange says which address of the error's own header and which of the quoted packet
// become addr, and which port of the quoted packet becomes to: offsets into the headers.
type relayChange struct {
	outer, inner, port int
	addr4              uint32
	addr6              [2]uint64
	from, to           uint16
}

// rewriteRelay makes the change. The quoted IPv4 header's checksum and the ICMP checksum
// follow; the quoted L4 checksum does not, as in the kernel: what it covers is mostly cut off.
func (w *Worker) rewriteRelay(b []byte, p *packet.Parsed, c relayChange) {
	m := b[p.L4Off-p.L3Off:]
	quoted := m[packet.ICMPLen:]
	port := quoted[int(w.inner.L4Off)+c.port:]
	d := packet.Delta(0).Change16(c.from, c.to)
	binary.LittleEndian.PutUint16(port, c.to)
	icmp := packet.ICMP(m)
	if p.V6() {
		outer := setAddr6(b, c.outer, c.addr6) // also in the pseudo header
		old := [2]uint64{binary.LittleEndian.Uint64(quoted[c.inner:]), binary.LittleEndian.Uint64(quoted[c.inner+8:])}
		d = d.Change128(old, c.addr6)
		binary.LittleEndian.PutUint64(quoted[c.inner:], c.addr6[0])
		binary.LittleEndian.PutUint64(quoted[c.inner+8:], c.addr6[1])
		icmp.SetChecksum(icmp.Checksum().Apply(d + outer))
		return
	}
	setAddr4(b, c.outer, c.addr4)
	h := packet.IPv4(quoted)
	old := binary.LittleEndian.Uint32(quoted[c.inner:])
	addr := packet.Delta(0).Change32(old, c.addr4)
	binary.LittleEndian.PutUint32(quoted[c.inner:], c.addr4)
	sum := h.Checksum()
	h.SetChecksum(sum.Apply(addr))
	// The header's own checksum is part of what the ICMP checksum covers: the two cancel but for it.
	icmp.SetChecksum(icmp.Checksum().Apply(d + addr.Change16(uint16(sum), uint16(h.Checksum()))))
}
