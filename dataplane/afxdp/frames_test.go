package afxdp

import (
	"encoding/binary"
	"net/netip"
)

type addr = netip.Addr

var (
	testVIP    = netip.MustParseAddr("10.9.9.9")
	testClient = netip.MustParseAddr("10.1.1.1")
)

// The builders below make just enough of a frame for the steering program:
// lengths are right, checksums are 0 but for IPv4 headers.

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func ether(dst, src [6]byte, typ uint16) []byte {
	return binary.BigEndian.AppendUint16(join(dst[:], src[:]), typ)
}

func vlan(tci, typ uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tci), typ)
}

// ipOpts is what a test varies of an IP header.
type ipOpts struct {
	frag    uint16 // IPv4: flags and offset
	options int    // IPv4: words of options
}

func ip4(src, dst netip.Addr, proto uint8, payload []byte, o ipOpts) []byte {
	h := make([]byte, 20+4*o.options)
	h[0] = 0x40 | byte(len(h)/4)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(payload)))
	binary.BigEndian.PutUint16(h[6:], o.frag)
	h[8], h[9] = 64, proto
	copy(h[12:16], src.AsSlice())
	copy(h[16:20], dst.AsSlice())
	for i := range 4 * o.options {
		h[20+i] = 1 // no-op
	}
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return append(h, payload...)
}

func ip6(src, dst netip.Addr, next uint8, payload []byte) []byte {
	h := make([]byte, 40)
	h[0] = 0x60
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	h[6], h[7] = next, 64
	copy(h[8:24], src.AsSlice())
	copy(h[24:40], dst.AsSlice())
	return append(h, payload...)
}

// ext is an IPv6 extension header of 8*(n+1) bytes.
func ext(next uint8, n int) []byte {
	h := make([]byte, 8*(n+1))
	h[0], h[1] = next, byte(n)
	return h
}

// frag6 is an IPv6 fragment header; offset in 8-byte units.
func frag6(next uint8, offset uint16, more bool) []byte {
	v := offset << 3
	if more {
		v |= 1
	}
	return []byte{next, 0, byte(v >> 8), byte(v), 0, 0, 0, 7}
}

func l4(src, dst uint16, payload string) []byte {
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h, src)
	binary.BigEndian.PutUint16(h[2:], dst)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
	return append(h, payload...)
}

func icmp(typ, code uint8, rest []byte) []byte {
	return append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, rest...)
}

func arp(op uint16, sender, target netip.Addr) []byte {
	h := []byte{0, 1, 8, 0, 6, 4, byte(op >> 8), byte(op)}
	h = append(append(h, 2, 0, 0, 0, 0, 1), sender.AsSlice()...)
	return append(append(h, 0, 0, 0, 0, 0, 0), target.AsSlice()...)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// udpFrame is a UDP datagram to the near end of a wire.
func (w *wire) udpFrame(dst netip.Addr, sport, dport uint16, text string) []byte {
	return join(ether(w.nearMAC, [6]byte{2, 0, 0, 0, 0, 9}, 0x0800),
		ip4(testClient, dst, 17, l4(sport, dport, text), ipOpts{}))
}
