package packet

import (
	"encoding/binary"
	"net/netip"
)

// IP protocol numbers that ulvs knows (IANA protocol-numbers).
const (
	ProtoHopByHop = 0 // IPv6 hop-by-hop options
	ProtoICMP     = 1
	ProtoIPIP     = 4 // IPv4 in IP
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoIPv6     = 41 // IPv6 in IP
	ProtoRouting  = 43 // IPv6 routing header
	ProtoFragment = 44 // IPv6 fragment header
	ProtoGRE      = 47
	ProtoESP      = 50
	ProtoAH       = 51
	ProtoICMPv6   = 58
	ProtoNoNext   = 59 // IPv6: nothing follows
	ProtoDestOpts = 60 // IPv6 destination options
	ProtoVRRP     = 112
	ProtoSCTP     = 132
)

// An IPv4 header (RFC 791 section 3.1):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|Version|  IHL  |Type of Service|          Total Length         |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|         Identification        |0|D|M|    Fragment Offset      |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Time to Live |    Protocol   |         Header Checksum       |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                       Source Address                          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                    Destination Address                        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	ipv4VersionIHL = 0
	ipv4TOS        = 1
	ipv4TotalLen   = 2
	ipv4ID         = 4
	ipv4FlagsFrag  = 6
	ipv4TTL        = 8
	ipv4Proto      = 9
	ipv4Checksum   = 10
	ipv4Src        = 12
	ipv4Dst        = 16

	// IPv4Len is the bytes of an IPv4 header without options.
	IPv4Len = 20

	ipv4DF      = 0x4000
	ipv4MF      = 0x2000
	ipv4FragMax = 0x1fff // mask of the offset, in units of 8 bytes
)

// IPv4 views an IPv4 packet. Call Valid before any other method. Setters leave
// the header checksum alone; Change* correct it, UpdateChecksum computes it.
type IPv4 []byte

// IPv4Fields are the values of a header without options to encode. Addresses
// are wire words.
type IPv4Fields struct {
	TOS, TTL, Proto uint8
	DF              bool
	ID              uint16
	TotalLen        uint16 // header included
	Src, Dst        uint32
	Options         []byte // a multiple of 4, at most 40
}

// Valid reports whether the header is complete and its lengths fit each other
// and the bytes there are. It does not check the checksum.
func (h IPv4) Valid() bool {
	if len(h) < IPv4Len || h[ipv4VersionIHL]>>4 != 4 {
		return false
	}
	n, total := h.HeaderLen(), int(h.TotalLen())
	return n >= IPv4Len && n <= total && total <= len(h)
}

// HeaderLen returns the bytes of the header with its options.
func (h IPv4) HeaderLen() int { return int(h[ipv4VersionIHL]&0xf) * 4 }

// TOS returns DSCP and ECN.
func (h IPv4) TOS() uint8 { return h[ipv4TOS] }

// TotalLen returns the bytes of header and payload.
func (h IPv4) TotalLen() uint16 { return binary.BigEndian.Uint16(h[ipv4TotalLen:]) }

// ID returns the identification.
func (h IPv4) ID() uint16 { return binary.BigEndian.Uint16(h[ipv4ID:]) }

// DF reports the don't-fragment bit.
func (h IPv4) DF() bool { return h.flagsFrag()&ipv4DF != 0 }

// MF reports the more-fragments bit.
func (h IPv4) MF() bool { return h.flagsFrag()&ipv4MF != 0 }

// FragOff returns the fragment offset in bytes.
func (h IPv4) FragOff() uint16 { return h.flagsFrag() & ipv4FragMax * 8 }

// TTL returns the time to live.
func (h IPv4) TTL() uint8 { return h[ipv4TTL] }

// Proto returns the IP protocol of the payload.
func (h IPv4) Proto() uint8 { return h[ipv4Proto] }

// Checksum returns the header checksum.
func (h IPv4) Checksum() Checksum { return Checksum(binary.LittleEndian.Uint16(h[ipv4Checksum:])) }

// SrcWire returns the source address as a wire word.
func (h IPv4) SrcWire() uint32 { return binary.LittleEndian.Uint32(h[ipv4Src:]) }

// DstWire returns the destination address as a wire word.
func (h IPv4) DstWire() uint32 { return binary.LittleEndian.Uint32(h[ipv4Dst:]) }

// AddrWire returns both addresses as [Parsed].Addr[0] has them.
func (h IPv4) AddrWire() uint64 { return binary.LittleEndian.Uint64(h[ipv4Src:]) }

// Src returns the source address.
func (h IPv4) Src() netip.Addr { return AddrV4(h.SrcWire()) }

// Dst returns the destination address.
func (h IPv4) Dst() netip.Addr { return AddrV4(h.DstWire()) }

// Options returns the bytes between the fixed header and the payload.
func (h IPv4) Options() []byte { return h[IPv4Len:h.HeaderLen()] }

// Payload returns what follows the header, up to TotalLen.
func (h IPv4) Payload() []byte { return h[h.HeaderLen():h.TotalLen()] }

// SetTOS writes DSCP and ECN.
func (h IPv4) SetTOS(v uint8) { h[ipv4TOS] = v }

// SetTotalLen writes the bytes of header and payload.
func (h IPv4) SetTotalLen(v uint16) { binary.BigEndian.PutUint16(h[ipv4TotalLen:], v) }

// SetID writes the identification.
func (h IPv4) SetID(v uint16) { binary.BigEndian.PutUint16(h[ipv4ID:], v) }

// SetDF writes the don't-fragment bit and keeps the rest of its word.
func (h IPv4) SetDF(on bool) {
	v := h.flagsFrag() &^ ipv4DF
	if on {
		v |= ipv4DF
	}
	binary.BigEndian.PutUint16(h[ipv4FlagsFrag:], v)
}

// SetFragment writes offset (in bytes, a multiple of 8) and more-fragments bit,
// and keeps DF.
func (h IPv4) SetFragment(off uint16, more bool) {
	v := h.flagsFrag()&ipv4DF | off/8
	if more {
		v |= ipv4MF
	}
	binary.BigEndian.PutUint16(h[ipv4FlagsFrag:], v)
}

// SetTTL writes the time to live.
func (h IPv4) SetTTL(v uint8) { h[ipv4TTL] = v }

// SetProto writes the IP protocol of the payload.
func (h IPv4) SetProto(v uint8) { h[ipv4Proto] = v }

// SetChecksum writes the header checksum.
func (h IPv4) SetChecksum(c Checksum) { binary.LittleEndian.PutUint16(h[ipv4Checksum:], uint16(c)) }

// SetSrcWire writes the source address from a wire word.
func (h IPv4) SetSrcWire(v uint32) { binary.LittleEndian.PutUint32(h[ipv4Src:], v) }

// SetDstWire writes the destination address from a wire word.
func (h IPv4) SetDstWire(v uint32) { binary.LittleEndian.PutUint32(h[ipv4Dst:], v) }

// ChangeSrc writes the source address and corrects the header checksum.
func (h IPv4) ChangeSrc(v uint32) {
	h.SetChecksum(h.Checksum().Apply(Delta(0).Change32(h.SrcWire(), v)))
	h.SetSrcWire(v)
}

// ChangeDst writes the destination address and corrects the header checksum.
func (h IPv4) ChangeDst(v uint32) {
	h.SetChecksum(h.Checksum().Apply(Delta(0).Change32(h.DstWire(), v)))
	h.SetDstWire(v)
}

// ChecksumOK reports whether the header checksum is right.
func (h IPv4) ChecksumOK() bool { return Fold(Sum(h[:h.HeaderLen()], 0)) == 0 }

// UpdateChecksum computes the header checksum from scratch and writes it.
func (h IPv4) UpdateChecksum() {
	h.SetChecksum(0)
	h.SetChecksum(Fold(Sum(h[:h.HeaderLen()], 0)))
}

// Encode writes a header, checksum included; h holds at least IPv4Len bytes and the
// options.
func (h IPv4) Encode(f *IPv4Fields) {
	h[ipv4VersionIHL] = 0x45 + byte(len(f.Options)/4)
	copy(h[IPv4Len:], f.Options)
	h.SetTOS(f.TOS)
	h.SetTotalLen(f.TotalLen)
	h.SetID(f.ID)
	binary.BigEndian.PutUint16(h[ipv4FlagsFrag:], 0)
	h.SetDF(f.DF)
	h.SetTTL(f.TTL)
	h.SetProto(f.Proto)
	h.SetSrcWire(f.Src)
	h.SetDstWire(f.Dst)
	h.UpdateChecksum()
}

// SetOptionsLen says how many bytes of options there are, a multiple of 4.
func (h IPv4) SetOptionsLen(n int) { h[ipv4VersionIHL] = 0x45 + byte(n/4) }

func (h IPv4) flagsFrag() uint16 { return binary.BigEndian.Uint16(h[ipv4FlagsFrag:]) }
