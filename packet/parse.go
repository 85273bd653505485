package packet

import (
	"encoding/binary"
	"math/bits"
)

// Offsets in a frame without a tag whose IPv4 header has no options.
const (
	fastIP  = EthernetLen
	fastL4  = EthernetLen + IPv4Len
	fastMin = fastL4 + UDPLen
)

// Parse overwrites p with what frame is and returns ErrNone, or a reason to
// drop it; then p.Kind is KindNone and the rest of p is undefined. It trusts no
// byte of frame. It verifies the IPv4 header checksum and no other, as a kernel
// that forwards does.
//
// Nearly every frame is IPv4 TCP or UDP without a tag, options or fragments: it
// takes the path below, whose only jumps lead to parseAny. Everything unusual or
// wrong is decided there, so this path holds no reasons.
func Parse(frame []byte, p *Parsed) Error {
	if len(frame) < fastMin || binary.LittleEndian.Uint32(frame[12:])&0xffffff != 0x450008 {
		return parseAny(frame, p)
	}
	// The header as 8 + 8 + 4 bytes: version to fragment word, TTL to source,
	// destination.
	w0 := binary.LittleEndian.Uint64(frame[fastIP:])
	w1 := binary.LittleEndian.Uint64(frame[fastIP+8:])
	dst := binary.LittleEndian.Uint32(frame[fastIP+16:])
	ports := binary.LittleEndian.Uint32(frame[fastL4:])
	total := swap16(uint16(w0 >> 16))
	proto := uint8(w1 >> 8)
	if int(total) > len(frame)-fastIP || w0>>48&0xff3f != 0 || uint8(w1) == 0 ||
		uint16(ports) == 0 || ports>>16 == 0 || uint32(w1>>32) == dst ||
		mayBeMartian(uint8(w1>>32)) || mayBeMartian(uint8(dst)) || !sumOK(w0, w1, dst) {
		return parseAny(frame, p)
	}
	tcpBits := uint8(0)
	switch {
	case proto == ProtoTCP && total >= IPv4Len+TCPLen:
		tcpBits = frame[fastL4+tcpFlags]
	case proto == ProtoUDP && total >= IPv4Len+UDPLen:
	default:
		return parseAny(frame, p)
	}
	p.Addr = [4]uint64{w1>>32 | uint64(dst)<<32}
	p.L4 = uint64(ports) | uint64(proto)<<32
	p.L3Off, p.L4Off, p.TotalLen, p.FragOff = fastIP, fastL4, total, 0
	p.FragID, p.VLAN = 0, 0
	p.Kind = KindFlow
	p.Flags = Flags(w0 >> 51 & uint64(FlagDF)) // DF is bit 54 of w0
	p.Proto = proto
	p.TTL = uint8(w1)
	p.TOS = uint8(w0 >> 8)
	p.TCPFlags = tcpBits
	return ErrNone
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
