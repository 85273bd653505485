package packet

import (
	"encoding/binary"
	"net/netip"
	"unsafe"
)

// Flags of a parsed frame.
type Flags uint8

const (
	FlagV6        Flags = 1 << iota // IPv6; clear means IPv4 when Kind is an IP kind
	FlagFragment                    // any fragment; its Tuple is valid only in the first
	FlagLaterFrag                   // a fragment with offset > 0: no L4 header, Ports are 0
	FlagDF                          // IPv4 don't-fragment bit
	FlagOptions                     // IPv4 options or IPv6 extension headers present
	FlagVLAN                        // one 802.1Q tag present; VLAN is valid
	FlagAtomic                      // IPv6: whole, and yet with a fragment header (RFC 6946)
)

// Kind says which of the fields of Parsed are valid.
type Kind uint8

const (
	KindNone  Kind = iota // refused: Parse returned a reason
	KindFlow              // TCP, UDP, SCTP with ports: Addr, L4 valid
	KindICMP              // ICMP (v4) or ICMPv6: Addr, Proto valid, L4 has no ports
	KindARP               // ARP for IPv4 over Ethernet, complete
	KindOther             // IP with another protocol, or a later fragment: Addr, Proto valid
)

// Middle says that a packet is a plain one in the middle of its flow: IPv4 without a tag, options or fragments, and
// with a TTL that lets it be forwarded. Only ParsePlain says so.
type Middle uint8

// What may be in the middle.
const (
	MiddleNone Middle = iota // another one, or nobody looked
	MiddleTCP                // with ACK, without SYN, FIN and RST
	MiddleUDP
	_

	// NumMiddle is a number above all of them, a power of two.
	NumMiddle = 4
)

// Parsed is what Parse found: offsets into the frame and the flow's key, in
// wire byte order so that nothing is swapped on the hot path. One cache line.
type Parsed struct {
	// Addr holds the addresses as little-endian loads of the wire bytes.
	// IPv4: Addr[0] = source | destination<<32, the rest is 0.
	// IPv6: Addr[0:2] = source, Addr[2:4] = destination.
	Addr [4]uint64
	// L4 = source port | destination port<<16 (each as a little-endian load of
	// the two wire bytes) | IP protocol<<32. For ICMP and later fragments the ports are 0.
	L4       uint64
	L3Off    uint16 // offset of the IP header in the frame (14, or 18 with a tag)
	L4Off    uint16 // offset of the L4 header in the frame
	TotalLen uint16 // bytes of the IP packet by its header, IP header included
	FragOff  uint16 // fragment offset in bytes; valid iff FlagFragment
	FragID   uint32 // IPv4 identification or IPv6 fragment id; valid iff FlagFragment
	VLAN     uint16 // 802.1Q TCI (PCP, DEI, VID); valid iff FlagVLAN
	Kind     Kind
	Flags    Flags
	Proto    uint8 // IP protocol of the L4 header (after IPv6 extension headers)
	TTL      uint8 // TTL or hop limit as received
	TOS      uint8 // TOS or traffic class as received
	Middle   Middle
	TCPFlags uint8 // FIN SYN RST PSH ACK URG ECE CWR as on the wire; valid iff Proto == TCP
}

// Parsed is exactly one cache line.
const (
	_ uintptr = 64 - unsafe.Sizeof(Parsed{})
	_ uintptr = unsafe.Sizeof(Parsed{}) - 64
)

// V6 reports whether the frame is IPv6.
func (p *Parsed) V6() bool { return p.Flags&FlagV6 != 0 }

// Tuple is a flow in a form for the control path and for schedulers: addresses as
// netip's 16-byte form (IPv4 mapped, ::ffff:a.b.c.d), ports in host order.
type Tuple struct {
	Src, Dst         [16]byte
	SrcPort, DstPort uint16
	Proto            uint8
	_                [3]byte
}

// Tuple expands p's key. Valid for every Kind but KindNone and KindARP.
func (p *Parsed) Tuple() (t Tuple) {
	p.PutTuple(&t)
	return t
}

// PutTuple is Tuple without a copy.
func (p *Parsed) PutTuple(t *Tuple) {
	if p.V6() {
		binary.LittleEndian.PutUint64(t.Src[0:], p.Addr[0])
		binary.LittleEndian.PutUint64(t.Src[8:], p.Addr[1])
		binary.LittleEndian.PutUint64(t.Dst[0:], p.Addr[2])
		binary.LittleEndian.PutUint64(t.Dst[8:], p.Addr[3])
	} else {
		binary.LittleEndian.PutUint64(t.Src[0:], 0)
		binary.LittleEndian.PutUint64(t.Src[8:], mapped|p.Addr[0]<<32)
		binary.LittleEndian.PutUint64(t.Dst[0:], 0)
		binary.LittleEndian.PutUint64(t.Dst[8:], mapped|p.Addr[0]>>32<<32)
	}
	t.SrcPort = swap16(uint16(p.L4))
	t.DstPort = swap16(uint16(p.L4 >> 16))
	t.Proto = p.Proto
}

// mapped is what stands before an IPv4 address in the second half of an IPv6 one.
const mapped = 0xffff << 16

// SrcAddrPort returns the source of t, IPv4 unmapped.
func (t *Tuple) SrcAddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(t.Src).Unmap(), t.SrcPort)
}

// DstAddrPort returns the destination of t, IPv4 unmapped.
func (t *Tuple) DstAddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(t.Dst).Unmap(), t.DstPort)
}

func swap16(v uint16) uint16 { return v<<8 | v>>8 }
