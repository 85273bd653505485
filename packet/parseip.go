package packet

import "encoding/binary"

// parseIPv4 fills p from b, which starts with an IPv4 header; p.L3Off is set.
func parseIPv4(b []byte, p *Parsed) Error {
	if len(b) < IPv4Len {
		return ErrIPShort
	}
	h := IPv4(b)
	if h[ipv4VersionIHL]>>4 != 4 {
		return ErrIPVersion
	}
	n, total := h.HeaderLen(), int(h.TotalLen())
	switch {
	case n < IPv4Len || n > len(h):
		return ErrIPHeaderLength
	case total < n || total > len(h):
		return ErrIPTotalLength
	case !h.ChecksumOK():
		return ErrIPChecksum
	}
	loadIPv4(h, p)
	if martianV4(h.SrcWire(), h.DstWire()) {
		return ErrMartian
	}
	if p.Flags&FlagFragment != 0 && badFragment(p, total-n, h.MF()) {
		return ErrFragmentBad
	}
	return parseL4(h[n:total], p)
}

// loadIPv4 copies the header's fields; its lengths up to the L4 header are checked.
func loadIPv4(h IPv4, p *Parsed) {
	p.Addr[0] = h.AddrWire()
	p.Proto, p.TTL, p.TOS = h.Proto(), h.TTL(), h.TOS()
	p.TotalLen = h.TotalLen()
	p.L4Off = p.L3Off + uint16(h.HeaderLen())
	if h.DF() {
		p.Flags |= FlagDF
	}
	if h.HeaderLen() > IPv4Len {
		p.Flags |= FlagOptions
	}
	if h.MF() || h.FragOff() > 0 {
		setFragment(p, h.FragOff(), uint32(h.ID()))
	}
}

// martianV4 is what the kernel's ip_route_input_slow (net/ipv4/route.c) refuses
// on any interface but lo. A zero source may only ask everybody (DHCP, IGMP).
func martianV4(src, dst uint32) bool {
	s, d := uint8(src), uint8(dst)
	toGroup := d>>4 == 14 || dst == ^uint32(0)
	return s>>4 == 14 || s == 127 || src == ^uint32(0) || src == 0 && !toGroup || dst == 0 || d == 127
}

// parseIPv6 fills p from b, which starts with an IPv6 header; p.L3Off is set.
func parseIPv6(b []byte, p *Parsed) Error {
	if len(b) < IPv6Len {
		return ErrIPShort
	}
	h := IPv6(b)
	if h[0]>>4 != 6 {
		return ErrIPVersion
	}
	length := int(h.PayloadLen())
	switch {
	case length == 0 && h.NextHeader() == ProtoHopByHop:
		return ErrIPJumbo
	case IPv6Len+length > len(h) || IPv6Len+length > 0xffff:
		return ErrIPTotalLength
	}
	loadIPv6(h, p)
	if martianV6(p) {
		return ErrMartian
	}
	payload := h[IPv6Len : IPv6Len+length]
	if isWalked(p.Proto) {
		return parseExtended(payload, p)
	}
	return parseL4(payload, p)
}

// loadIPv6 copies the header's fields, as if there were no extension headers.
func loadIPv6(h IPv6, p *Parsed) {
	src, dst := h.SrcWire(), h.DstWire()
	p.Addr = [4]uint64{src[0], src[1], dst[0], dst[1]}
	p.Flags |= FlagV6
	p.Proto, p.TTL, p.TOS = h.NextHeader(), h.HopLimit(), h.TrafficClass()
	p.TotalLen = IPv6Len + h.PayloadLen()
	p.L4Off = p.L3Off + IPv6Len
}

// martianV6 is what the kernel's ip6_rcv_core (net/ipv6/ip6_input.c) refuses on
// any interface but lo, and IPv4-mapped destinations, which a [Tuple] could not
// tell from IPv4. A source without an address yet may only use ICMPv6.
func martianV6(p *Parsed) bool {
	src, dst := [2]uint64{p.Addr[0], p.Addr[1]}, [2]uint64{p.Addr[2], p.Addr[3]}
	if uint8(src[0]) == 0xff || neverOnWire(src) || neverOnWire(dst) || dst == [2]uint64{} {
		return true
	}
	return nobodyV6(p) && !isWalked(p.Proto)
}

// neverOnWire reports ::1 and ::ffff:0:0/96; words are little-endian loads.
func neverOnWire(a [2]uint64) bool {
	return a[0] == 0 && (a[1] == 1<<56 || uint32(a[1]) == 0xffff0000)
}

// nobodyV6 reports an unspecified source of something that is not ICMPv6.
func nobodyV6(p *Parsed) bool { return p.Addr[0]|p.Addr[1] == 0 && p.Proto != ProtoICMPv6 }

// parseExtended is the rest of parseIPv6 for a payload with extension headers.
func parseExtended(payload []byte, p *Parsed) Error {
	x, err := WalkExtensions(payload, p.Proto)
	if err != ErrNone {
		return err
	}
	loadExtensions(&x, p)
	if nobodyV6(p) {
		return ErrMartian
	}
	if x.Fragment && badFragment(p, len(payload)-x.Len, x.More) {
		return ErrFragmentBad
	}
	return parseL4(payload[x.Len:], p)
}

func loadExtensions(x *Extensions, p *Parsed) {
	p.Flags |= FlagOptions
	p.Proto = x.Proto
	p.L4Off += uint16(x.Len)
	if x.Fragment {
		setFragment(p, x.FragOff, x.FragID)
	}
	if x.Atomic > 0 {
		p.Flags |= FlagAtomic
	}
}

func setFragment(p *Parsed, off uint16, id uint32) {
	p.Flags |= FlagFragment
	p.FragOff, p.FragID = off, id
	if off > 0 {
		p.Flags |= FlagLaterFrag
	}
}

// badFragment reports a fragment of n payload bytes that no honest sender makes: it
// ends beyond what a packet can hold, or it is empty, or it is IPv6, more follow and it
// is not whole 8-byte units; of IPv4's the kernel takes the whole ones. One that splits
// the L4 header (RFC 1858) is none: the datagram is put together before anybody looks
// into it.
func badFragment(p *Parsed, n int, more bool) bool {
	if n == 0 || int(p.FragOff)+int(p.TotalLen) > 0xffff && !p.V6() || int(p.FragOff)+n > 0xffff {
		return true
	}
	return p.V6() && more && n%8 != 0
}

// minL4 returns the bytes of L4 header that p's protocol must have; 0 for protocols
// that are not looked into.
func minL4(p *Parsed) int {
	switch {
	case p.Proto == ProtoTCP:
		return TCPLen
	case p.Proto == ProtoUDP:
		return UDPLen
	case p.Proto == ProtoSCTP:
		return SCTPLen
	case isICMP(p):
		return ICMPLen
	}
	return 0
}

// isICMP reports ICMP over IPv4 or ICMPv6 over IPv6; crossed, they are KindOther.
func isICMP(p *Parsed) bool {
	if p.V6() {
		return p.Proto == ProtoICMPv6
	}
	return p.Proto == ProtoICMP
}

// parseL4 ends a Parse: b is the IP payload after all extension headers. A first
// fragment that has not the whole L4 header is like a later one: of no flow yet.
func parseL4(b []byte, p *Parsed) Error {
	p.L4 = uint64(p.Proto) << 32
	switch short := len(b) < minL4(p); {
	case p.Flags&FlagLaterFrag != 0, short && p.Flags&FlagFragment != 0:
		p.Kind = KindOther
	case short:
		return ErrL4Short
	default:
		p.Kind = loadL4(b, p)
	}
	return ErrNone
}

// loadL4 reads ports and TCP flags, as many as b has, and returns the Kind. b has
// at least 8 bytes if the protocol has ports.
func loadL4(b []byte, p *Parsed) Kind {
	switch p.Proto {
	case ProtoTCP, ProtoUDP, ProtoSCTP:
		p.L4 |= uint64(binary.LittleEndian.Uint32(b))
		if p.Proto == ProtoTCP && len(b) > tcpFlags {
			p.TCPFlags = b[tcpFlags]
		}
		return KindFlow
	}
	if isICMP(p) {
		return KindICMP
	}
	return KindOther
}
