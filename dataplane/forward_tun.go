package dataplane

import "ulvs/packet"

// forwardTUN puts the packet into an outer IP header to the real server (ip_vs_tunnel_xmit).
// The inner TTL goes down first and the outer one copies it; DSCP is copied, and an ECN of
// CE becomes ECT(0) outside, as INET_ECN_encapsulate has it.
func (w *Worker) forwardTUN(f *packet.Frame, p *packet.Parsed, to forwarding) Verdict {
	outer := int(to.dest.OuterLen)
	start := int(f.Off) + int(p.L3Off) - outer
	if start < vlanHeaderLen {
		return DropHeadroom
	}
	decTTL(f.Buf[start+outer:], p)
	tos := p.TOS
	if tos&3 == 3 {
		tos &^= 1
	}
	etype := uint16(packet.EtherTypeIPv6)
	if outer == packet.IPv4Len {
		etype = packet.EtherTypeIPv4
		w.outer4(f.Buf[start:], p, to.dest, tos)
	} else {
		outer6(f.Buf[start:], p, to.dest, tos)
	}
	if !setL2(f, span{int(p.L3Off) - outer, int(p.TotalLen) + outer}, to.hop, etype) {
		return DropHeadroom
	}
	return TxTUN
}

// outer4 writes an IPv4 outer header. DF is the inner packet's; without it the packet gets an
// IP id of its own, else 0.
func (w *Worker) outer4(b []byte, p *packet.Parsed, d *Dest, tos uint8) {
	fields := packet.IPv4Fields{
		TOS: tos, TTL: p.TTL - 1, Proto: packet.ProtoIPIP, TotalLen: p.TotalLen + packet.IPv4Len,
		DF: p.Flags&packet.FlagDF != 0, Src: uint32(d.OuterSrc[0]), Dst: uint32(d.Addr[0]),
	}
	if p.V6() {
		fields.Proto = packet.ProtoIPv6
	}
	if !fields.DF {
		fields.ID = w.nextID()
	}
	packet.IPv4(b[:packet.IPv4Len]).Encode(&fields)
}

// outer6 writes an IPv6 outer header (RFC 2473).
func outer6(b []byte, p *packet.Parsed, d *Dest, tos uint8) {
	fields := packet.IPv6Fields{
		TrafficClass: tos, HopLimit: p.TTL - 1, NextHeader: packet.ProtoIPIP, PayloadLen: p.TotalLen,
		Src: d.OuterSrc, Dst: d.Addr,
	}
	if p.V6() {
		fields.NextHeader = packet.ProtoIPv6
	}
	packet.IPv6(b[:packet.IPv6Len]).Encode(&fields)
}

// nextID returns an IP id that outsiders cannot easily predict (xorshift, seeded per worker).
func (w *Worker) nextID() uint16 {
	w.random ^= w.random << 13
	w.random ^= w.random >> 7
	w.random ^= w.random << 17
	return uint16(w.random >> 32)
}
