package dataplane

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/packet"
)

// seg describes a test packet; gopacket, not our own code, makes its bytes.
type seg struct {
	src, dst string // address:port
	proto    uint8  // 0: TCP
	flags    uint8  // TCP flags
	ttl      uint8  // 0: 64
	tos      uint8
	df       bool
	payload  int
	vlan     uint16
	srcMAC   packet.MAC // zero: the router's
	dstMAC   packet.MAC // zero: port 0's
}

func (s seg) bytes(tb testing.TB) []byte {
	tb.Helper()
	src, dst := netip.MustParseAddrPort(s.src), netip.MustParseAddrPort(s.dst)
	if s.ttl == 0 {
		s.ttl = 64
	}
	if s.proto == 0 {
		s.proto = packet.ProtoTCP
	}
	if s.srcMAC == (packet.MAC{}) {
		s.srcMAC = routerMAC
	}
	if s.dstMAC == (packet.MAC{}) {
		s.dstMAC = portMACs[0]
	}
	var list []gopacket.SerializableLayer
	eth := &layers.Ethernet{
		SrcMAC: s.srcMAC[:], DstMAC: s.dstMAC[:], EthernetType: layers.EthernetTypeIPv4,
	}
	list = append(list, eth)
	etype := layers.EthernetTypeIPv4
	if src.Addr().Is6() {
		etype = layers.EthernetTypeIPv6
	}
	eth.EthernetType = etype
	if s.vlan != 0 {
		eth.EthernetType = layers.EthernetTypeDot1Q
		list = append(list, &layers.Dot1Q{VLANIdentifier: s.vlan, Type: etype})
	}
	ip := s.ipLayer(src.Addr(), dst.Addr())
	list = append(list, ip.(gopacket.SerializableLayer), s.l4(src.Port(), dst.Port(), ip))
	payload := make(gopacket.Payload, s.payload)
	for i := range payload {
		payload[i] = byte(i)
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, append(list, payload)...); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func (s seg) ipLayer(src, dst netip.Addr) gopacket.NetworkLayer {
	if src.Is6() {
		return &layers.IPv6{
			Version: 6, TrafficClass: s.tos, HopLimit: s.ttl, NextHeader: layers.IPProtocol(s.proto),
			SrcIP: net.IP(src.AsSlice()), DstIP: net.IP(dst.AsSlice()),
		}
	}
	ip := &layers.IPv4{
		Version: 4, TTL: s.ttl, TOS: s.tos, Id: 77, Protocol: layers.IPProtocol(s.proto),
		SrcIP: net.IP(src.AsSlice()), DstIP: net.IP(dst.AsSlice()),
	}
	if s.df {
		ip.Flags = layers.IPv4DontFragment
	}
	return ip
}

func (s seg) l4(src, dst uint16, ip gopacket.NetworkLayer) gopacket.SerializableLayer {
	if s.proto == packet.ProtoUDP {
		u := &layers.UDP{SrcPort: layers.UDPPort(src), DstPort: layers.UDPPort(dst)}
		_ = u.SetNetworkLayerForChecksum(ip)
		return u
	}
	t := &layers.TCP{SrcPort: layers.TCPPort(src), DstPort: layers.TCPPort(dst), Seq: 1000, Ack: 5000, Window: 65535}
	t.SYN, t.ACK = s.flags&packet.TCPSyn != 0, s.flags&packet.TCPAck != 0
	t.FIN, t.RST = s.flags&packet.TCPFin != 0, s.flags&packet.TCPRst != 0
	_ = t.SetNetworkLayerForChecksum(ip)
	return t
}

// seen is a frame decoded by gopacket, with its checksums verified.
type seen struct {
	dstMAC, srcMAC packet.MAC
	vlan           uint16
	src, dst       netip.AddrPort
	ttl, tos       uint8
	proto          uint8
	outer          []netip.Addr // source and destination of an outer header
	outerTTL       uint8
	icmp           [2]uint8
	rest           uint32
	flags          uint8
	seq, ack       uint32
	payload        []byte
}

func decode(tb testing.TB, b []byte) (s seen) {
	tb.Helper()
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		tb.Fatalf("gopacket cannot decode %x: %v", b, e.Error())
	}
	for _, l := range p.Layers() {
		s.layer(tb, l)
	}
	return s
}

func (s *seen) layer(tb testing.TB, l gopacket.Layer) {
	tb.Helper()
	switch l := l.(type) {
	case *layers.Ethernet:
		s.dstMAC, s.srcMAC = packet.MAC(l.DstMAC), packet.MAC(l.SrcMAC)
	case *layers.Dot1Q:
		s.vlan = l.VLANIdentifier
	case *layers.IPv4:
		if !packet.IPv4(l.Contents).ChecksumOK() {
			tb.Errorf("wrong IPv4 checksum in %x", l.Contents)
		}
		s.ip(l.SrcIP, l.DstIP, l.TTL, l.TOS)
		s.proto = uint8(l.Protocol)
	case *layers.IPv6:
		s.ip(l.SrcIP, l.DstIP, l.HopLimit, l.TrafficClass)
		s.proto = uint8(l.NextHeader)
	case *layers.TCP:
		s.ports(uint16(l.SrcPort), uint16(l.DstPort))
		s.flags, s.seq, s.ack = l.Contents[13], l.Seq, l.Ack
		s.payload = l.Payload
		s.verify(tb, l.Contents, l.Payload)
	case *layers.UDP:
		s.ports(uint16(l.SrcPort), uint16(l.DstPort))
		s.payload = l.Payload
		s.verify(tb, l.Contents, l.Payload)
	case *layers.ICMPv4:
		s.icmp, s.rest = [2]uint8{l.TypeCode.Type(), l.TypeCode.Code()}, uint32(l.Id)<<16|uint32(l.Seq)
		s.payload = l.Payload
		if !packet.ICMP(append(append([]byte{}, l.Contents...), l.Payload...)).ChecksumOK() {
			tb.Error("wrong ICMP checksum")
		}
	case *layers.ICMPv6:
		s.icmp = [2]uint8{l.TypeCode.Type(), l.TypeCode.Code()}
		s.payload = l.Payload
		s.verify(tb, l.Contents, l.Payload)
	}
}

func (s *seen) ip(src, dst net.IP, ttl, tos uint8) {
	if s.src.IsValid() {
		s.outer, s.outerTTL = []netip.Addr{s.src.Addr(), s.dst.Addr()}, s.ttl
	}
	a, _ := netip.AddrFromSlice(src)
	d, _ := netip.AddrFromSlice(dst)
	s.src, s.dst = netip.AddrPortFrom(a, 0), netip.AddrPortFrom(d, 0)
	s.ttl, s.tos = ttl, tos
}

func (s *seen) ports(src, dst uint16) {
	s.src, s.dst = netip.AddrPortFrom(s.src.Addr(), src), netip.AddrPortFrom(s.dst.Addr(), dst)
}

// verify checks the L4 checksum over everything, the slow way.
func (s *seen) verify(tb testing.TB, header, payload []byte) {
	tb.Helper()
	b := append(append([]byte{}, header...), payload...)
	sum := uint32(s.proto) + uint32(len(b))
	for _, a := range []netip.Addr{s.src.Addr(), s.dst.Addr()} {
		sum += slowSum(a.AsSlice())
	}
	if sum += slowSum(b); fold(sum) != 0xffff {
		tb.Errorf("wrong L4 checksum in %x (protocol %d)", b, s.proto)
	}
}

func slowSum(b []byte) (sum uint32) {
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	return sum
}

func fold(sum uint32) uint32 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum
}
