package packet_test

import (
	"encoding/hex"
	"fmt"

	"ulvs/packet"
)

// A TCP SYN for a VIP, as the wire has it.
const syn = "020000000101020000000001080045000028bbe440004006f673c0000201c6120064" +
	"bbe40050000003e8000000005002ffff674e0000"

func ExampleParse() {
	frame, _ := hex.DecodeString(syn)
	var p packet.Parsed
	if err := packet.Parse(frame, &p); err != packet.ErrNone {
		fmt.Println("dropped:", err)
		return
	}
	t := p.Tuple()
	fmt.Println(t.SrcAddrPort(), "to", t.DstAddrPort(), "syn:", p.TCPFlags&packet.TCPSyn != 0)

	frame[24]++ // damage the IPv4 checksum
	fmt.Println("dropped:", packet.Parse(frame, &p))
	// Output:
	// 192.0.2.1:48100 to 198.18.0.100:80 syn: true
	// dropped: ip_checksum
}

// NAT changes an address and a port; one Delta corrects the checksum over both.
func ExampleDelta() {
	frame, _ := hex.DecodeString(syn)
	ip := packet.IPv4(frame[packet.EthernetLen:])
	tcp := packet.TCP(ip.Payload())

	server, ports := uint32(0x1500000a), tcp.PortsWire()&0xffff|uint32(packet.WirePort(8080))<<16
	d := packet.Delta(0).Change32(ip.DstWire(), server).Change32(tcp.PortsWire(), ports)
	tcp.SetChecksum(tcp.Checksum().Apply(d))
	tcp.SetPortsWire(ports)
	ip.ChangeDst(server)
	packet.DecTTL(ip)

	sum := packet.Sum(tcp, packet.PseudoV4(ip.AddrWire(), packet.ProtoTCP, len(tcp)))
	fmt.Println(ip.Dst(), tcp.DstPort(), ip.ChecksumOK(), packet.Fold(sum) == 0)
	// Output: 10.0.0.21 8080 true true
}
