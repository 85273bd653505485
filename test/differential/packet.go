package differential

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// IP protocols, ICMP types and TCP flags of the model.
const (
	protoICMP, protoTCP, protoUDP, protoICMP6 = 1, 6, 17, 58
	protoIPIP, protoGRE, protoIP6             = 4, 47, 41
	protoFragment                             = 44

	fin, syn, rst, ack = 1, 2, 4, 16
)

// ip is an IP packet taken apart. It is encoded anew wherever it goes.
type ip struct {
	src, dst netip.Addr
	tos, ttl byte
	id       uint32 // of IPv6 only in fragments
	df, more bool
	offset   int // of a fragment, in bytes
	proto    byte
	flow     uint32 // IPv6's label
	body     []byte
	of       *datagram // it came in fragments; nil: whole
	shift    int       // bytes that were put in front of the body of that one
}

func (p *ip) v6() bool { return p.src.Is6() }

func (p *ip) fragment() bool { return p.more || p.offset > 0 }

// size is the length of the encoded packet.
func (p *ip) size() int {
	switch {
	case !p.v6():
		return 20 + len(p.body)
	case p.fragment():
		return 48 + len(p.body)
	}
	return 40 + len(p.body)
}

func (p *ip) clone() *ip {
	c := *p
	c.body = slices.Clone(p.body)
	return &c
}

// encode returns the packet's bytes, the header's checksum summed up anew.
func (p *ip) encode() []byte {
	if p.v6() {
		return p.encode6()
	}
	b := make([]byte, 20, p.size())
	b[0], b[1], b[8], b[9] = 0x45, p.tos, p.ttl, p.proto
	put16(b[2:], p.size())
	put16(b[4:], int(p.id))
	word := p.offset / 8
	if p.df {
		word |= 0x4000
	}
	if p.more {
		word |= 0x2000
	}
	put16(b[6:], word)
	copy(b[12:], p.src.AsSlice())
	copy(b[16:], p.dst.AsSlice())
	put16(b[10:], checksum(b))
	return append(b, p.body...)
}

func (p *ip) encode6() []byte {
	b := make([]byte, 40, p.size())
	binary.BigEndian.PutUint32(b, 6<<28|uint32(p.tos)<<20|p.flow)
	put16(b[4:], p.size()-40)
	b[6], b[7] = p.proto, p.ttl
	copy(b[8:], p.src.AsSlice())
	copy(b[24:], p.dst.AsSlice())
	if p.fragment() {
		b[6] = protoFragment
		word := p.offset
		if p.more {
			word |= 1
		}
		b = append(b, p.proto, 0, byte(word>>8), byte(word))
		b = binary.BigEndian.AppendUint32(b, p.id)
	}
	return append(b, p.body...)
}

// decode reads a packet as a host does. ok is false for one that it ignores. What follows the packet in
// the frame is padding.
func decode(b []byte) (p *ip, ok bool) {
	if len(b) < 1 || b[0]>>4 == 6 {
		return decode6(b)
	}
	if len(b) < 20 || b[0]>>4 != 4 || b[0]&15 != 5 {
		return nil, false // the model sends no options
	}
	total := get16(b[2:])
	if total < 20 || total > len(b) || checksum(b[:20]) != 0 {
		return nil, false
	}
	p = &ip{
		src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])),
		tos: b[1], ttl: b[8], proto: b[9], id: uint32(get16(b[4:])),
		df: b[6]&0x40 != 0, more: b[6]&0x20 != 0, offset: get16(b[6:]) & 0x1fff * 8,
		body: slices.Clone(b[20:total]),
	}
	return p, true
}

func decode6(b []byte) (p *ip, ok bool) {
	if len(b) < 40 || 40+get16(b[4:]) > len(b) {
		return nil, false
	}
	word := binary.BigEndian.Uint32(b)
	p = &ip{
		src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])),
		tos: byte(word >> 20), flow: word & 0xfffff, ttl: b[7], proto: b[6],
		body: slices.Clone(b[40 : 40+get16(b[4:])]),
	}
	if p.proto != protoFragment {
		return p, true
	}
	if len(p.body) < 8 {
		return nil, false
	}
	p.proto, p.id = p.body[0], binary.BigEndian.Uint32(p.body[4:])
	p.offset, p.more = get16(p.body[2:])&^7, p.body[3]&1 != 0
	p.body = p.body[8:]
	return p, true
}

func put16(b []byte, v int) { binary.BigEndian.PutUint16(b, uint16(v)) }

func get16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }

// checksum is the Internet checksum of all bytes (RFC 1071); 0 over data that holds its right one.
func checksum(parts ...[]byte) int {
	sum := 0
	for _, b := range parts {
		for i := 0; i < len(b); i += 2 {
			word := int(b[i]) << 8
			if i+1 < len(b) {
				word |= int(b[i+1])
			}
			sum += word
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return 0xffff - sum
}

// pseudo is the pseudo header of the packet's L4 checksum.
func (p *ip) pseudo() []byte {
	b := slices.Concat(p.src.AsSlice(), p.dst.AsSlice())
	return append(b, 0, p.proto, byte(len(p.body)>>8), byte(len(p.body)))
}

// sumAt says where the L4 checksum is in the body; -1: nowhere.
func (p *ip) sumAt() int {
	switch p.proto {
	case protoTCP:
		return 16
	case protoUDP:
		return 6
	case protoICMP, protoICMP6:
		return 2
	}
	return -1
}

// sumOK verifies the L4 checksum. A UDP datagram over IPv4 may have none.
func (p *ip) sumOK() bool {
	if p.proto == protoUDP && get16(p.body[6:]) == 0 {
		return !p.v6()
	}
	if p.proto == protoICMP {
		return checksum(p.body) == 0
	}
	return checksum(p.pseudo(), p.body) == 0
}

// setSum writes the right L4 checksum.
func (p *ip) setSum() {
	at := p.sumAt()
	put16(p.body[at:], 0)
	sum := checksum(p.pseudo(), p.body)
	switch {
	case p.proto == protoICMP:
		sum = checksum(p.body)
	case p.proto == protoUDP && sum == 0:
		sum = 0xffff
	}
	put16(p.body[at:], sum)
}

func (p *ip) sport() uint16 { return uint16(get16(p.body)) }

func (p *ip) dport() uint16 { return uint16(get16(p.body[2:])) }

func (p *ip) from() netip.AddrPort { return netip.AddrPortFrom(p.src, p.sport()) }

func (p *ip) to() netip.AddrPort { return netip.AddrPortFrom(p.dst, p.dport()) }

func (p *ip) flags() byte { return p.body[13] }

// rewrite gives the packet another source or destination, and a checksum to match. One that was wrong stays as
// wrong as it was: the difference to the right one is kept (RFC 1624).
func (p *ip) rewrite(src, dst netip.AddrPort) {
	at := p.sumAt()
	none := p.proto == protoUDP && get16(p.body[6:]) == 0
	wrong := 0
	if !none && !p.sumOK() {
		right := p.clone()
		right.setSum()
		wrong = get16(p.body[at:]) + 0xffff - get16(right.body[at:])
	}
	if src.IsValid() {
		p.src = src.Addr()
		put16(p.body, int(src.Port()))
	}
	if dst.IsValid() {
		p.dst = dst.Addr()
		put16(p.body[2:], int(dst.Port()))
	}
	p.setSum()
	if wrong == 0 {
		return
	}
	sum := get16(p.body[at:]) + wrong
	put16(p.body[at:], sum>>16+sum&0xffff)
}

// cut returns the packet as fragments that fit mtu; one that fits stays whole.
func (p *ip) cut(mtu int) (out []*ip) {
	if p.size() <= mtu {
		return []*ip{p}
	}
	head := 20
	if p.v6() {
		head = 48
	}
	step := (mtu - head) / 8 * 8
	for at := 0; at < len(p.body); at += step {
		f := *p
		end := min(at+step, len(p.body))
		f.offset, f.more, f.body = p.offset+at, end < len(p.body) || p.more, p.body[at:end]
		out = append(out, &f)
	}
	return out
}
