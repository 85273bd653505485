package dataplane

import (
	"encoding/binary"

	"ulvs/conntrack"
	"ulvs/packet"
)

// forwardNAT rewrites the destination to the real server's address and port
// (ip_vs_nat_xmit). Checksums change by deltas (RFC 1624), so a payload that was damaged
// on the way here is still seen as damaged there.
func (w *Worker) forwardNAT(f *packet.Frame, p *packet.Parsed, to forwarding) Verdict {
	if !setL2(f, ipSpan(p), to.hop, etherType(p)) {
		return DropHeadroom
	}
	b := l3(f, p)
	var d packet.Delta
	if p.V6() {
		d = setAddr6(b, ip6Dst, to.conn.DestAddr6())
	} else {
		d = setAddr4(b, ip4Dst, to.conn.DestAddr4())
	}
	if p.Kind == packet.KindFlow { // AH and ESP have no ports, and no checksum that we could mend
		l4 := b[p.L4Off-p.L3Off:]
		binary.LittleEndian.PutUint16(l4[2:4], to.conn.DestPort())
		w.mendL4(b, l4, p, d.Change16(uint16(p.L4>>16), to.conn.DestPort()))
	}
	return TxNAT
}

// forwardReply rewrites the source to the VIP and its port (ip_vs_out).
func (w *Worker) forwardReply(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry, hop *Hop) Verdict {
	if !setL2(f, ipSpan(p), hop, etherType(p)) {
		return DropHeadroom
	}
	b := l3(f, p)
	var d packet.Delta
	if p.V6() {
		d = setAddr6(b, ip6Src, e.VIP6())
	} else {
		d = setAddr4(b, ip4Src, e.VIP4())
	}
	if p.Flags&packet.FlagOptions != 0 && !p.V6() {
		w.rerecord(f, p, packet.AddrV4(e.VIP4()))
	}
	if p.Kind == packet.KindFlow {
		l4 := b[p.L4Off-p.L3Off:]
		binary.LittleEndian.PutUint16(l4[0:2], e.VIPPort())
		w.mendL4(b, l4, p, d.Change16(uint16(p.L4), e.VIPPort()))
	}
	return TxNATReply
}

// Offsets of the addresses in the IP headers.
const (
	ip4Src, ip4Dst = 12, 16
	ip6Src, ip6Dst = 8, 24
)

// setAddr4 writes an address and takes one from the TTL, both into the header checksum. It
// returns the address's delta, which the L4 checksum's pseudo header has to follow.
func setAddr4(b []byte, off int, addr uint32) packet.Delta {
	h := packet.IPv4(b[:packet.IPv4Len])
	field := h[off : off+4]
	d := packet.Delta(0).Change32(binary.LittleEndian.Uint32(field), addr)
	binary.LittleEndian.PutUint32(field, addr)
	ttl := uint16(h.TTL())
	h.SetTTL(uint8(ttl - 1))
	h.SetChecksum(h.Checksum().Apply(d.Change16(ttl, ttl-1))) // the TTL is the low byte of its word
	return d
}

func setAddr6(b []byte, off int, addr [2]uint64) packet.Delta {
	h := b[:packet.IPv6Len]
	field := h[off : off+16]
	d := packet.Delta(0).Change64(binary.LittleEndian.Uint64(field[0:]), addr[0]).
		Change64(binary.LittleEndian.Uint64(field[8:]), addr[1])
	binary.LittleEndian.PutUint64(field[0:], addr[0])
	binary.LittleEndian.PutUint64(field[8:], addr[1])
	packet.IPv6(h).DecHopLimit()
	return d
}

// mendL4 applies a change of addresses and ports to the L4 checksum. SCTP's CRC covers the ports: it is
// computed anew. A UDP datagram that came without a checksum leaves with one, as the kernel's does.
func (w *Worker) mendL4(b, l4 []byte, p *packet.Parsed, d packet.Delta) {
	switch p.Proto {
	case packet.ProtoTCP:
		h := packet.TCP(l4[:packet.TCPLen])
		h.SetChecksum(h.Checksum().Apply(d))
	case packet.ProtoSCTP:
		w.mendSCTP(l4, uint32(p.L4))
	case packet.ProtoUDP:
		h := packet.UDP(l4[:packet.UDPLen])
		if sum := h.Checksum(); sum != 0 {
			h.SetChecksum(sum.ApplyUDP(d))
			return
		}
		h.SetChecksum(packet.FoldUDP(packet.Sum(l4, pseudoOf(b, p, len(l4)))))
	}
}

// pseudoOf is the sum of the pseudo header with the addresses as they are in b now.
func pseudoOf(b []byte, p *packet.Parsed, length int) uint32 {
	if !p.V6() {
		return packet.PseudoV4(packet.IPv4(b).AddrWire(), p.Proto, length)
	}
	src, dst := packet.IPv6(b).SrcWire(), packet.IPv6(b).DstWire()
	return packet.PseudoV6(&[4]uint64{src[0], src[1], dst[0], dst[1]}, p.Proto, length)
}
