package packet

import "encoding/binary"

// Flags of a neighbour advertisement (RFC 4861 section 4.4), in the rest word.
const (
	NDPRouter    = 1 << 31
	NDPSolicited = 1 << 30
	NDPOverride  = 1 << 29
)

// Options of neighbour discovery (RFC 4861 section 4.6).
const (
	NDPOptSourceMAC = 1
	NDPOptTargetMAC = 2
)

// A neighbour solicitation or advertisement (RFC 4861 sections 4.3, 4.4):
//
//	 0      1      2          4              8                    24
//	+------+------+----------+--------------+--------------------+--
//	| 135/6| 0    | checksum | R S O flags  | target (16 bytes)  | options
//	+------+------+----------+--------------+--------------------+--
//
//	option: | type | length in 8s | value ... |     a MAC: type 1 or 2, length 1
const (
	ndpTarget = 8
	ndpOpts   = 24

	// NDPLen is the bytes of a neighbour message without options.
	NDPLen = 24
	// NDPOptMACLen is the bytes of an option that carries a MAC.
	NDPOptMACLen = 8
	// NDPHopLimit is what a neighbour message must arrive with (RFC 4861
	// section 7.1): no router forwarded it.
	NDPHopLimit = 255
)

// NDP views a neighbour solicitation or advertisement, ICMPv6 header first.
// Call Valid before any other method.
type NDP []byte

// NDPFields are the values of a neighbour message with one MAC option to
// encode.
type NDPFields struct {
	Type   uint8     // ICMPv6NeighborSolicit or ICMPv6NeighborAdvert
	Flags  uint32    // NDPRouter | NDPSolicited | NDPOverride; 0 in a solicitation
	Target [2]uint64 // wire words
	Option uint8     // NDPOptSourceMAC or NDPOptTargetMAC; 0 writes none
	MAC    MAC
}

// Len returns the bytes Encode writes.
func (f *NDPFields) Len() int {
	if f.Option == 0 {
		return NDPLen
	}
	return NDPLen + NDPOptMACLen
}

// Valid reports whether the message is complete, of one of the two types with
// code 0, and all its options fit and have a length (RFC 4861 section 7.1). It
// checks neither checksum nor hop limit.
func (h NDP) Valid() bool {
	if len(h) < NDPLen || h[icmpCode] != 0 {
		return false
	}
	if h[icmpType] != ICMPv6NeighborSolicit && h[icmpType] != ICMPv6NeighborAdvert {
		return false
	}
	opts := h[ndpOpts:]
	for len(opts) > 0 {
		if len(opts) < 8 || opts[1] == 0 || int(opts[1])*8 > len(opts) {
			return false
		}
		opts = opts[int(opts[1])*8:]
	}
	return true
}

// Flags returns the rest word: NDPRouter, NDPSolicited, NDPOverride.
func (h NDP) Flags() uint32 { return ICMP(h).Rest() }

// Target returns the address in question as wire words.
func (h NDP) Target() [2]uint64 { return wire128(h[ndpTarget:ndpOpts]) }

// OptionMAC returns the MAC in the first option of the given type
// (NDPOptSourceMAC, NDPOptTargetMAC); ok is false when there is none.
func (h NDP) OptionMAC(option uint8) (m MAC, ok bool) {
	for opts := h[ndpOpts:]; len(opts) >= 8 && opts[1] != 0; opts = opts[int(opts[1])*8:] {
		if opts[0] == option && opts[1] == 1 {
			return MAC(opts[2:8]), true
		}
		if int(opts[1])*8 > len(opts) {
			break
		}
	}
	return m, false
}

// Encode writes all of f with checksum 0; h holds at least f.Len() bytes. The
// caller ends it with [ICMPv6.UpdateChecksum].
func (h NDP) Encode(f *NDPFields) {
	ICMP(h).Encode(&ICMPFields{Type: f.Type, Rest: f.Flags})
	putWire128(h[ndpTarget:ndpOpts], f.Target)
	if f.Option == 0 {
		return
	}
	o := h[ndpOpts : ndpOpts+NDPOptMACLen]
	o[0], o[1] = f.Option, 1
	copy(o[2:], f.MAC[:])
}

// SolicitedNode returns the multicast group in which a solicitation for target
// is sent (RFC 4291 section 2.7.1), as wire words, and its MAC (RFC 2464 section 7).
func SolicitedNode(target [2]uint64) (group [2]uint64, mac MAC) {
	low := uint32(target[1] >> 32) // last 4 bytes of the address
	group[0] = 0x02ff
	group[1] = 0x01<<24 | uint64(low&^0xff|0xff)<<32
	mac = MAC{0x33, 0x33}
	binary.LittleEndian.PutUint32(mac[2:], uint32(group[1]>>32))
	return group, mac
}
