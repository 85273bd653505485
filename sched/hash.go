package sched

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// fold makes 32 bits of an address in a Tuple's form: the address itself in host
// order for IPv4, the exclusive or of its four words for IPv6.
func fold(a *[16]byte) uint32 {
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	if hi == 0 && lo>>32 == 0xffff {
		return uint32(lo)
	}
	x := hi ^ lo
	return uint32(x>>32) ^ uint32(x)
}

// foldAddr is fold for a configured address.
func foldAddr(a netip.Addr) uint32 {
	b := a.As16()
	return fold(&b)
}

// hash32 is the kernel's multiplicative hash (linux/hash.h): the top n bits of v
// times 2^32 over the golden ratio.
func hash32(v uint32, n uint) uint32 { return v * 0x61C88647 >> (32 - n) }

// sipHash13 is SipHash with 1 compression and 3 finalisation rounds of the
// four little-endian bytes of v, under the key k, k (https://131002.net/siphash),
// and of it the low 32 bits: the kernel's hsiphash_1u32 on 64-bit machines.
func sipHash13(v uint32, k uint64) uint32 {
	const length = 4 << 56
	block := uint64(v) | length
	s := sipState{0x736f6d6570736575 ^ k, 0x646f72616e646f6d ^ k, 0x6c7967656e657261 ^ k, 0x7465646279746573 ^ k}
	s.d ^= block
	s = s.mix()
	s.a ^= block
	s.c ^= 0xff
	s = s.mix().mix().mix()
	return uint32(s.a ^ s.b ^ s.c ^ s.d)
}

// sipState is v0 to v3 of the SipHash paper.
type sipState struct{ a, b, c, d uint64 }

// mix is one SipRound.
func (s sipState) mix() sipState {
	s.a += s.b
	s.c += s.d
	s.b = bits.RotateLeft64(s.b, 13) ^ s.a
	s.d = bits.RotateLeft64(s.d, 16) ^ s.c
	s.a = bits.RotateLeft64(s.a, 32)
	s.c += s.b
	s.a += s.d
	s.b = bits.RotateLeft64(s.b, 17) ^ s.c
	s.d = bits.RotateLeft64(s.d, 21) ^ s.a
	s.c = bits.RotateLeft64(s.c, 32)
	return s
}
