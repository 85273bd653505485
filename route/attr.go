package route

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Netlink is in the host's byte order, which on every machine ulvs runs on (amd64,
// arm64) is little endian.
var order = binary.LittleEndian

const attrTypeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER

// attrs walks route attributes (linux/rtnetlink.h: length, type, value, padded to
// 4 bytes) and stops at the first that does not fit.
//
//	+--------+--------+----------------+
//	| len 16 | type 16| value  len - 4 |   len counts itself
//	+--------+--------+----------------+
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			n := int(order.Uint16(b))
			if n < unix.SizeofRtAttr || n > len(b) {
				return
			}
			if !yield(order.Uint16(b[2:])&attrTypeMask, b[unix.SizeofRtAttr:n]) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// attr returns the last attribute of that type.
func attr(b []byte, typ uint16) (found []byte) {
	for t, v := range attrs(b) {
		if t == typ {
			found = v
		}
	}
	return found
}

func align(n int) int { return (n + 3) &^ 3 }

// u32 reads an attribute's number; 0 if it is too short.
func u32(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return int(order.Uint32(b))
}

func u8(b []byte) uint8 {
	if len(b) < 1 {
		return 0
	}
	return b[0]
}

func u16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return order.Uint16(b)
}

// ip reads an address of 4 or 16 bytes; invalid otherwise. IPv4-mapped IPv6 is not
// unmapped: the kernel means what it says.
func ip(b []byte) netip.Addr {
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

func mac(b []byte) (m [6]byte) {
	if len(b) == len(m) {
		copy(m[:], b)
	}
	return m
}
