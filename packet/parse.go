package packet

import (
	"encoding/binary"
	"math/bits"
)

// fastMin is the shortest frame of the fast paths: an IPv4 UDP header behind a tag.
const fastMin = EthernetLen + VLANLen + IPv4Len + UDPLen

// EtherType and the first byte of the IP header, as a little-endian load.
const (
	fastTag  = 0x0081   // 81 00
	fastIPv4 = 0x450008 // 08 00 45: no options
	fastIPv6 = 0x60dd86 // 86 dd 6.
)

// Parse overwrites p with what frame is and returns ErrNone, or a reason to
// drop it; then p.Kind is KindNone and the rest of p is undefined. It trusts no
// byte of frame. It verifies the IPv4 header checksum and no other, as a kernel
// that forwards does.
//
// Nearly every frame is TCP or UDP without options, extension headers or
// fragments, and right. The fast paths recognise such a frame, and leave
// everything unusual or wrong, with all reasons, to parseAny.
func Parse(frame []byte, p *Parsed) Error {
	if len(frame) < fastMin {
		return parseAny(frame, p)
	}
	typ := binary.LittleEndian.Uint32(frame[ethType:])
	if typ&0xffffff == fastIPv4 && fast4(frame[EthernetLen:], fastAt{l3: EthernetLen}, p) {
		return ErrNone
	}
	if typ&0xf0ffff == fastIPv6 && fast6(frame[EthernetLen:], fastAt{l3: EthernetLen}, p) {
		return ErrNone
	}
	if uint16(typ) != fastTag || !fastTagged(frame, p) {
		return parseAny(frame, p)
	}
	return ErrNone
}

// plainMin is the shortest frame that ParsePlain takes: what an Ethernet frame has at least without its FCS.
const plainMin = 60

// tcpEdges are the flags that make of a segment more than one in the middle of its flow, and ACK, which such a one has.
const tcpEdges = TCPSyn | TCPFin | TCPRst | TCPAck

// macMask takes a frame's first six bytes out of a little-endian load of eight.
const macMask = 1<<48 - 1

// ParsePlain is Parse for the frames at the front of a batch that are plain: TCP or UDP over IPv4 without a tag,
// options or fragments, right, and sent to the MAC address of the port they arrived on (macs, by Frame.Port, as
// little-endian loads). It fills ps, which is no shorter than frames, and returns how many frames those were. It is
// Parse's fast path once more, in a loop that calls nothing, because nearly every frame goes this way.
func ParsePlain(frames []Frame, macs *[256]uint64, ps []Parsed) int {
	ps = ps[:len(frames)]
	for i := range frames {
		f, p := &frames[i], &ps[i]
		h := f.Bytes()
		if len(h) < plainMin {
			return i
		}
		w0, w1 := binary.LittleEndian.Uint64(h[EthernetLen:]), binary.LittleEndian.Uint64(h[EthernetLen+8:])
		dst, ports := binary.LittleEndian.Uint32(h[EthernetLen+16:]), binary.LittleEndian.Uint32(h[EthernetLen+20:])
		total, proto := swap16(uint16(w0>>16)), uint8(w1>>8)
		if binary.LittleEndian.Uint32(h[ethType:])&0xffffff != fastIPv4 || w0>>48&0xff3f != 0 || uint8(w1) == 0 ||
			binary.LittleEndian.Uint64(h)&macMask != macs[f.Port] || int(total) > len(h)-EthernetLen ||
			mayBeMartian(uint8(w1>>32)) || mayBeMartian(uint8(dst)) || !sumOK(w0, w1, dst) {
			return i
		}
		tcpBits, middle := h[EthernetLen+IPv4Len+tcpFlags], MiddleNone
		if proto == ProtoTCP && total >= IPv4Len+TCPLen {
			if tcpBits&tcpEdges == TCPAck {
				middle = MiddleTCP
			}
		} else {
			if tcpBits, middle = 0, MiddleUDP; proto != ProtoUDP || total < IPv4Len+UDPLen {
				return i
			}
		}
		if uint8(w1) == 1 {
			middle = MiddleNone
		}
		p.Addr = [4]uint64{w1>>32 | uint64(dst)<<32}
		p.L4 = uint64(ports) | uint64(proto)<<32
		p.L3Off, p.L4Off, p.TotalLen, p.FragOff = EthernetLen, EthernetLen+IPv4Len, total, 0
		p.FragID, p.VLAN = 0, 0
		p.Kind, p.Flags = KindFlow, Flags(w0>>51&uint64(FlagDF)) // DF is bit 54 of w0
		p.Proto, p.TTL, p.TOS, p.TCPFlags = proto, uint8(w1), uint8(w0>>8), tcpBits
		p.Middle = middle
	}
	return len(frames)
}

// fastAt says where the fast paths found an IP header.
type fastAt struct {
	l3    uint16 // offset in the frame
	vlan  uint16
	flags Flags
}

// fastTagged is the fast paths for a frame with a tag.
func fastTagged(frame []byte, p *Parsed) bool {
	typ := binary.LittleEndian.Uint32(frame[ethType+VLANLen:])
	at := fastAt{l3: EthernetLen + VLANLen, vlan: VLAN(frame[EthernetLen:]).TCI(), flags: FlagVLAN}
	if typ&0xffffff == fastIPv4 {
		return fast4(frame[EthernetLen+VLANLen:], at, p)
	}
	return typ&0xf0ffff == fastIPv6 && fast6(frame[EthernetLen+VLANLen:], at, p)
}

// fast4 fills p if h is a good IPv4 header without options and a good TCP or UDP
// header behind it, whatever follows.
func fast4(h []byte, at fastAt, p *Parsed) bool {
	if len(h) < IPv4Len+UDPLen {
		return false
	}
	// The header as 8 + 8 + 4 bytes: version to fragment word, TTL to source,
	// destination.
	w0, w1 := binary.LittleEndian.Uint64(h), binary.LittleEndian.Uint64(h[8:])
	dst, ports := binary.LittleEndian.Uint32(h[16:]), binary.LittleEndian.Uint32(h[20:])
	total, proto := swap16(uint16(w0>>16)), uint8(w1>>8)
	if int(total) > len(h) || w0>>48&0xff3f != 0 || uint8(w1) == 0 ||
		mayBeMartian(uint8(w1>>32)) || mayBeMartian(uint8(dst)) || !sumOK(w0, w1, dst) {
		return false
	}
	tcpBits := uint8(0)
	switch {
	case proto == ProtoTCP && total >= IPv4Len+TCPLen:
		tcpBits = h[IPv4Len+tcpFlags]
	case proto != ProtoUDP || total < IPv4Len+UDPLen:
		return false
	}
	p.Addr = [4]uint64{w1>>32 | uint64(dst)<<32}
	p.L4 = uint64(ports) | uint64(proto)<<32
	p.L3Off, p.L4Off, p.TotalLen, p.FragOff = at.l3, at.l3+IPv4Len, total, 0
	p.FragID, p.VLAN = 0, at.vlan
	p.Kind = KindFlow
	p.Flags = at.flags | Flags(w0>>51&uint64(FlagDF)) // DF is bit 54 of w0
	p.Proto, p.TTL, p.TOS, p.TCPFlags = proto, uint8(w1), uint8(w0>>8), tcpBits
	p.Middle = MiddleNone
	return true
}

// fast6 is fast4 for IPv6 without extension headers. An address whose first 8
// bytes are 0 or whose first byte is 0xff may be a martian.
func fast6(h []byte, at fastAt, p *Parsed) bool {
	if len(h) < IPv6Len+UDPLen {
		return false
	}
	w := binary.LittleEndian.Uint64(h)
	a := [4]uint64{binary.LittleEndian.Uint64(h[8:]), binary.LittleEndian.Uint64(h[16:]),
		binary.LittleEndian.Uint64(h[24:]), binary.LittleEndian.Uint64(h[32:])}
	ports := binary.LittleEndian.Uint32(h[40:])
	total, proto, hops := IPv6Len+int(swap16(uint16(w>>32))), uint8(w>>48), uint8(w>>56)
	if total > len(h) || total > 0xffff || hops == 0 || a[0] == 0 || a[2] == 0 || uint8(a[0]) == 0xff {
		return false
	}
	tcpBits := uint8(0)
	switch {
	case proto == ProtoTCP && total >= IPv6Len+TCPLen:
		tcpBits = h[IPv6Len+tcpFlags]
	case proto != ProtoUDP || total < IPv6Len+UDPLen:
		return false
	}
	p.Addr = a
	p.L4 = uint64(ports) | uint64(proto)<<32
	p.L3Off, p.L4Off, p.TotalLen, p.FragOff = at.l3, at.l3+IPv6Len, uint16(total), 0
	p.FragID, p.VLAN = 0, at.vlan
	p.Kind = KindFlow
	p.Flags = at.flags | FlagV6
	p.Proto, p.TTL, p.TOS, p.TCPFlags = proto, hops, uint8(w)<<4|uint8(w>>12)&0xf, tcpBits
	p.Middle = MiddleNone
	return true
}

// DF moves from bit 6 of the fragment word's first byte to FlagDF.
const _ = -uint(FlagDF ^ 1<<3)

// sumOK verifies the checksum of a 20-byte header: the one's complement sum of
// all words is 0xffff, that is, a multiple of it, and 1<<64 is 1 modulo 0xffff, so
// 64-bit words may be added with end-around carry. The sum is never 0.
func sumOK(w0, w1 uint64, w2 uint32) bool {
	s, carry := bits.Add64(w0, w1, 0)
	s, carry = bits.Add64(s, uint64(w2), carry)
	return (s+carry)%0xffff == 0
}

// mayBeMartian reports the first bytes of IPv4 addresses that deserve a closer
// look by martianV4: 0, 127 and everything from 224 on.
func mayBeMartian(first uint8) bool { return first-1 >= 223 || first == 127 }

// parseAny is Parse for any frame at all.
func parseAny(frame []byte, p *Parsed) Error {
	*p = Parsed{}
	if len(frame) < EthernetLen {
		return ErrFrameShort
	}
	p.L3Off = EthernetLen
	etherType := Ethernet(frame).EtherType()
	if etherType == EtherTypeVLAN {
		tag := VLAN(frame[EthernetLen:])
		if !tag.Valid() {
			return ErrFrameShort
		}
		p.L3Off = EthernetLen + VLANLen
		p.Flags, p.VLAN = FlagVLAN, tag.TCI()
		etherType = tag.EtherType()
		if etherType == EtherTypeVLAN {
			return ErrVLANStacked
		}
	}
	switch etherType {
	case EtherTypeIPv4:
		return parseIPv4(frame[p.L3Off:], p)
	case EtherTypeIPv6:
		return parseIPv6(frame[p.L3Off:], p)
	case EtherTypeARP:
		return parseARP(frame[p.L3Off:], p)
	case EtherTypeQinQ:
		return ErrVLANStacked
	}
	return ErrEtherType
}

func parseARP(b []byte, p *Parsed) Error {
	if len(b) < ARPLen {
		return ErrARPShort
	}
	if !ARP(b).Valid() {
		return ErrARPFormat
	}
	p.Kind = KindARP
	return ErrNone
}
