package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// The oracle: Parse written again, slowly, on gopacket's decoders. They refuse
// some things that Parse lets pass (nonsense in IPv4 options, TCP's data offset,
// UDP's length); such bytes are set to something harmless in a copy first. The
// two share no code but Parsed, Error and the constants.

type oracle struct {
	p     Parsed
	src   netip.Addr
	dst   netip.Addr
	more  bool
	sport uint16
	dport uint16
}

func slowParse(frame []byte) (Parsed, Error) {
	o := &oracle{}
	if err := o.ethernet(frame); err != ErrNone {
		return Parsed{}, err
	}
	o.key()
	return o.p, ErrNone
}

func (o *oracle) ethernet(frame []byte) Error {
	var eth layers.Ethernet
	if len(frame) < 14 || eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback) != nil {
		return ErrFrameShort
	}
	typ, rest := eth.EthernetType, frame[14:]
	o.p.L3Off = 14
	if typ == layers.EthernetTypeDot1Q {
		var tag layers.Dot1Q
		if tag.DecodeFromBytes(rest, gopacket.NilDecodeFeedback) != nil {
			return ErrFrameShort
		}
		o.p.L3Off, o.p.Flags = 18, FlagVLAN
		o.p.VLAN = uint16(tag.Priority)<<13 | tag.VLANIdentifier
		if tag.DropEligible {
			o.p.VLAN |= 1 << 12
		}
		typ, rest = tag.Type, tag.Payload
		if typ == layers.EthernetTypeDot1Q {
			return ErrVLANStacked
		}
	}
	switch typ {
	case layers.EthernetTypeQinQ:
		return ErrVLANStacked
	case layers.EthernetTypeARP:
		return o.arp(rest)
	case layers.EthernetTypeIPv4:
		return o.ipv4(rest)
	case layers.EthernetTypeIPv6:
		return o.ipv6(rest)
	}
	return ErrEtherType
}

func (o *oracle) arp(b []byte) Error {
	if len(b) < 28 {
		return ErrARPShort
	}
	a, err := decodeARP(b)
	if err != nil || binary.BigEndian.Uint16(b) != uint16(layers.LinkTypeEthernet) ||
		a.Protocol != layers.EthernetTypeIPv4 || a.HwAddressSize != 6 || a.ProtAddressSize != 4 {
		return ErrARPFormat
	}
	o.p.Kind = KindARP
	return ErrNone
}

// decodeARP survives gopacket's 8-bit length arithmetic. Its AddrType has 8 bits, too.
func decodeARP(b []byte) (a layers.ARP, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("gopacket panicked")
		}
	}()
	err = a.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
	return a, err
}

func (o *oracle) ipv4(b []byte) Error {
	if len(b) < 20 {
		return ErrIPShort
	}
	clean := append([]byte(nil), b...)
	for i := 20; i < int(b[0]&15)*4 && i < len(b); i++ {
		clean[i] = 1
	}
	var ip layers.IPv4
	err := ip.DecodeFromBytes(clean, gopacket.NilDecodeFeedback)
	head, total := int(ip.IHL)*4, int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case ip.Version != 4:
		return ErrIPVersion
	case head < 20 || head > len(b):
		return ErrIPHeaderLength
	case err != nil || total < head || total > len(b):
		return ErrIPTotalLength
	case slowSum(b[:head]) != 0xffff:
		return ErrIPChecksum
	}
	o.src, _ = netip.AddrFromSlice(ip.SrcIP)
	o.dst, _ = netip.AddrFromSlice(ip.DstIP)
	o.p.Proto, o.p.TTL, o.p.TOS = uint8(ip.Protocol), ip.TTL, ip.TOS
	o.p.TotalLen, o.p.L4Off = uint16(total), o.p.L3Off+uint16(head)
	o.flag(ip.Flags&layers.IPv4DontFragment != 0, FlagDF)
	o.flag(head > 20, FlagOptions)
	o.more = ip.Flags&layers.IPv4MoreFragments != 0
	o.fragment(int(ip.FragOffset)*8, uint32(ip.Id))
	if o.martian4() {
		return ErrMartian
	}
	if o.badFragment(head, len(ip.Payload)) {
		return ErrFragmentBad
	}
	return o.l4(ip.Payload)
}

func (o *oracle) flag(on bool, f Flags) {
	if on {
		o.p.Flags |= f
	}
}

func (o *oracle) fragment(off int, id uint32) {
	if off == 0 && !o.more {
		return
	}
	o.p.FragOff, o.p.FragID = uint16(off), id
	o.flag(true, FlagFragment)
	o.flag(off > 0, FlagLaterFrag)
}

func (o *oracle) martian4() bool {
	everybody := netip.MustParseAddr("255.255.255.255")
	if o.src.IsMulticast() || o.src.IsLoopback() || o.src == everybody {
		return true
	}
	if o.src.IsUnspecified() && !o.dst.IsMulticast() && o.dst != everybody {
		return true
	}
	return o.dst.IsUnspecified() || o.dst.IsLoopback()
}

func (o *oracle) badFragment(head, n int) bool {
	if o.p.Flags&FlagFragment == 0 {
		return false
	}
	end := int(o.p.FragOff) + n
	if o.src.Is4() {
		end += head
	}
	return n == 0 || end > 65535 || o.src.Is6() && o.more && n%8 != 0
}

func (o *oracle) ipv6(b []byte) Error {
	if len(b) < 40 {
		return ErrIPShort
	}
	clean := append([]byte(nil), b...)
	clean[6], clean[4], clean[5] = 59, 0, 1 // decode neither options nor an empty payload
	var ip layers.IPv6
	if ip.DecodeFromBytes(clean, gopacket.NilDecodeFeedback) != nil || ip.Version != 6 {
		return ErrIPVersion
	}
	length, next := int(binary.BigEndian.Uint16(b[4:])), b[6]
	switch {
	case length == 0 && next == 0:
		return ErrIPJumbo
	case 40+length > len(b) || 40+length > 65535:
		return ErrIPTotalLength
	}
	o.src, _ = netip.AddrFromSlice(ip.SrcIP)
	o.dst, _ = netip.AddrFromSlice(ip.DstIP)
	o.p.Proto, o.p.TTL, o.p.TOS = next, ip.HopLimit, ip.TrafficClass
	o.p.TotalLen, o.p.L4Off = uint16(40+length), o.p.L3Off+40
	o.flag(true, FlagV6)
	if o.martian6() {
		return ErrMartian
	}
	return o.extensions(b[40 : 40+length])
}

func (o *oracle) martian6() bool {
	bad := func(a netip.Addr) bool { return a.IsLoopback() || a.Is4In6() }
	chain := o.p.Proto == 0 || o.p.Proto == 43 || o.p.Proto == 44 || o.p.Proto == 60
	return bad(o.src) || bad(o.dst) || o.src.IsMulticast() || o.dst.IsUnspecified() ||
		o.src.IsUnspecified() && o.p.Proto != 58 && !chain
}

func (o *oracle) extensions(b []byte) Error {
	frags, walked := 0, 0
	for ; o.p.Proto == 0 || o.p.Proto == 43 || o.p.Proto == 44 || o.p.Proto == 60; walked++ {
		if walked == 8 || o.p.Proto == 0 && walked > 0 || o.p.Proto == 44 && frags > 0 {
			return ErrExtHeaderChain
		}
		o.flag(true, FlagOptions)
		n, next, err := o.extension(b)
		if err != ErrNone {
			return err
		}
		if o.p.Proto == 44 {
			frags++
		}
		o.p.Proto, o.p.L4Off, b = next, o.p.L4Off+uint16(n), b[n:]
		if o.p.Flags&FlagLaterFrag != 0 {
			break
		}
	}
	if o.src.IsUnspecified() && o.p.Proto != 58 {
		return ErrMartian
	}
	if o.badFragment(0, len(b)) {
		return ErrFragmentBad
	}
	return o.l4(b)
}

// extension decodes one header and returns its bytes and the next protocol.
func (o *oracle) extension(b []byte) (n int, next uint8, err Error) {
	cut := ErrExtHeaderChain
	if o.p.Flags&FlagFragment != 0 {
		cut = ErrFragmentBad
	}
	if o.p.Proto == 44 {
		f, ok := gopacket.NewPacket(b, layers.LayerTypeIPv6Fragment, gopacket.Default).
			Layer(layers.LayerTypeIPv6Fragment).(*layers.IPv6Fragment)
		if !ok {
			return 0, 0, cut
		}
		o.more = f.MoreFragments
		o.fragment(int(f.FragmentOffset)*8, f.Identification)
		o.flag(o.p.Flags&FlagFragment == 0, FlagAtomic)
		return 8, uint8(f.NextHeader), ErrNone
	}
	var x layers.IPv6ExtensionSkipper
	if x.DecodeFromBytes(b, gopacket.NilDecodeFeedback) != nil {
		return 0, 0, cut
	}
	if o.p.Proto == 43 && x.Contents[3] > 0 {
		return 0, 0, ErrExtHeaderRouting
	}
	return len(x.Contents), uint8(x.NextHeader), ErrNone
}

func (o *oracle) least() int {
	icmp := layers.IPProtocolICMPv4
	if o.src.Is6() {
		icmp = layers.IPProtocolICMPv6
	}
	switch layers.IPProtocol(o.p.Proto) {
	case layers.IPProtocolTCP:
		return 20
	case layers.IPProtocolSCTP:
		return 12
	case layers.IPProtocolUDP, icmp:
		return 8
	}
	return 0
}

func (o *oracle) l4(b []byte) Error {
	o.p.Kind = KindOther
	if o.p.Flags&FlagLaterFrag != 0 {
		return ErrNone
	}
	if len(b) >= o.least() {
		o.transport(b)
	} else if o.p.Flags&FlagFragment == 0 {
		return ErrL4Short
	}
	return ErrNone
}

func (o *oracle) transport(b []byte) {
	b = append([]byte(nil), b...)
	switch layers.IPProtocol(o.p.Proto) {
	case layers.IPProtocolTCP:
		var t layers.TCP
		b[12] = 5 << 4
		_ = t.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
		o.p.Kind, o.sport, o.dport = KindFlow, uint16(t.SrcPort), uint16(t.DstPort)
		for i, on := range []bool{t.FIN, t.SYN, t.RST, t.PSH, t.ACK, t.URG, t.ECE, t.CWR} {
			if on {
				o.p.TCPFlags |= 1 << i
			}
		}
	case layers.IPProtocolUDP:
		var u layers.UDP
		b[4], b[5] = 0, 8
		_ = u.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
		o.p.Kind, o.sport, o.dport = KindFlow, uint16(u.SrcPort), uint16(u.DstPort)
	case layers.IPProtocolSCTP:
		var s layers.SCTP
		_ = s.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
		o.p.Kind, o.sport, o.dport = KindFlow, uint16(s.SrcPort), uint16(s.DstPort)
	default:
		if o.least() == 8 {
			o.p.Kind = KindICMP
		}
	}
}

// key fills Addr and L4 from what was found, by the words of parsed.go.
func (o *oracle) key() {
	if o.p.Kind == KindARP {
		return
	}
	var wire [32]byte
	if o.src.Is4() {
		copy(wire[0:], o.src.AsSlice())
		copy(wire[4:], o.dst.AsSlice())
	} else {
		copy(wire[0:], o.src.AsSlice())
		copy(wire[16:], o.dst.AsSlice())
	}
	for i := range o.p.Addr {
		o.p.Addr[i] = binary.LittleEndian.Uint64(wire[8*i:])
	}
	ports := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, o.sport), o.dport)
	o.p.L4 = uint64(binary.LittleEndian.Uint32(ports)) | uint64(o.p.Proto)<<32
}

// slowSum is RFC 1071's sum, word by word in network order.
func slowSum(b []byte) uint16 {
	sum := uint32(0)
	for i, v := range b {
		if i%2 == 0 {
			sum += uint32(v) << 8
		} else {
			sum += uint32(v)
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
	}
	return uint16(sum)
}
