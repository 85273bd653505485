package doctor

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// The same of IPv6.

func ipv6(from, to netip.Addr, next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
}

// header is an IP header between two addresses of one family.
func header(from, to netip.Addr, proto layers.IPProtocol) interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
} {
	if to.Is4() {
		return ipv4(from, to, proto)
	}
	return ipv6(from, to, proto)
}

// etherType is what an Ethernet header says of an IP header behind it.
func etherType(head gopacket.SerializableLayer) layers.EthernetType {
	if _, is := head.(*layers.IPv6); is {
		return layers.EthernetTypeIPv6
	}
	return layers.EthernetTypeIPv4
}

// echoRequest is a ping of a flow.
func echoRequest(f *flow) ([]gopacket.SerializableLayer, error) {
	if f.to.Is4() {
		echo := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: f.ours, Seq: 1}
		ip := ipv4(f.from, f.to, layers.IPProtocolICMPv4)
		return []gopacket.SerializableLayer{ip, echo, gopacket.Payload("doctor")}, nil
	}
	ip := ipv6(f.from, f.to, layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
	echo := &layers.ICMPv6Echo{Identifier: f.ours, SeqNumber: 1}
	return []gopacket.SerializableLayer{ip, icmp, echo, gopacket.Payload("doctor")}, icmp.SetNetworkLayerForChecksum(ip)
}

// isEchoReply reports whether a packet answers a ping with an id.
func isEchoReply(p gopacket.Packet, id uint16) bool {
	if icmp, is := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); is {
		return icmp.TypeCode.Type() == layers.ICMPv4TypeEchoReply && icmp.Id == id
	}
	icmp, isICMP := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	echo, isEcho := p.Layer(layers.LayerTypeICMPv6Echo).(*layers.ICMPv6Echo)
	return isICMP && isEcho && icmp.TypeCode.Type() == layers.ICMPv6TypeEchoReply && echo.Identifier == id
}

// ends returns the addresses of a packet's first IP header.
func ends(p gopacket.Packet) (from, to netip.Addr, ok bool) {
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		from, _ = netip.AddrFromSlice(ip.SrcIP.To4())
		to, ok = netip.AddrFromSlice(ip.DstIP.To4())
	case *layers.IPv6:
		from, _ = netip.AddrFromSlice(ip.SrcIP)
		to, ok = netip.AddrFromSlice(ip.DstIP)
	}
	return from, to, ok
}

// neighbourRequest asks a segment who has an address, by ARP or by a neighbour solicitation (RFC 4861, 4.3).
func neighbourRequest(w *way, target netip.Addr) ([]byte, error) {
	if target.Is4() {
		return arpRequest(w, target)
	}
	us, source, a := w.ifi.HardwareAddr, w.sourceFor(target), target.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
	mac := net.HardwareAddr{0x33, 0x33, 0xff, a[13], a[14], a[15]}
	ip := ipv6(source, group, layers.IPProtocolICMPv6)
	ip.HopLimit = 255
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	ask := &layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice()}
	if !source.IsUnspecified() {
		ask.Options = layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: us}}
	}
	return build(ethernet(us, mac, layers.EthernetTypeIPv6), ip, icmp, ask)
}

// neighbourAnswer returns who says that an address is theirs.
func neighbourAnswer(frame []byte, target netip.Addr) net.HardwareAddr {
	if target.Is4() {
		return arpAnswer(frame, target)
	}
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	na, is := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	eth, isEth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if !is || !isEth {
		return nil
	}
	if of, _ := netip.AddrFromSlice(na.TargetAddress); of != target {
		return nil
	}
	for _, o := range na.Options {
		if o.Type == layers.ICMPv6OptTargetAddress && len(o.Data) == 6 {
			return net.HardwareAddr(o.Data)
		}
	}
	return eth.SrcMAC
}

// sourceFor is what to ask for an address from: of the interface, of the family. Unspecified: it has none.
func (w *way) sourceFor(target netip.Addr) netip.Addr {
	if w.source.IsValid() && w.source.Is4() == target.Is4() {
		return w.source
	}
	addrs, _ := w.ifi.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() == target.Is4() {
			return p.Addr()
		}
	}
	if target.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// pseudoSum is the checksum of the pseudo header alone, folded and not complemented.
func pseudoSum(from, to netip.Addr, proto uint8, length int) uint16 {
	sum := uint32(proto) + uint32(length)
	for _, a := range [][]byte{from.AsSlice(), to.AsSlice()} {
		for i := 0; i+1 < len(a); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(a[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// tunnelPort is the source of a tunnel's datagram.
func tunnelPort() layers.UDPPort { return layers.UDPPort(firstPort + rand.IntN(lastPort-firstPort)) }
