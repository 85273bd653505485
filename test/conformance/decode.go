package conformance

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Describe says what an Ethernet frame is, in one line for humans, in the manner of the recordings' desc.
// It is independent of package packet, whose work it shows.
func Describe(b []byte) string {
	if len(b) < 14 {
		return fmt.Sprintf("short %d", len(b))
	}
	kind, tag, rest := be16(b[12:]), "", b[14:]
	if kind == 0x8100 && len(rest) >= 4 {
		tag, kind, rest = fmt.Sprintf(" vlan %d", be16(rest)&0xfff), be16(rest[2:]), rest[4:]
	}
	to := fmt.Sprintf("to %02x:%02x%s ", b[4], b[5], tag)
	switch {
	case kind == 0x0800 || kind == 0x86dd:
		return to + describeIP(rest, 0)
	case kind == 0x0806 && len(rest) >= 28:
		return to + fmt.Sprintf("ARP op %d %v tells %v", be16(rest[6:]), ip4(rest[24:]), ip4(rest[14:]))
	}
	return to + fmt.Sprintf("type %04x len %d", kind, len(rest))
}

// maxNesting bounds how deep packets in packets are described.
const maxNesting = 4

func describeIP(b []byte, depth int) string {
	if len(b) == 0 || depth > maxNesting {
		return fmt.Sprintf("... %d bytes", len(b))
	}
	switch b[0] >> 4 {
	case 4:
		return describeV4(b, depth)
	case 6:
		return describeV6(b, depth)
	}
	return fmt.Sprintf("IP version %d len %d", b[0]>>4, len(b))
}

func describeV4(b []byte, depth int) string {
	if len(b) < 20 || int(b[0]&15)*4 > len(b) || b[0]&15 < 5 {
		return fmt.Sprintf("short IPv4 %d", len(b))
	}
	header, frag := int(b[0]&15)*4, be16(b[6:])
	tail := fmt.Sprintf(" ttl=%d tos=%#x id=%d", b[8], b[1], be16(b[4:]))
	if frag&0x4000 != 0 {
		tail += " DF"
	}
	if frag&0x3fff != 0 {
		tail += fmt.Sprintf(" frag=%#x", frag&0x3fff)
	}
	if header > 20 {
		tail += fmt.Sprintf(" options=%x", b[20:header])
	}
	if sum(b[:header]) != 0xffff {
		tail += " BAD-IP-CSUM"
	}
	payload := b[header:]
	if total := int(be16(b[2:])); total >= header && total < len(b) {
		payload = b[header:total]
	} else if total > len(b) {
		tail += fmt.Sprintf(" total=%d", total)
	}
	ends := fmt.Sprintf("%v>%v ", ip4(b[12:]), ip4(b[16:]))
	if frag&0x1fff != 0 {
		return ends + fmt.Sprintf("proto %d fragment len=%d", b[9], len(payload)) + tail
	}
	return ends + describeL4(b[9], payload, depth) + tail
}

func describeV6(b []byte, depth int) string {
	if len(b) < 40 {
		return fmt.Sprintf("short IPv6 %d", len(b))
	}
	word, next, payload := binary.BigEndian.Uint32(b), b[6], b[40:]
	if n := int(be16(b[4:])); n < len(payload) {
		payload = payload[:n]
	}
	tail := fmt.Sprintf(" hlim=%d tc=%#x", b[7], word>>20&0xff)
	if word&0xfffff != 0 {
		tail += fmt.Sprintf(" flow=%#x", word&0xfffff)
	}
	for len(payload) >= 8 && (next == 0 || next == 43 || next == 44 || next == 60) {
		size := 8
		if next != 44 {
			size += int(payload[1]) * 8
		}
		tail += fmt.Sprintf(" ext%d=%x", next, payload[2:8])
		next, payload = payload[0], payload[min(size, len(payload)):]
	}
	src, dst := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	return fmt.Sprintf("%v>%v ", src, dst) + describeL4(next, payload, depth) + tail
}

func describeL4(proto byte, b []byte, depth int) string {
	switch {
	case proto == 6 && len(b) >= 20:
		return describeTCP(b)
	case proto == 17 && len(b) >= 8:
		return describeUDP(b, depth)
	case proto == 1 && len(b) >= 8, proto == 58 && len(b) >= 8:
		return describeICMP(proto, b, depth)
	case proto == 4:
		return "IPIP[" + describeIP(b, depth+1) + "]"
	case proto == 41:
		return "IP6[" + describeIP(b, depth+1) + "]"
	case proto == 47 && len(b) >= 4:
		return describeGRE(b, depth)
	}
	return fmt.Sprintf("proto %d len %d", proto, len(b))
}

func describeTCP(b []byte) string {
	flags := ""
	for i, c := range "FSRPAUEC" {
		if b[13]&(1<<i) != 0 {
			flags += string(c)
		}
	}
	size := int(b[12]>>4) * 4
	return fmt.Sprintf("TCP %d>%d [%s] seq=%d ack=%d len=%d win=%d csum=%#x", be16(b), be16(b[2:]), flags,
		binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), len(b)-size, be16(b[14:]), be16(b[16:]))
}

func describeUDP(b []byte, depth int) string {
	head := fmt.Sprintf("UDP %d>%d len=%d csum=%#x", be16(b), be16(b[2:]), len(b)-8, be16(b[6:]))
	if len(b) >= 32 && b[8]&0xe0 == 0 && (b[9] == 4 || b[9] == 41) { // GUE variant 0, no control message
		body := b[8+4+int(min(b[8]&31, 5))*4:]
		head += fmt.Sprintf(" GUE flags=%#x[%s]", be16(b[10:]), describeIP(body, depth+1))
	}
	return head
}

func describeGRE(b []byte, depth int) string {
	body := b[4:]
	head := fmt.Sprintf("GRE fl=%#x", be16(b))
	if be16(b)&0x8000 != 0 && len(body) >= 4 {
		head += fmt.Sprintf(" csum=%#x", be16(body))
		body = body[4:]
	}
	return head + "[" + describeIP(body, depth+1) + "]"
}

func describeICMP(proto byte, b []byte, depth int) string {
	head := fmt.Sprintf("ICMP%d %d/%d rest=%#x", proto, b[0], b[1], binary.BigEndian.Uint32(b[4:]))
	isError := proto == 1 && strings.ContainsRune("\x03\x04\x05\x0b\x0c", rune(b[0])) || proto == 58 && b[0] < 128
	if isError && len(b) > 8 {
		return head + fmt.Sprintf(" inner %d{%s}", len(b)-8, describeIP(b[8:], depth+1))
	}
	if proto == 1 && sum(b) != 0xffff {
		head += " BAD-CSUM"
	}
	return head + fmt.Sprintf(" len=%d", len(b)-8)
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

func ip4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b[:4])) }

// sum is the one's complement sum of RFC 1071, folded, not inverted: 0xffff over data with its checksum.
func sum(parts ...[]byte) uint16 {
	total := uint64(0)
	for _, b := range parts {
		for ; len(b) >= 2; b = b[2:] {
			total += uint64(be16(b))
		}
		if len(b) == 1 {
			total += uint64(b[0]) << 8
		}
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
