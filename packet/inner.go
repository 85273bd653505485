package packet

// innerL4Len is how much of a packet's L4 header an ICMP error must quote for us: the ports. RFC 792 asks for 8
// bytes, and the kernel takes 4.
const innerL4Len = 4

// ParseInner overwrites p with what the packet is that an ICMP or ICMPv6 error
// quotes: b is the error's payload and starts with an IP header, so p.L3Off is
// 0. The quote may be cut, and it is of a packet that was already under way, so
// the only demands are an IP header and as much of an L4 header with ports as they
// need. What a later fragment of IPv4 begins with is taken for that, as the kernel
// does; one of IPv6 has none. Lengths beyond the quote,
// checksums, TTL, addresses and ports are not judged; TCPFlags is 0 unless the
// quote reaches them.
//
// On any Error p.Kind is KindNone and the rest of p is undefined.
func ParseInner(b []byte, p *Parsed) Error {
	*p = Parsed{}
	if len(b) == 0 {
		return ErrIPShort
	}
	switch b[0] >> 4 {
	case 4:
		return innerIPv4(b, p)
	case 6:
		return innerIPv6(b, p)
	}
	return ErrIPVersion
}

func innerIPv4(b []byte, p *Parsed) Error {
	if len(b) < IPv4Len {
		return ErrIPShort
	}
	h := IPv4(b)
	n := h.HeaderLen()
	if n < IPv4Len || n > len(h) {
		return ErrIPHeaderLength
	}
	loadIPv4(h, p)
	return innerL4(h[n:], p)
}

func innerIPv6(b []byte, p *Parsed) Error {
	if len(b) < IPv6Len {
		return ErrIPShort
	}
	h := IPv6(b)
	if h.PayloadLen() > 0xffff-IPv6Len {
		return ErrIPTotalLength // TotalLen could not hold it, nor any queue the packet
	}
	loadIPv6(h, p)
	payload := h[IPv6Len:]
	if !isWalked(p.Proto) {
		return innerL4(payload, p)
	}
	x, err := WalkExtensions(payload, p.Proto)
	if err != ErrNone {
		return err
	}
	loadExtensions(&x, p)
	return innerL4(payload[x.Len:], p)
}

// innerL4 is parseL4 without judgement.
func innerL4(b []byte, p *Parsed) Error {
	p.L4 = uint64(p.Proto) << 32
	p.Kind = KindOther
	if p.Flags&FlagLaterFrag != 0 && p.V6() {
		return ErrNone
	}
	if minL4(p) > 0 && len(b) < innerL4Len {
		p.Kind = KindNone
		return ErrL4Short
	}
	p.Kind = loadL4(b, p)
	return ErrNone
}
