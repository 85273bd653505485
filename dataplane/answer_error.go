package dataplane

import "ulvs/packet"

// The errors that we send. rest is the word after the checksum, and otherwise what happens to the
// frame where no error can be sent. An error's source is the address that the packet was for, a VIP;
// about a packet from a real server it is the address of the port that it came in by.

// noDestination is ip_vs_leave: port unreachable, for TCP too, never a reset.
func (w *Worker) noDestination(f *packet.Frame, p *packet.Parsed) Verdict {
	return w.icmpError(f, p, ownError{v4: portClosed4, v6: portClosed6, otherwise: DropNoDestination})
}

// portUnreachable answers for a closed port of a VIP, a datagram that came whole.
func (w *Worker) portUnreachable(f *packet.Frame, p *packet.Parsed) Verdict {
	if p.Proto == packet.ProtoUDP {
		l4 := f.Bytes()[p.L4Off : int(p.L3Off)+int(p.TotalLen)]
		none := packet.UDP(l4).Checksum() == 0
		if none && p.V6() || !none && packet.Fold(packet.Sum(l4, p.PseudoSum(len(l4)))) != 0 {
			return DropNoService
		}
	}
	return w.icmpError(f, p, ownError{v4: portClosed4, v6: portClosed6, otherwise: DropNoService})
}

// unknownReply tells a real server that a session of its is gone (nat_icmp_send).
func (w *Worker) unknownReply(f *packet.Frame, p *packet.Parsed) Verdict {
	return w.icmpError(f, p, ownError{v4: portClosed4, v6: portClosed6, otherwise: DropNoService, fromPort: true})
}

// timeExceeded tells the sender that the TTL ran out.
func (w *Worker) timeExceeded(f *packet.Frame, p *packet.Parsed, fromPort bool) Verdict {
	return w.icmpError(f, p, ownError{
		v4: typeCode{packet.ICMPTimeExceeded, packet.ICMPCodeTTL},
		v6: typeCode{packet.ICMPv6TimeExceeded, packet.ICMPv6CodeHopLimit}, otherwise: DropTTL, fromPort: fromPort,
	})
}

// tooBig tells the sender the MTU. A client's packet is quoted as it would have gone on, with its TTL
// taken down.
func (w *Worker) tooBig(f *packet.Frame, p *packet.Parsed, mtu int, fromPort bool) Verdict {
	if mtu < minMTU4 {
		return DropTooBig
	}
	if !fromPort {
		decTTL(f.Bytes()[p.L3Off:], p) // ip_forward looks at the MTU before it does that
	}
	return w.icmpError(f, p, ownError{
		v4: typeCode{packet.ICMPUnreachable, packet.ICMPCodeFragNeeded}, v6: typeCode{packet.ICMPv6PacketTooBig, 0},
		rest: uint32(mtu), otherwise: DropTooBig, fromPort: fromPort,
	})
}

// minMTU4 is the smallest MTU of IPv4 (RFC 791).
const minMTU4 = 68

type typeCode [2]uint8

var (
	portClosed4 = typeCode{packet.ICMPUnreachable, packet.ICMPCodePort}
	portClosed6 = typeCode{packet.ICMPv6Unreachable, packet.ICMPv6CodePort}
)

type ownError struct {
	v4, v6    typeCode
	rest      uint32
	otherwise Verdict
	fromPort  bool
}

// An ICMP error embeds of the packet it is about what fits the smallest MTU: 576 bytes
// (RFC 1812 section 4.3.2.3) and 1280 (RFC 4443 section 2.4).
const (
	errorMax4  = 576
	errorMax6  = 1280
	errorHead4 = packet.IPv4Len + packet.ICMPLen
	errorHead6 = packet.IPv6Len + packet.ICMPLen
)

// icmpError turns the frame into an ICMP error about itself and sends it back where it came from.
func (w *Worker) icmpError(f *packet.Frame, p *packet.Parsed, e ownError) Verdict {
	if w.mute(f, p) {
		return e.otherwise
	}
	if !w.answers.take(w.now) {
		return DropAnswerLimit
	}
	if p.Kind == packet.KindICMP && isError(f.Bytes()[p.L4Off], p) {
		return e.otherwise // never an error about an error (RFC 1122 section 3.2.2)
	}
	head, most := errorHead4, errorMax4
	source := w.errorSource(f, p, e)
	l2 := int(p.L3Off)
	var options [maxOptions]byte
	n := 0
	if p.V6() {
		head, most = errorHead6, errorMax6
	} else {
		var ok bool
		if n, ok = w.echoOptions(packet.IPv4(f.Bytes()[l2:p.L4Off]), uint32(source[0]), &options); !ok {
			return e.otherwise
		}
		head += n
	}
	start := int(f.Off) - head
	if start < 0 {
		return e.otherwise
	}
	w.turn(f, p)
	copy(f.Buf[start:start+l2], f.Buf[f.Off:])
	b := f.Buf[start : start+l2+min(int(p.TotalLen)+head, most)]
	if p.V6() {
		ownError6(b[l2:], p, e, source)
	} else {
		w.ownError4(b[l2:], p, e, errorFrom{uint32(source[0]), options[:n]})
	}
	f.Off, f.Len = uint16(start), uint16(len(b))
	return TxICMPError
}

// errorFrom is who sends an IPv4 error, and the options that it echoes.
type errorFrom struct {
	addr    uint32
	options []byte
}

// ownError4 writes the headers. The kernel marks errors as internetwork control and keeps what kind of service the
// packet asked for (icmp_send: RT_TOS).
func (w *Worker) ownError4(b []byte, p *packet.Parsed, e ownError, from errorFrom) {
	packet.IPv4(b).Encode(&packet.IPv4Fields{
		TOS: p.TOS&0x1e | 0xc0, TTL: ownTTL, Proto: packet.ProtoICMP, TotalLen: uint16(len(b)), ID: w.nextID(),
		Src: from.addr, Dst: uint32(p.Addr[0]), Options: from.options,
	})
	m := packet.ICMP(b[packet.IPv4Len+len(from.options):])
	m.Encode(&packet.ICMPFields{Type: e.v4[0], Code: e.v4[1], Rest: e.rest})
	m.UpdateChecksum()
}

func ownError6(b []byte, p *packet.Parsed, e ownError, source [2]uint64) {
	h := packet.IPv6Fields{
		NextHeader: packet.ProtoICMPv6, HopLimit: ownTTL, PayloadLen: uint16(len(b) - packet.IPv6Len),
		Src: source, Dst: [2]uint64{p.Addr[0], p.Addr[1]},
	}
	packet.IPv6(b).Encode(&h)
	m := packet.ICMPv6(b[packet.IPv6Len:])
	m.Encode(&packet.ICMPFields{Type: e.v6[0], Code: e.v6[1], Rest: e.rest})
	m.UpdateChecksum(pseudo6(&h))
}

// mute reports whether a packet is never answered by an error or a reset: a frame for a group (RFC 1122 section
// 3.2.2), and what says that it comes from us, who would get the answer.
func (w *Worker) mute(f *packet.Frame, p *packet.Parsed) bool {
	return f.Bytes()[0]&1 != 0 || w.snap.VIPs[p.Src()]
}

// errorSource is the source address of an error about p, in wire words.
func (w *Worker) errorSource(f *packet.Frame, p *packet.Parsed, e ownError) [2]uint64 {
	port := &w.snap.Ports[f.Port]
	switch {
	case e.fromPort && p.V6() && port.IPv6.IsValid():
		return packet.WireV6(port.IPv6)
	case e.fromPort && !p.V6() && port.IPv4.IsValid():
		return [2]uint64{uint64(packet.WireV4(port.IPv4))}
	case p.V6():
		return [2]uint64{p.Addr[2], p.Addr[3]}
	}
	return [2]uint64{p.Addr[0] >> 32}
}

func isError(icmpType uint8, p *packet.Parsed) bool {
	if p.V6() {
		return icmpType < 128
	}
	return packet.ICMP([]byte{icmpType}).IsError()
}

// reset answers a TCP segment that belongs to nothing, as the stack of a host with the VIP
// would (RFC 9293 section 3.10.7.1).
func (w *Worker) reset(f *packet.Frame, p *packet.Parsed) Verdict {
	l4 := f.Bytes()[p.L4Off : int(p.L3Off)+int(p.TotalLen)]
	if p.TCPFlags&packet.TCPRst != 0 || w.mute(f, p) || packet.Fold(packet.Sum(l4, p.PseudoSum(len(l4)))) != 0 {
		return DropNoService
	}
	if !w.answers.take(w.now) {
		return DropAnswerLimit
	}
	b := f.Bytes()
	var options [maxOptions]byte
	echoed := 0
	if !p.V6() {
		var ok bool
		if echoed, ok = w.echoOptions(packet.IPv4(b[p.L3Off:p.L4Off]), uint32(p.Addr[0]>>32), &options); !ok {
			return DropNoService
		}
	}
	fields := resetOf(packet.TCP(b[p.L4Off : int(p.L3Off)+int(p.TotalLen)]))
	w.turn(f, p)
	ip := b[p.L3Off:]
	n := packet.IPv4Len + echoed
	if p.V6() {
		n = packet.IPv6Len
		packet.IPv6(ip).Encode(&packet.IPv6Fields{
			NextHeader: packet.ProtoTCP, HopLimit: ownTTL, PayloadLen: packet.TCPLen, TrafficClass: p.TOS &^ ecnMask,
			Src: [2]uint64{p.Addr[2], p.Addr[3]}, Dst: [2]uint64{p.Addr[0], p.Addr[1]},
		})
	} else {
		packet.IPv4(ip).Encode(&packet.IPv4Fields{
			TOS: p.TOS &^ ecnMask, TTL: ownTTL, Proto: packet.ProtoTCP, DF: true, TotalLen: uint16(n) + packet.TCPLen,
			Src: uint32(p.Addr[0] >> 32), Dst: uint32(p.Addr[0]), Options: options[:echoed],
		})
	}
	seg := packet.TCP(ip[n : n+packet.TCPLen])
	seg.Encode(&fields)
	seg.UpdateChecksum(p.PseudoSum(packet.TCPLen)) // the sum does not care which address is the source
	f.Len = p.L3Off + uint16(n) + packet.TCPLen
	return TxReset
}

// ecnMask is the part of TOS that is a path's, not a packet's (RFC 3168): a reset has none.
const ecnMask = 3

func resetOf(seg packet.TCP) packet.TCPFields {
	out := packet.TCPFields{SrcPort: seg.DstPort(), DstPort: seg.SrcPort(), Flags: packet.TCPRst}
	if seg.Flags()&packet.TCPAck != 0 {
		out.Seq = seg.Ack()
		return out
	}
	length := max(len(seg)-seg.HeaderLen(), 0)
	if seg.Flags()&packet.TCPSyn != 0 {
		length++
	}
	if seg.Flags()&packet.TCPFin != 0 {
		length++
	}
	out.Ack = seg.Seq() + uint32(length)
	out.Flags |= packet.TCPAck
	return out
}
