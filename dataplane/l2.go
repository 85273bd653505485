package dataplane

import (
	"encoding/binary"

	"ulvs/packet"
)

const vlanHeaderLen = packet.EthernetLen + packet.VLANLen

// span is where an IP packet lies in a frame: bytes after the frame's start, and bytes long.
type span struct{ off, len int }

func ipSpan(p *packet.Parsed) span { return span{int(p.L3Off), int(p.TotalLen)} }

// etherType is the EtherType of p's own header.
func etherType(p *packet.Parsed) uint16 {
	if p.V6() {
		return packet.EtherTypeIPv6
	}
	return packet.EtherTypeIPv4
}

// setL2 puts hop's Ethernet header in front of the IP packet at; padding behind it
// goes. It reports false, with the frame unharmed, where the chunk has no room for it.
func setL2(f *packet.Frame, at span, hop *Hop, etherType uint16) bool {
	n := packet.EthernetLen
	if hop.VLAN != 0 {
		n = vlanHeaderLen
	}
	start := int(f.Off) + at.off - n
	if start < 0 || start+n+at.len > len(f.Buf) {
		return false
	}
	b := f.Buf[start : start+n : start+n]
	binary.LittleEndian.PutUint64(b[0:8], hop.dstSrc)
	binary.LittleEndian.PutUint32(b[8:12], hop.src)
	if n == vlanHeaderLen {
		binary.BigEndian.PutUint16(b[12:14], packet.EtherTypeVLAN)
		binary.BigEndian.PutUint16(b[14:16], hop.VLAN)
	}
	binary.BigEndian.PutUint16(b[n-2:n], etherType)
	f.Off, f.Len, f.Port = uint16(start), uint16(n+at.len), hop.Port
	return true
}

// l3 returns the frame's IP packet, header first, after setL2 moved the frame's start.
func l3(f *packet.Frame, p *packet.Parsed) []byte {
	end := int(f.Off) + int(f.Len)
	return f.Buf[end-int(p.TotalLen) : end]
}

// decTTL takes one from the TTL or hop limit; the IPv4 checksum follows.
func decTTL(b []byte, p *packet.Parsed) {
	if p.V6() {
		packet.IPv6(b).DecHopLimit()
		return
	}
	packet.DecTTL(packet.IPv4(b))
}
