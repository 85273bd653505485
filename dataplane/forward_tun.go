package dataplane

import (
	"encoding/binary"
	"math/bits"

	"ulvs/lvs"
	"ulvs/packet"
)

// tunnelOverhead is what a method adds to a packet: the outer IP header and what lies between it and
// the inner one (ip_vs_tun.h; GUE is UDP and four bytes, GRE four or eight).
func tunnelOverhead(t lvs.Tunnel, v6 bool) uint8 {
	n := packet.IPv4Len
	if v6 {
		n = packet.IPv6Len
	}
	switch {
	case t.Type == lvs.TunnelGUE:
		n += packet.UDPLen + packet.GUELen
	case t.Type == lvs.TunnelGRE && t.Checksum != lvs.TunnelNoChecksum:
		n += packet.GRELen + packet.GREChecksumLen
	case t.Type == lvs.TunnelGRE:
		n += packet.GRELen
	}
	return uint8(n)
}

// forwardTUN puts the packet into an outer IP packet to the real server (ip_vs_tunnel_xmit).
// The inner TTL goes down first and the outer one copies it; DSCP is copied, and an ECN of
// CE becomes ECT(0) outside, as INET_ECN_encapsulate has it.
func (w *Worker) forwardTUN(f *packet.Frame, p *packet.Parsed, to forwarding) Verdict {
	d := to.dest
	over := int(d.Overhead)
	start := int(f.Off) + int(p.L3Off) - over
	if start < vlanHeaderLen {
		return DropHeadroom
	}
	decTTL(f.Buf[start+over:], p)
	b := f.Buf[start : start+over+int(p.TotalLen)]
	proto, etype := uint8(packet.ProtoIPIP), uint16(packet.EtherTypeIPv4)
	if p.V6() {
		proto = packet.ProtoIPv6
	}
	if d.Tunnel.Type != lvs.TunnelIPIP {
		proto = encapsulate(b, p, d, proto)
	}
	tos := outerTOS(p)
	if d.V6 {
		etype = packet.EtherTypeIPv6
		outer6(b, p, d, outerFields{proto, tos})
	} else {
		w.outer4(b, p, d, outerFields{proto, tos})
	}
	if !setL2(f, span{int(p.L3Off) - over, len(b)}, to.hop, etype) {
		return DropHeadroom
	}
	return TxTUN
}

type outerFields struct{ proto, tos uint8 }

// outerTOS is the inner packet's, with an ECN of CE made ECT(0).
func outerTOS(p *packet.Parsed) uint8 {
	tos := p.TOS
	if tos&3 == 3 {
		tos &^= 1
	}
	return tos
}

// outer4 writes an IPv4 outer header over b, the whole outer packet.
func (w *Worker) outer4(b []byte, p *packet.Parsed, d *Dest, o outerFields) {
	start, end := w.outerWords(p, o, len(b), d.addrSum)
	h := b[:packet.IPv4Len]
	binary.LittleEndian.PutUint64(h[0:], start)
	binary.LittleEndian.PutUint32(h[8:], end)
	binary.LittleEndian.PutUint64(h[12:], d.outerAddrs())
}

// outerWords are an IPv4 outer header's twelve bytes before the addresses, of a packet of size bytes and with addresses
// of that sum. DF is the inner packet's (unless pmtu_disc is off, or the inner one is IPv6); without it the packet gets
// an IP id of its own. Everything is put together in little-endian words, the checksum from what they add to the sum.
func (w *Worker) outerWords(p *packet.Parsed, o outerFields, size int, sum uint32) (start uint64, end uint32) {
	id, frag := uint32(0), uint32(wireDF)
	if p.Flags&packet.FlagDF == 0 || w.snap.Settings.PMTUDisc == 0 {
		id, frag = uint32(w.nextID()), 0
	}
	first := 0x45 | uint32(o.tos)<<8
	length := uint32(bits.ReverseBytes16(uint16(size)))
	ttl := uint32(p.TTL-1) | uint32(o.proto)<<8
	sum += first + length + id + frag + ttl
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint64(first|length<<16) | uint64(id|frag<<16)<<32, ttl | ^sum<<16
}

// outerAddrs are the addresses of an IPv4 outer header.
func (d *Dest) outerAddrs() uint64 { return d.Source[0] | d.Addr[0]<<32 }

// wireDF is the don't-fragment bit in a little-endian load of the fragment word.
const wireDF = 0x0040

// addrSum4 is the sum of the addresses of an IPv4 outer header.
func addrSum4(src, dst uint64) uint32 {
	return uint32(src&0xffff + src>>16&0xffff + dst&0xffff + dst>>16&0xffff)
}

// outer6 writes an IPv6 outer header (RFC 2473).
func outer6(b []byte, p *packet.Parsed, d *Dest, o outerFields) {
	fields := packet.IPv6Fields{
		TrafficClass: o.tos, HopLimit: p.TTL - 1, NextHeader: o.proto, PayloadLen: uint16(len(b) - packet.IPv6Len),
		Src: d.Source, Dst: d.Addr,
	}
	packet.IPv6(b[:packet.IPv6Len]).Encode(&fields)
}

// encapsulate writes what lies between the outer IP header and the inner packet, and returns
// the outer header's protocol.
func encapsulate(b []byte, p *packet.Parsed, d *Dest, inner uint8) uint8 {
	n := packet.IPv4Len
	if d.V6 {
		n = packet.IPv6Len
	}
	b = b[n:]
	if d.Tunnel.Type == lvs.TunnelGRE {
		packet.GRE(b).Encode(&packet.GREFields{
			EtherType: etherType(p), Checksum: d.Tunnel.Checksum != lvs.TunnelNoChecksum,
		})
		return packet.ProtoGRE
	}
	u := packet.UDP(b)
	packet.GUE(b[packet.UDPLen:]).Encode(inner)
	u.Encode(&packet.UDPFields{SrcPort: gueSource(p), DstPort: d.Tunnel.Port, Length: uint16(len(b))})
	if d.Tunnel.Checksum != lvs.TunnelNoChecksum {
		u.UpdateChecksum(outerPseudo(d, len(b)))
	}
	return packet.ProtoUDP
}

func outerPseudo(d *Dest, length int) uint32 {
	if d.V6 {
		addr := [4]uint64{d.Source[0], d.Source[1], d.Addr[0], d.Addr[1]}
		return packet.PseudoV6(&addr, packet.ProtoUDP, length)
	}
	return packet.PseudoV4(d.outerAddrs(), packet.ProtoUDP, length)
}

// gueSource is a source port that is the same for all packets of a flow, so that routers and NICs
// keep them in order and spread flows, from the kernel's ephemeral range (udp_flow_src_port).
func gueSource(p *packet.Parsed) uint16 {
	const first, count = 32768, 28232
	h := (p.Addr[0] ^ p.Addr[1] ^ p.Addr[2] ^ p.Addr[3] ^ p.L4) * 0x9e3779b97f4a7c15
	return uint16(first + (h>>32)*count>>32)
}

// nextID returns an IP id that outsiders cannot easily predict (xorshift, seeded per worker).
func (w *Worker) nextID() uint16 {
	w.random ^= w.random << 13
	w.random ^= w.random >> 7
	w.random ^= w.random << 17
	return uint16(w.random >> 32)
}
