package dataplane

import (
	"ulvs/conntrack"
	"ulvs/packet"
)

// pathMTUTicks is how long a path's MTU is believed (net.ipv4.route.mtu_expires: 10 minutes).
const pathMTUTicks = 600 * conntrack.TicksPerSecond

// relayTunnel handles an IPv4 error about a packet that we sent into a tunnel: what it quotes is our outer
// header, and behind it the client's packet. The client is told the same about its own packet, from
// the VIP; a path's MTU is noted and told less the tunnel's overhead, to who asked for it with DF
// (ip_vs_in_icmp). ours is false if the error is about something else.
func (w *Worker) relayTunnel(f *packet.Frame, p *packet.Parsed) (v Verdict, ours bool) {
	outer := w.inner
	k := realKey{addr: [2]uint64{outer.Addr[0] >> 32}, proto: outer.Proto}
	if outer.Proto == packet.ProtoUDP {
		k.port = uint16(outer.L4 >> 16)
	}
	if p.V6() || uint32(p.Addr[0]>>32) != uint32(outer.Addr[0]) || !w.ours4(outer.Addr[0]) || w.snap.tunnels[k] == 0 {
		return 0, false
	}
	end := int(p.L3Off) + int(p.TotalLen)
	quoted := int(p.L4Off) + packet.ICMPLen
	at := quoted + innerOffset(f.Bytes()[quoted:end], &outer)
	if at > end || packet.ParseInner(f.Bytes()[at:end], &w.inner) != 0 || w.inner.V6() {
		return DropICMP, true
	}
	if v, ok := w.probeTunnelError(f, p, span{at, end - at}); ok {
		return v, true
	}
	key := flowKey(&w.inner)
	ref := w.conns.FindKey(&key)
	if ref == 0 || ref.Reply() || !packet.ICMP(f.Bytes()[p.L4Off:end]).ChecksumOK() {
		return DropICMP, true
	}
	return w.tellClient(f, p, w.table.Entry(ref), span{at, end - at}), true
}

// innerOffset is where the client's packet begins behind the outer header.
func innerOffset(quoted []byte, outer *packet.Parsed) int {
	n := int(outer.L4Off)
	switch outer.Proto {
	case packet.ProtoUDP:
		if g := packet.GUE(quoted[min(n+packet.UDPLen, len(quoted)):]); g.Valid() {
			return n + packet.UDPLen + g.HeaderLen()
		}
		return n + packet.UDPLen + packet.GUELen
	case packet.ProtoGRE:
		if g := packet.GRE(quoted[min(n, len(quoted)):]); g.Valid() {
			return n + g.HeaderLen()
		}
		return n + packet.GRELen
	}
	return n
}

// tellClient turns an error about a tunnel into one about the client's packet, which lies at in the frame.
func (w *Worker) tellClient(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry, at span) Verdict {
	d := w.dest(e.Dest())
	if d == nil {
		return DropRemoved
	}
	m := packet.ICMP(f.Bytes()[p.L4Off:])
	out := ownError{v4: typeCode{m.Type(), m.Code()}, rest: m.Rest()}
	if out.v4 == (typeCode{packet.ICMPUnreachable, packet.ICMPCodeFragNeeded}) {
		mtu := max(m.MTU(), minPathMTU)
		before := d.Load.PathMTU(uint32(w.now))
		if before != 0 {
			mtu = min(mtu, before)
		}
		d.Load.LearnMTU(mtu, uint32(w.now+pathMTUTicks))
		if w.snap.Settings.KernelQuirks != 0 {
			mtu = w.routeMTU(d, before) // of the route that is cached until the next packet is sent
		}
		if w.inner.Flags&packet.FlagDF == 0 {
			return DropICMP // noted; we cut the next ones ourselves
		}
		out.rest = uint32(mtu - uint16(d.Overhead))
	}
	hop, v := w.hopTo(&packet.Parsed{Addr: [4]uint64{w.inner.Addr[0] << 32}})
	if hop == nil {
		return v
	}
	w.stats.out(e.Dest(), uint16(at.len)) // once for the packet it is about, once for the error itself
	v = w.errorAbout(f, at, out, hop)
	w.stats.out(e.Dest(), uint16(min(at.len+errorHead4, errorMax4)))
	return v
}

// minPathMTU is the smallest MTU that is believed (net.ipv4.route.min_pmtu).
const minPathMTU = 552

// routeMTU is the MTU towards d with what was learned of it before.
func (w *Worker) routeMTU(d *Dest, learned uint16) uint16 {
	mtu := w.snap.Hops[d.Hop].MTU
	if learned != 0 {
		mtu = min(mtu, learned)
	}
	return mtu
}

// errorAbout makes f an error about the IPv4 packet that lies at in it, from that packet's destination to its
// source.
func (w *Worker) errorAbout(f *packet.Frame, at span, e ownError, hop *Hop) Verdict {
	at.len = min(at.len, errorMax4-errorHead4) + errorHead4
	at.off -= errorHead4
	if int(f.Off)+at.off < 0 || !setL2(f, at, hop, packet.EtherTypeIPv4) {
		return DropHeadroom
	}
	b := f.Bytes()[int(f.Len)-at.len:]
	packet.IPv4(b).Encode(&packet.IPv4Fields{
		TOS: 0xc0, TTL: ownTTL, Proto: packet.ProtoICMP, TotalLen: uint16(len(b)), ID: w.nextID(),
		Src: uint32(w.inner.Addr[0] >> 32), Dst: uint32(w.inner.Addr[0]),
	})
	m := packet.ICMP(b[packet.IPv4Len:])
	m.Encode(&packet.ICMPFields{Type: e.v4[0], Code: e.v4[1], Rest: e.rest})
	m.UpdateChecksum()
	return TxICMPError
}

// hopTo returns the next hop to p's destination; nil comes with the verdict.
func (w *Worker) hopTo(p *packet.Parsed) (*Hop, Verdict) {
	id, v := w.route(p)
	if id == 0 {
		return nil, v
	}
	if w.snap.Hops[id].State != HopReady {
		return nil, w.unresolved(id)
	}
	return &w.snap.Hops[id], 0
}
