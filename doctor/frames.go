package doctor

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/lvs"
)

// flow is one question to a host: our port, or echo id, tells its answer.
type flow struct {
	from, to netip.Addr
	port     uint16 // of the service; 0: none to ask
	ours     uint16
	seq      uint32
}

// Our ports, and echo ids: below what the kernel gives to connections, and not among probe_ports.
const (
	firstPort = 20000
	lastPort  = 32000
)

func newFlow(from, to netip.Addr, port uint16) flow {
	return flow{from, to, port, uint16(firstPort + rand.IntN(lastPort-firstPort)), rand.Uint32()}
}

// build puts layers together, lengths and checksums filled in.
func build(list ...gopacket.SerializableLayer) ([]byte, error) {
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, list...); err != nil {
		return nil, fmt.Errorf("make a frame: %w", err)
	}
	return buffer.Bytes(), nil
}

func ethernet(from, to net.HardwareAddr, kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: kind}
}

func ipv4(from, to netip.Addr, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: proto, SrcIP: from.AsSlice(), DstIP: to.AsSlice(),
		Id: uint16(rand.Uint32())}
}

// arpRequest asks who has an address.
func arpRequest(w *way, target netip.Addr) ([]byte, error) {
	us := w.ifi.HardwareAddr
	return build(ethernet(us, layers.EthernetBroadcast, layers.EthernetTypeARP), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: us, SourceProtAddress: w.source.AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice(),
	})
}

// arpAnswer returns who says that an address is theirs.
func arpAnswer(frame []byte, target netip.Addr) net.HardwareAddr {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
	if !ok || a.Operation != layers.ARPReply || len(a.SourceHwAddress) != 6 {
		return nil
	}
	if from, _ := netip.AddrFromSlice(a.SourceProtAddress); from != target {
		return nil
	}
	return a.SourceHwAddress
}

// questions are an echo request and, for a TCP service, a SYN, behind an outer header or none.
func (f *flow) questions(us, them net.HardwareAddr, outer ...gopacket.SerializableLayer) (frames [][]byte, err error) {
	ping, err := echoRequest(f)
	if err != nil {
		return nil, err
	}
	first := ping[0]
	if len(outer) > 0 {
		first = outer[0]
	}
	head := append([]gopacket.SerializableLayer{ethernet(us, them, etherType(first))}, outer...)
	frame, err := build(slices.Concat(head, ping)...)
	if err != nil || f.port == 0 {
		return [][]byte{frame}, err
	}
	ip := header(f.from, f.to, layers.IPProtocolTCP)
	syn := &layers.TCP{SrcPort: layers.TCPPort(f.ours), DstPort: layers.TCPPort(f.port), Seq: f.seq, SYN: true,
		Window: 1024}
	if err := syn.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	second, err := build(slices.Concat(head, []gopacket.SerializableLayer{ip, syn})...)
	return [][]byte{frame, second}, err
}

// reply is what a frame answers to a flow.
type reply struct {
	echo, open, refused bool
	partial             bool // the checksum was left to hardware
}

// answers reads a frame as an answer; ok is false if it is none.
func (f *flow) answers(frame []byte) (r reply, ok bool) {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	from, to, isIP := ends(p)
	if !isIP || from != f.to || to != f.from {
		return r, false
	}
	if isEchoReply(p, f.ours) {
		return reply{echo: true}, true
	}
	tcp, is := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !is || uint16(tcp.DstPort) != f.ours || uint16(tcp.SrcPort) != f.port {
		return r, false
	}
	// Hardware would complete a checksum that is the pseudo header's alone.
	partial := tcp.Checksum == pseudoSum(from, to, protoTCP, len(tcp.Contents)+len(tcp.Payload))
	return reply{open: tcp.SYN && tcp.ACK, refused: tcp.RST, partial: partial}, tcp.RST || tcp.ACK
}

// outer is the header of a tunnel from us to a real server for a VIP of a family, and how long it is.
func outer(us netip.Addr, d *lvs.Destination, v4 bool) ([]gopacket.SerializableLayer, int) {
	inside, kind, length := layers.IPProtocolIPv6, layers.EthernetTypeIPv6, 40
	if v4 {
		inside, kind = layers.IPProtocolIPv4, layers.EthernetTypeIPv4
	}
	if d.Addr.Is4() {
		length = 20
	}
	switch d.Tunnel.Type {
	case lvs.TunnelGUE:
		ip := header(us, d.Addr, layers.IPProtocolUDP)
		udp := &layers.UDP{SrcPort: tunnelPort(), DstPort: layers.UDPPort(d.Tunnel.Port)}
		_ = udp.SetNetworkLayerForChecksum(ip) // both are set
		return []gopacket.SerializableLayer{ip, udp, gopacket.Payload{0, byte(inside), 0, 0}}, length + 8 + 4
	case lvs.TunnelGRE:
		ip := header(us, d.Addr, layers.IPProtocolGRE)
		return []gopacket.SerializableLayer{ip, &layers.GRE{Protocol: kind}}, length + 4
	}
	return []gopacket.SerializableLayer{header(us, d.Addr, inside)}, length
}

const dayMillis = 24 * 60 * 60 * 1000

// sinceMidnight is ICMP's time: milliseconds, in UTC.
func sinceMidnight(t time.Time) uint32 { return uint32(t.UTC().UnixMilli() % dayMillis) }

// stampRequest asks a host for its time.
func stampRequest(w *way, them net.HardwareAddr, to netip.Addr, id uint16) ([]byte, error) {
	body := make([]byte, 12)
	binary.BigEndian.PutUint32(body, sinceMidnight(time.Now()))
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimestampRequest, 0), Id: id, Seq: 1}
	return build(ethernet(w.ifi.HardwareAddr, them, layers.EthernetTypeIPv4), ipv4(w.source, to, layers.IPProtocolICMPv4),
		icmp, gopacket.Payload(body))
}

// stampAnswer returns when a host got our request, by its clock.
func stampAnswer(frame []byte, from netip.Addr, id uint16) (millis uint32, ok bool) {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	ip, isIP := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	icmp, isICMP := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if !isIP || !isICMP || icmp.TypeCode.Type() != layers.ICMPv4TypeTimestampReply || icmp.Id != id {
		return 0, false
	}
	if src, _ := netip.AddrFromSlice(ip.SrcIP); src != from || len(icmp.Payload) < 12 {
		return 0, false
	}
	return binary.BigEndian.Uint32(icmp.Payload[4:]), true
}
