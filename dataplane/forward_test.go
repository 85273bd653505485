package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"ulvs/lvs"
	"ulvs/packet"
)

func TestDRChangesOnlyMACsAndTTL(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service("198.18.0.100:80", lvs.MethodDR, "10.0.0.21:80"))
	in := seg{src: "192.0.2.1:40000", dst: "198.18.0.100:80", flags: packet.TCPSyn, payload: 100}.bytes(t)
	out := b.one(0, in, 1)[0]
	got := decode(t, out.Data)
	if out.Port != 1 || got.dstMAC != realMAC(21) || got.srcMAC != portMACs[1] || got.ttl != 63 {
		t.Errorf("left by port %d as %+v", out.Port, got)
	}
	want := append([]byte{}, in...)
	copy(want[0:12], out.Data[0:12])
	want[22]--
	copy(want[24:26], out.Data[24:26]) // decode verified the header checksum
	if !bytes.Equal(out.Data, want) {
		t.Errorf("got  %x\nwant %x", out.Data, want)
	}
	b.check()
}

func TestNATRewritesThereAndBackRestoresTheFrame(t *testing.T) {
	for _, c := range []struct{ name, client, vip, real string }{
		{"IPv4", "192.0.2.1:40000", "198.18.0.100:80", "10.0.0.21:8080"},
		{"IPv6", "[2001:db8::1]:40000", "[2001:db8:c::100]:80", "[fd00::21]:8080"},
	} {
		for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
			t.Run(c.name+lvs.ProtoName(proto), func(t *testing.T) {
				b := newBed(t, bedOptions{heap: true}, serviceOf(proto, c.vip, lvs.MethodNAT, c.real))
				in := seg{src: c.client, dst: c.vip, proto: proto, flags: packet.TCPSyn, payload: 33}
				there := b.one(0, in.bytes(t), 1)[0]
				got := decode(t, there.Data)
				if there.Port != 1 || got.dst.String() != c.real || got.src.String() != c.client || got.ttl != 63 {
					t.Fatalf("to the real server: %+v", got)
				}
				answer := seg{
					src: c.real, dst: c.client, proto: proto, flags: packet.TCPSyn | packet.TCPAck, payload: 12,
					srcMAC: realMAC(0x21), dstMAC: portMACs[1],
				}
				back := b.one(1, answer.bytes(t), 1)[0]
				got = decode(t, back.Data)
				if back.Port != 0 || got.src.String() != c.vip || got.dst.String() != c.client || got.dstMAC != routerMAC {
					t.Errorf("to the client: port %d, %+v", back.Port, got)
				}
				b.check()
			})
		}
	}
}

func TestTunnelsWrapEachFamilyInEach(t *testing.T) {
	for _, c := range []struct {
		name, client, vip, real string
		outerSrc                string
		overhead                int
	}{
		{"4in4", "192.0.2.1:40000", "198.18.0.100:80", "10.0.0.21:80", "10.0.0.10", 20},
		{"4in6", "192.0.2.1:40000", "198.18.0.100:80", "[fd00::21]:80", "fd00::10", 40},
		{"6in6", "[2001:db8::1]:40000", "[2001:db8:c::100]:80", "[fd00::21]:80", "fd00::10", 40},
		{"6in4", "[2001:db8::1]:40000", "[2001:db8:c::100]:80", "10.0.0.21:80", "10.0.0.10", 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, bedOptions{heap: true}, service(c.vip, lvs.MethodTUN, c.real))
			in := seg{src: c.client, dst: c.vip, flags: packet.TCPSyn, payload: 9, tos: 0x03, df: true}.bytes(t)
			out := b.one(0, in, 1)[0]
			got := decode(t, out.Data)
			real := netip.MustParseAddrPort(c.real).Addr()
			if len(out.Data) != len(in)+c.overhead || len(got.outer) != 2 || got.outer[1] != real ||
				got.outer[0].String() != c.outerSrc || got.outerTTL != 63 || got.ttl != 63 {
				t.Errorf("got %+v", got)
			}
			if got.src.String() != c.client || got.dst.String() != c.vip || got.tos != 3 {
				t.Errorf("inner packet: %+v", got)
			}
			b.check()
		})
	}
}

func TestVLANTagsArePutOnAndTakenOff(t *testing.T) {
	b := newBed(t, bedOptions{heap: true, vlan: 7}, service("198.18.0.100:80", lvs.MethodNAT, "10.0.0.21:80"))
	in := seg{src: "192.0.2.1:40000", dst: "198.18.0.100:80", flags: packet.TCPSyn}
	if got := decode(t, b.one(0, in.bytes(t), 1)[0].Data); got.vlan != 7 {
		t.Errorf("to the real server: VLAN %d, want 7", got.vlan)
	}
	answer := seg{src: "10.0.0.21:80", dst: "192.0.2.1:40000", flags: packet.TCPSyn | packet.TCPAck, vlan: 7}
	if got := decode(t, b.one(1, answer.bytes(t), 1)[0].Data); got.vlan != 0 || got.src.Port() != 80 {
		t.Errorf("to the client: %+v", got)
	}
	b.check()
}

func TestTTLRunsOutWithAnErrorFromTheVIP(t *testing.T) {
	for _, c := range []struct{ client, vip, real string }{
		{"192.0.2.1:40000", "198.18.0.100:80", "10.0.0.21:80"},
		{"[2001:db8::1]:40000", "[2001:db8:c::100]:80", "[fd00::21]:80"},
	} {
		for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN} {
			b := newBed(t, bedOptions{heap: true}, service(c.vip, m, c.real))
			in := seg{src: c.client, dst: c.vip, flags: packet.TCPSyn, ttl: 1}.bytes(t)
			got := decode(t, b.one(0, in, 1)[0].Data)
			want := [2]uint8{11, 0}
			if got.src.Addr().Is6() {
				want = [2]uint8{3, 0}
			}
			if got.icmp != want || got.src.Addr() != netip.MustParseAddrPort(c.vip).Addr() || got.dstMAC != routerMAC {
				t.Errorf("%s: got %+v", m, got)
			}
			b.check()
		}
	}
}

func TestTooBigForTheTunnelTellsTheMTU(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service("198.18.0.100:80", lvs.MethodTUN, "10.0.0.21:80"))
	syn := seg{src: "192.0.2.1:40000", dst: "198.18.0.100:80", flags: packet.TCPSyn, df: true}
	b.one(0, syn.bytes(t), 1)
	big := syn
	big.flags, big.payload = packet.TCPAck, 1460
	if got := decode(t, b.one(0, big.bytes(t), 1)[0].Data); got.icmp != [2]uint8{3, 4} || got.rest != 1480 {
		t.Errorf("got %+v, want 3/4 with 1480", got)
	}
	big.payload = 1440
	if got := decode(t, b.one(0, big.bytes(t), 1)[0].Data); len(got.payload) != 1440 {
		t.Errorf("a packet that fits: %+v", got)
	}
	b.check()
}
