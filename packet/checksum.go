package packet

import (
	"encoding/binary"
	"math/bits"
)

// Checksum is an Internet checksum as the wire has it: a little-endian load of
// its two bytes. All sums here are over little-endian loads too. That is sound
// because the sum of byte-swapped words is the byte-swapped sum (RFC 1071
// section 2B), and it keeps every swap off the hot path.
type Checksum uint16

// Sum adds b to initial as one's complement 16-bit words and returns a partial
// sum below 1<<17 for another Sum or for [Fold]. An odd last byte is padded with
// zero, so only the last piece of a message may have an odd length.
func Sum(b []byte, initial uint32) uint32 {
	s, carry := uint64(initial), uint64(0)
	for len(b) >= 32 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[0:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[8:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[16:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	s, carry = bits.Add64(s, tail(b), carry)
	s = s>>32 + s&0xffffffff + carry
	s = s>>16 + s&0xffff
	return uint32(s>>16 + s&0xffff)
}

// tail is the little-endian load of fewer than 8 bytes.
func tail(b []byte) (v uint64) {
	shift := 0
	if len(b) >= 4 {
		v, shift, b = uint64(binary.LittleEndian.Uint32(b)), 32, b[4:]
	}
	if len(b) >= 2 {
		v |= uint64(binary.LittleEndian.Uint16(b)) << shift
		shift, b = shift+16, b[2:]
	}
	if len(b) == 1 {
		v |= uint64(b[0]) << shift
	}
	return v
}

// Fold ends a sum: the checksum is the complement of the sum folded to 16 bits.
// Folding the sum of a message that contains its own checksum gives 0 iff the
// checksum is right.
func Fold(sum uint32) Checksum {
	sum = sum>>16 + sum&0xffff
	return ^Checksum(sum>>16 + sum)
}

// FoldUDP is Fold for UDP, where a checksum of 0 says there is none: a computed
// 0 is sent as 0xffff (RFC 768, RFC 8200 section 8.1).
func FoldUDP(sum uint32) Checksum {
	if c := Fold(sum); c != 0 {
		return c
	}
	return 0xffff
}

// PseudoV4 returns the partial sum of the TCP and UDP pseudo header (RFC 9293
// section 3.1). addr is [Parsed].Addr[0]: source | destination<<32; length is
// the L4 header and payload in bytes.
func PseudoV4(addr uint64, proto uint8, length int) uint32 {
	s := addr>>32 + addr&0xffffffff + uint64(proto)<<8 + uint64(swap16(uint16(length)))
	s = s>>16 + s&0xffff
	return uint32(s>>16 + s&0xffff)
}

// PseudoV6 returns the partial sum of the IPv6 pseudo header (RFC 8200 section
// 8.1). addr is [Parsed].Addr; length is the L4 header and payload in bytes.
func PseudoV6(addr *[4]uint64, proto uint8, length int) uint32 {
	s, carry := bits.Add64(addr[0], addr[1], 0)
	s, carry = bits.Add64(s, addr[2], carry)
	s, carry = bits.Add64(s, addr[3], carry)
	s, carry = bits.Add64(s, uint64(proto)<<8, carry)
	s, carry = bits.Add64(s, uint64(bits.ReverseBytes32(uint32(length))), carry)
	s = s>>32 + s&0xffffffff + carry
	s = s>>16 + s&0xffff
	return uint32(s>>16 + s&0xffff)
}

// PseudoSum returns the pseudo header's partial sum of p's packet with length
// bytes of L4, and p.Proto.
func (p *Parsed) PseudoSum(length int) uint32 {
	if p.V6() {
		return PseudoV6(&p.Addr, p.Proto, length)
	}
	return PseudoV4(p.Addr[0], p.Proto, length)
}
