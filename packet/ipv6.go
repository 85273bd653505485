package packet

import (
	"encoding/binary"
	"net/netip"
)

// An IPv6 header (RFC 8200 section 3):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|Version| Traffic Class |           Flow Label                  |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|         Payload Length        |  Next Header  |   Hop Limit   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                   Source Address (16 bytes)                   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                Destination Address (16 bytes)                 |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	ipv6VersionClassFlow = 0
	ipv6PayloadLen       = 4
	ipv6NextHeader       = 6
	ipv6HopLimit         = 7
	ipv6Src              = 8
	ipv6Dst              = 24

	// IPv6Len is the bytes of an IPv6 header without extension headers.
	IPv6Len = 40

	ipv6FlowMask = 0xfffff
)

// IPv6 views an IPv6 packet. Call Valid before any other method.
type IPv6 []byte

// IPv6Fields are the values of a header to encode. Addresses are wire words.
type IPv6Fields struct {
	TrafficClass, NextHeader, HopLimit uint8
	FlowLabel                          uint32 // 20 bits
	PayloadLen                         uint16 // header not included
	Src, Dst                           [2]uint64
}

// Valid reports whether the header is complete and its payload fits the bytes
// there are.
func (h IPv6) Valid() bool {
	return len(h) >= IPv6Len && h[0]>>4 == 6 && IPv6Len+int(h.PayloadLen()) <= len(h)
}

// TrafficClass returns DSCP and ECN.
func (h IPv6) TrafficClass() uint8 { return h[0]<<4 | h[1]>>4 }

// FlowLabel returns the 20-bit flow label.
func (h IPv6) FlowLabel() uint32 { return binary.BigEndian.Uint32(h) & ipv6FlowMask }

// PayloadLen returns the bytes after this header, extension headers included.
func (h IPv6) PayloadLen() uint16 { return binary.BigEndian.Uint16(h[ipv6PayloadLen:]) }

// NextHeader returns the protocol of what follows: an extension header or L4.
func (h IPv6) NextHeader() uint8 { return h[ipv6NextHeader] }

// HopLimit returns the hop limit.
func (h IPv6) HopLimit() uint8 { return h[ipv6HopLimit] }

// SrcWire returns the source address as wire words.
func (h IPv6) SrcWire() [2]uint64 { return wire128(h[ipv6Src:ipv6Dst]) }

// DstWire returns the destination address as wire words.
func (h IPv6) DstWire() [2]uint64 { return wire128(h[ipv6Dst:IPv6Len]) }

// Src returns the source address.
func (h IPv6) Src() netip.Addr { return netip.AddrFrom16([16]byte(h[ipv6Src:])) }

// Dst returns the destination address.
func (h IPv6) Dst() netip.Addr { return netip.AddrFrom16([16]byte(h[ipv6Dst:])) }

// Payload returns what follows the header, extension headers included.
func (h IPv6) Payload() []byte { return h[IPv6Len : IPv6Len+int(h.PayloadLen())] }

// SetTrafficClass writes DSCP and ECN.
func (h IPv6) SetTrafficClass(v uint8) {
	h[0] = h[0]&0xf0 | v>>4
	h[1] = h[1]&0x0f | v<<4
}

// SetFlowLabel writes the low 20 bits of v.
func (h IPv6) SetFlowLabel(v uint32) {
	w := binary.BigEndian.Uint32(h)&^ipv6FlowMask | v&ipv6FlowMask
	binary.BigEndian.PutUint32(h, w)
}

// SetPayloadLen writes the bytes after this header.
func (h IPv6) SetPayloadLen(v uint16) { binary.BigEndian.PutUint16(h[ipv6PayloadLen:], v) }

// SetNextHeader writes the protocol of what follows.
func (h IPv6) SetNextHeader(v uint8) { h[ipv6NextHeader] = v }

// SetHopLimit writes the hop limit.
func (h IPv6) SetHopLimit(v uint8) { h[ipv6HopLimit] = v }

// SetSrcWire writes the source address from wire words.
func (h IPv6) SetSrcWire(v [2]uint64) { putWire128(h[ipv6Src:ipv6Dst], v) }

// SetDstWire writes the destination address from wire words.
func (h IPv6) SetDstWire(v [2]uint64) { putWire128(h[ipv6Dst:IPv6Len], v) }

// DecHopLimit lowers the hop limit by one; it must not be 0. No checksum covers it.
func (h IPv6) DecHopLimit() { h[ipv6HopLimit]-- }

// Encode writes all of f; h holds at least IPv6Len bytes.
func (h IPv6) Encode(f *IPv6Fields) {
	w := 6<<28 | uint32(f.TrafficClass)<<20 | f.FlowLabel&ipv6FlowMask
	binary.BigEndian.PutUint32(h[ipv6VersionClassFlow:], w)
	h.SetPayloadLen(f.PayloadLen)
	h.SetNextHeader(f.NextHeader)
	h.SetHopLimit(f.HopLimit)
	h.SetSrcWire(f.Src)
	h.SetDstWire(f.Dst)
}

func wire128(b []byte) [2]uint64 {
	_ = b[15]
	return [2]uint64{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func putWire128(b []byte, v [2]uint64) {
	_ = b[15]
	binary.LittleEndian.PutUint64(b, v[0])
	binary.LittleEndian.PutUint64(b[8:], v[1])
}
