package packet

// Delta gathers what changed in bytes that a checksum covers, so that the
// checksum is corrected without reading the rest of them. The zero Delta is no
// change. It is RFC 1624's equation 3,
//
//	HC' = ~(~HC + ~m + m')
//
// with Delta the sum of ~m + m' over all words that went from m to m'. Equation
// 4 of the same RFC (subtracting) and RFC 1141 can give 0xffff where a
// computation from scratch gives 0; equation 3 cannot. All words are
// little-endian loads, as in [Checksum]; a word may start at any even offset.
//
// A Delta holds at least 2^29 changes before it overflows.
type Delta uint64

// Change16 adds a 16-bit word that went from m to n, such as a port.
func (d Delta) Change16(m, n uint16) Delta { return d + Delta(^m) + Delta(n) }

// Change32 adds two 16-bit words, such as an IPv4 address or both ports.
func (d Delta) Change32(m, n uint32) Delta { return d + Delta(^m) + Delta(n) }

// Change64 adds four 16-bit words, such as both IPv4 addresses.
func (d Delta) Change64(m, n uint64) Delta {
	return d.Change32(uint32(m), uint32(n)).Change32(uint32(m>>32), uint32(n>>32))
}

// Change128 adds an IPv6 address.
func (d Delta) Change128(m, n [2]uint64) Delta {
	return d.Change64(m[0], n[0]).Change64(m[1], n[1])
}

// Apply returns c corrected by d. A wrong c stays wrong by as much.
func (c Checksum) Apply(d Delta) Checksum {
	s := uint64(d) + uint64(^c)
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return ^Checksum(s>>16 + s)
}

// ApplyUDP is Apply for UDP: 0 says the datagram has no checksum and stays 0 (over
// IPv6 that is only legal in tunnels, RFC 6936); a computed 0 becomes 0xffff.
func (c Checksum) ApplyUDP(d Delta) Checksum {
	if c == 0 {
		return 0
	}
	if c = c.Apply(d); c == 0 {
		return 0xffff
	}
	return c
}

// DecTTL lowers h's TTL by one and corrects the header checksum. The TTL must
// not be 0. It is Apply(Change16(ttl, ttl-1)): ~m + m' is 0xfffe whatever m is,
// because the TTL is the low byte of a little-endian word.
func DecTTL(h IPv4) {
	h[ipv4TTL]--
	s := uint32(^h.Checksum()) + 0xfffe
	h.SetChecksum(^Checksum(s>>16 + s))
}
