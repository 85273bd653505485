package packet

import "encoding/binary"

// EtherTypes that ulvs knows.
const (
	EtherTypeIPv4  = 0x0800
	EtherTypeARP   = 0x0806
	EtherTypeVLAN  = 0x8100 // 802.1Q
	EtherTypeIPv6  = 0x86dd
	EtherTypeQinQ  = 0x88a8 // 802.1ad
	EtherTypeTrans = 0x6558 // Ethernet inside GRE
)

// An Ethernet II header (IEEE 802.3 clause 3):
//
//	 0                   6                   12        14
//	+-------------------+-------------------+---------+--
//	| destination MAC   | source MAC        |EtherType| payload
//	+-------------------+-------------------+---------+--
const (
	ethDst  = 0
	ethSrc  = 6
	ethType = 12

	// EthernetLen is the bytes of an Ethernet header without a tag.
	EthernetLen = 14
)

// Ethernet views a frame. Call Valid before any other method.
type Ethernet []byte

// EthernetFields are the values of an Ethernet header to encode.
type EthernetFields struct {
	Dst, Src  MAC
	EtherType uint16
}

// Valid reports whether the header is complete.
func (h Ethernet) Valid() bool { return len(h) >= EthernetLen }

// Dst returns the destination MAC.
func (h Ethernet) Dst() MAC { return MAC(h[ethDst:ethSrc]) }

// Src returns the source MAC.
func (h Ethernet) Src() MAC { return MAC(h[ethSrc:ethType]) }

// EtherType returns the EtherType, or 802.3's length when below 0x600.
func (h Ethernet) EtherType() uint16 { return binary.BigEndian.Uint16(h[ethType:]) }

// SetDst writes the destination MAC.
func (h Ethernet) SetDst(m MAC) { copy(h[ethDst:ethSrc], m[:]) }

// SetSrc writes the source MAC.
func (h Ethernet) SetSrc(m MAC) { copy(h[ethSrc:ethType], m[:]) }

// SetMACs writes destination and source MAC, already in this order in pair: two
// stores for a forwarder that keeps them so.
func (h Ethernet) SetMACs(pair *[12]byte) { *(*[12]byte)(h) = *pair }

// SwapMACs turns the frame around: for replies in place.
func (h Ethernet) SwapMACs() {
	dst := h.Dst()
	h.SetDst(h.Src())
	h.SetSrc(dst)
}

// SetEtherType writes the EtherType.
func (h Ethernet) SetEtherType(t uint16) { binary.BigEndian.PutUint16(h[ethType:], t) }

// Payload returns what follows the header.
func (h Ethernet) Payload() []byte { return h[EthernetLen:] }

// Encode writes all of f; h holds at least EthernetLen bytes.
func (h Ethernet) Encode(f *EthernetFields) {
	h.SetDst(f.Dst)
	h.SetSrc(f.Src)
	h.SetEtherType(f.EtherType)
}
