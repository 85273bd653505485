package doctor

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/lvs"
)

var (
	macUs   = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	macThem = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	usV6    = netip.MustParseAddr("2001:db8::1")
	themV6  = netip.MustParseAddr("2001:db8::1:16")
)

// must builds a frame.
func must(t *testing.T, list ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b, err := build(list...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNeighboursAreAskedForOverIPv6(t *testing.T) {
	w := &way{tap: &tap{ifi: &net.Interface{HardwareAddr: macUs}}, source: usV6}
	b, err := neighbourRequest(w, themV6)
	if err != nil {
		t.Fatal(err)
	}
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	from, to, _ := ends(p)
	ns, is := p.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation)
	if !is || from != usV6 || to != netip.MustParseAddr("ff02::1:ff01:16") || !ns.TargetAddress.Equal(themV6.AsSlice()) ||
		net.HardwareAddr(b[:6]).String() != "33:33:ff:01:00:16" || b[21] != 255 {
		t.Errorf("asked with\n%v", p)
	}
	answer := func(flags uint8, options layers.ICMPv6Options, target netip.Addr) []byte {
		ip := ipv6(themV6, usV6, layers.IPProtocolICMPv6)
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborAdvertisement, 0)}
		_ = icmp.SetNetworkLayerForChecksum(ip)
		return must(t, ethernet(macThem, macUs, layers.EthernetTypeIPv6), ip, icmp,
			&layers.ICMPv6NeighborAdvertisement{Flags: flags, TargetAddress: target.AsSlice(), Options: options})
	}
	other := net.HardwareAddr{2, 0, 0, 0, 0, 3}
	withOption := layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: other}}
	for _, c := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{"with its address", answer(0x60, withOption, themV6), other.String()},
		{"without", answer(0x60, nil, themV6), macThem.String()},
		{"of somebody else", answer(0x60, withOption, usV6), ""},
		{"a question", b, ""},
	} {
		if got := neighbourAnswer(c.frame, themV6); got.String() != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// back answers a question as a host does.
func back(t *testing.T, b []byte, f flow, tcp *layers.TCP, whole bool) []byte {
	t.Helper()
	eth := ethernet(macThem, macUs, etherType(header(f.to, f.from, 0).(gopacket.SerializableLayer)))
	if tcp == nil {
		reply := append([]byte(nil), b...)
		copy(reply[22:38], b[38:54])
		copy(reply[38:54], b[22:38])
		reply[54] = layers.ICMPv6TypeEchoReply
		return reply
	}
	ip := header(f.to, f.from, layers.IPProtocolTCP)
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(f.port), layers.TCPPort(f.ours)
	_ = tcp.SetNetworkLayerForChecksum(ip)
	out := must(t, eth, ip, tcp)
	if !whole {
		at := len(out) - 4
		sum := pseudoSum(f.to, f.from, protoTCP, 20)
		out[at], out[at+1] = byte(sum>>8), byte(sum)
	}
	return out
}

func TestAnswersOverIPv6AreUnderstood(t *testing.T) {
	f := newFlow(usV6, themV6, 80)
	asked, err := f.questions(macUs, macThem)
	if err != nil || len(asked) != 2 {
		t.Fatalf("%d questions, %v", len(asked), err)
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  reply
		ok    bool
	}{
		{"an echo", back(t, asked[0], f, nil, true), reply{echo: true}, true},
		{"an open port", back(t, nil, f, &layers.TCP{SYN: true, ACK: true}, true), reply{open: true}, true},
		{"a closed port", back(t, nil, f, &layers.TCP{RST: true, ACK: true}, true), reply{refused: true}, true},
		{"half a checksum", back(t, nil, f, &layers.TCP{SYN: true, ACK: true}, false),
			reply{open: true, partial: true}, true},
		{"our own", asked[0], reply{}, false},
		{"our own", asked[1], reply{}, false},
	} {
		if got, ok := f.answers(c.frame); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v %v, want %+v %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestTunnelsAreWrittenForBothFamilies(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), usV6
	for _, c := range []struct {
		us, server netip.Addr
		kind       lvs.TunnelType
		vip4       bool
		length     int
	}{
		{v4, netip.MustParseAddr("192.0.2.16"), lvs.TunnelIPIP, true, 20},
		{v4, netip.MustParseAddr("192.0.2.16"), lvs.TunnelGRE, false, 24},
		{v6, themV6, lvs.TunnelIPIP, false, 40},
		{v6, themV6, lvs.TunnelGUE, false, 52},
		{v6, themV6, lvs.TunnelGRE, true, 44},
	} {
		head, length := outer(c.us, &lvs.Destination{Addr: c.server, Tunnel: lvs.Tunnel{Type: c.kind, Port: 6080}}, c.vip4)
		if got := len(must(t, head...)); got != c.length || length != c.length {
			t.Errorf("%v: %d byte, said to be %d, want %d", c, got, length, c.length)
		}
	}
}
