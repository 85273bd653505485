package dataplane

import (
	"net/netip"

	"ulvs/packet"
)

var broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// forwardDR sends the packet to the real server's MAC address. Nothing above Ethernet
// changes but the TTL and with it the IPv4 header checksum (ip_vs_dr_xmit).
func (w *Worker) forwardDR(f *packet.Frame, p *packet.Parsed, hop *Hop) Verdict {
	decTTL(f.Buf[int(f.Off)+int(p.L3Off):], p)
	if !setL2(f, ipSpan(p), hop, etherType(p)) {
		return DropHeadroom
	}
	return TxDR
}

// forwardRouted sends a packet on along the kernel's route, unchanged but for the TTL: a real
// server's packet that belongs to no session.
func (w *Worker) forwardRouted(f *packet.Frame, p *packet.Parsed) Verdict {
	if dst := p.Dst(); dst.IsMulticast() || dst.Is6() && dst.IsLinkLocalUnicast() || dst == broadcast4 {
		return DropNotOurs // never routed
	}
	id, v := w.route(p)
	if id == 0 {
		return v
	}
	hop := &w.snap.Hops[id]
	switch {
	case hop.State != HopReady:
		return w.unresolved(id)
	case p.TTL <= 1:
		return w.timeExceeded(f, p, true)
	case p.TotalLen > hop.MTU && w.refuses(p, int(hop.MTU)):
		return w.tooBig(f, p, int(hop.MTU), true)
	case !setL2(f, ipSpan(p), hop, etherType(p)):
		return DropHeadroom
	}
	decTTL(l3(f, p), p)
	if p.Flags&packet.FlagOptions != 0 && !p.V6() {
		w.rerecord(f, p, w.snap.Ports[hop.Port].IPv4)
	}
	if p.TotalLen > hop.MTU {
		return w.cut(f, TxRouted, hop.MTU)
	}
	return TxRouted
}
