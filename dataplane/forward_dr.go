package dataplane

import "ulvs/packet"

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
	case p.TotalLen > hop.MTU && (p.V6() || p.Flags&packet.FlagDF != 0):
		return w.tooBig(f, p, int(hop.MTU), true)
	case !setL2(f, ipSpan(p), hop, etherType(p)):
		return DropHeadroom
	}
	decTTL(l3(f, p), p)
	if p.TotalLen > hop.MTU {
		return w.cut(f, TxRouted, hop.MTU)
	}
	return TxRouted
}
