package packet

import (
	"encoding/binary"
	"net/netip"
)

// pkt builds a test frame piece by piece; what lies (lengths, checksums) is set
// afterwards with edit.
type pkt struct {
	vlan    []uint16 // TCIs, outermost first
	v6      bool
	src     netip.Addr
	dst     netip.Addr
	proto   uint8
	ttl     uint8
	tos     uint8
	id      uint16
	df, mf  bool
	fragOff uint16
	opts    []byte // IPv4 options or IPv6 extension headers, the first of protocol first
	first   uint8  // IPv6 next header when opts are there
	l4      []byte
}

func base4() pkt {
	return pkt{src: netip.MustParseAddr("192.0.2.1"), dst: netip.MustParseAddr("198.18.0.100"), ttl: 64, id: 7}
}

func base6() pkt {
	return pkt{v6: true, src: netip.MustParseAddr("2001:db8::1"), dst: netip.MustParseAddr("2001:db8:c::100"), ttl: 64}
}

func (k pkt) tcp() pkt {
	k.proto, k.l4 = ProtoTCP, make([]byte, TCPLen)
	TCP(k.l4).Encode(&TCPFields{SrcPort: 40000, DstPort: 80, Seq: 1, Flags: TCPSyn, Window: 1000})
	return k
}

func (k pkt) udp() pkt {
	k.proto, k.l4 = ProtoUDP, make([]byte, UDPLen+4)
	UDP(k.l4).Encode(&UDPFields{SrcPort: 5353, DstPort: 53, Length: UDPLen + 4})
	return k
}

func (k pkt) sctp() pkt {
	k = k.udp()
	k.proto = ProtoSCTP
	return k
}

func (k pkt) icmp(typ uint8) pkt {
	k.proto, k.l4 = ProtoICMP, make([]byte, ICMPLen)
	if k.v6 {
		k.proto = ProtoICMPv6
	}
	ICMP(k.l4).Encode(&ICMPFields{Type: typ, Rest: 0x00010002})
	return k
}

func tcp4() pkt           { return base4().tcp() }
func udp4() pkt           { return base4().udp() }
func icmp4(typ uint8) pkt { return base4().icmp(typ) }
func tcp6() pkt           { return base6().tcp() }
func udp6() pkt           { return base6().udp() }
func icmp6(typ uint8) pkt { return base6().icmp(typ) }

func (k pkt) tagged(tci uint16) pkt     { k.vlan = append([]uint16{tci}, k.vlan...); return k }
func (k pkt) options(b ...byte) pkt     { k.opts = b; return k }
func (k pkt) from(a string) pkt         { k.src = netip.MustParseAddr(a); return k }
func (k pkt) to(a string) pkt           { k.dst = netip.MustParseAddr(a); return k }
func (k pkt) withTTL(v uint8) pkt       { k.ttl = v; return k }
func (k pkt) payload(b ...byte) pkt     { k.l4 = b; return k }
func (k pkt) protocol(v uint8) pkt      { k.proto = v; return k }
func (k pkt) dontFragment() pkt         { k.df = true; return k }
func (k pkt) ports(s, d uint16) pkt     { return k.edit4(s, d) }
func (k pkt) frag(o uint16, m bool) pkt { k.fragOff, k.mf = o, m; return k }

func (k pkt) edit4(s, d uint16) pkt {
	k.l4 = append([]byte(nil), k.l4...)
	binary.BigEndian.PutUint16(k.l4, s)
	binary.BigEndian.PutUint16(k.l4[2:], d)
	return k
}

// ext puts an IPv6 extension header behind those already there. body counts
// from its third byte.
func (k pkt) ext(proto uint8, body ...byte) pkt {
	h := append([]byte{ProtoNoNext, uint8((len(body)+2)/8 - 1)}, body...)
	if len(k.opts) == 0 {
		k.first = proto
	} else {
		k.opts = append([]byte(nil), k.opts...)
		k.opts[k.lastExt()] = proto
	}
	k.opts = append(k.opts, h...)
	k.opts[k.lastExt()] = k.proto
	return k
}

// lastExt returns the offset of the last extension header.
func (k pkt) lastExt() (last int) {
	for at, proto := 0, k.first; at < len(k.opts); {
		h := ExtHeader(k.opts[at:])
		last = at
		at += h.Len(proto)
		proto = h.NextHeader()
	}
	return last
}

// frag6 puts a fragment header behind the extension headers.
func (k pkt) frag6(off uint16, more bool) pkt {
	h := make([]byte, FragmentLen)
	IPv6Fragment(h).Encode(&IPv6FragmentFields{Off: off, More: more, ID: 0x01020304})
	return k.ext(ProtoFragment, h[2:]...)
}

// packet returns the IP packet.
func (k pkt) packet() []byte {
	if k.v6 {
		return k.packet6()
	}
	n := IPv4Len + len(k.opts)
	b := append(append(make([]byte, IPv4Len), k.opts...), k.l4...)
	h := IPv4(b)
	h.Encode(&IPv4Fields{TOS: k.tos, TTL: k.ttl, Proto: k.proto, DF: k.df, ID: k.id, TotalLen: uint16(len(b)),
		Src: WireV4(k.src), Dst: WireV4(k.dst)})
	h[0] = 0x40 | byte(n/4)
	h.SetFragment(k.fragOff, k.mf)
	if h.HeaderLen() <= len(h) {
		h.UpdateChecksum()
	}
	return b
}

func (k pkt) packet6() []byte {
	first := k.proto
	if len(k.opts) > 0 {
		first = k.first
	}
	b := append(append(make([]byte, IPv6Len), k.opts...), k.l4...)
	IPv6(b).Encode(&IPv6Fields{TrafficClass: k.tos, NextHeader: first, HopLimit: k.ttl,
		PayloadLen: uint16(len(b) - IPv6Len), Src: WireV6(k.src), Dst: WireV6(k.dst)})
	return b
}

// frame returns the packet in an Ethernet frame with all its tags.
func (k pkt) frame() []byte {
	b := make([]byte, EthernetLen)
	last := uint16(EtherTypeIPv4)
	if k.v6 {
		last = EtherTypeIPv6
	}
	Ethernet(b).Encode(&EthernetFields{Dst: MAC{2, 0, 0, 0, 1, 1}, Src: MAC{2, 0, 0, 0, 0, 1}, EtherType: last})
	for range k.vlan {
		b = append(b, 0, 0, 0, 0)
	}
	for i, tci := range k.vlan {
		binary.BigEndian.PutUint16(b[ethType+4*i:], EtherTypeVLAN)
		binary.BigEndian.PutUint16(b[ethType+4*i+2:], tci)
	}
	binary.BigEndian.PutUint16(b[len(b)-2:], last)
	return append(b, k.packet()...)
}

// arpFrame is a request for the VIP.
func arpFrame() []byte {
	b := make([]byte, EthernetLen+ARPLen)
	Ethernet(b).Encode(&EthernetFields{Dst: BroadcastMAC(), Src: MAC{2, 0, 0, 0, 0, 1}, EtherType: EtherTypeARP})
	ARP(b[EthernetLen:]).Encode(&ARPFields{Op: ARPRequest, SenderMAC: MAC{2, 0, 0, 0, 0, 1},
		SenderIP: WireV4(netip.MustParseAddr("192.0.2.1")), TargetIP: WireV4(netip.MustParseAddr("198.18.0.100"))})
	return b
}

// edit returns a copy of b with bytes from off on replaced.
func edit(b []byte, off int, with ...byte) []byte {
	b = append([]byte(nil), b...)
	copy(b[off:], with)
	return b
}

// resum returns a copy of an untagged IPv4 frame with its header checksum right again.
func resum(b []byte) []byte {
	b = append([]byte(nil), b...)
	IPv4(b[EthernetLen:]).UpdateChecksum()
	return b
}
