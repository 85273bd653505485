package packet

import "encoding/binary"

// A GUE header, variant 0 (draft-ietf-intarea-gue section 3.1; struct guehdr in
// the kernel's include/net/gue.h), after a UDP header:
//
//	 0   2 3       8             16                             32
//	+---+-+-------+-------------+------------------------------+
//	|Var|C| Hlen  | Proto/ctype | Flags                        |
//	+---+-+-------+-------------+------------------------------+
//	| optional fields, Hlen * 4 bytes                          |
//	+----------------------------------------------------------+
//
// Variant 1 has no header at all: an IP packet follows UDP directly, and its
// version (4 or 6, binary 01xx) looks like the variant.
const (
	gueFirst = 0
	gueProto = 1
	gueFlags = 2

	// GUELen is the bytes of a GUE header without optional fields, as IPVS
	// sends it.
	GUELen = 4

	gueVariantShift = 6
	gueControl      = 0x20
	gueHlenMask     = 0x1f
)

// GUE views a UDP payload with a GUE header of variant 0. Call Valid before any
// other method.
type GUE []byte

// Valid reports whether there is a complete header of variant 0.
func (h GUE) Valid() bool {
	return len(h) >= GUELen && h.Variant() == 0 && h.HeaderLen() <= len(h)
}

// Variant returns the variant, 0 to 3.
func (h GUE) Variant() uint8 { return h[gueFirst] >> gueVariantShift }

// Control reports whether this is a control message and not a packet.
func (h GUE) Control() bool { return h[gueFirst]&gueControl != 0 }

// HeaderLen returns the bytes of the header with its optional fields.
func (h GUE) HeaderLen() int { return GUELen + int(h[gueFirst]&gueHlenMask)*4 }

// Proto returns the IP protocol of the payload (4 or 41), or the control type.
func (h GUE) Proto() uint8 { return h[gueProto] }

// Flags returns the flags, which tell the optional fields.
func (h GUE) Flags() uint16 { return binary.BigEndian.Uint16(h[gueFlags:]) }

// Payload returns what follows the header.
func (h GUE) Payload() []byte { return h[h.HeaderLen():] }

// Encode writes a data header without flags or optional fields for a payload of
// the given IP protocol; h holds at least GUELen bytes.
func (h GUE) Encode(proto uint8) {
	h[gueFirst], h[gueProto] = 0, proto
	binary.BigEndian.PutUint16(h[gueFlags:], 0)
}
