package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/lvs"
	"ulvs/packet"
)

// errorFrame is an ICMP error from src to dst about the IP packet quoted.
func errorFrame(tb testing.TB, src, dst netip.Addr, code [2]uint8, quoted []byte) []byte {
	tb.Helper()
	if src.Is4() {
		return icmpFrame(tb, src, dst, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(code[0], code[1])},
			gopacket.Payload(quoted))
	}
	return icmpFrame(tb, src, dst, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(code[0], code[1])},
		gopacket.Payload(append(make([]byte, 4), quoted...)))
}

// quotes decodes what an error quotes; an IPv4 header in it must have a right checksum.
func quotes(tb testing.TB, s seen) (src, dst netip.AddrPort) {
	tb.Helper()
	b := s.payload
	if s.src.Addr().Is6() {
		b = b[4:]
	} else if !packet.IPv4(b[:20]).ChecksumOK() {
		tb.Errorf("the quoted header %x has a wrong checksum", b[:20])
	}
	var p packet.Parsed
	if err := packet.ParseInner(b, &p); err != 0 {
		tb.Fatalf("the quote is refused as %s: %x", err, b)
	}
	t := p.Tuple()
	return t.SrcAddrPort(), t.DstAddrPort()
}

// family is the two ends of a test, by address family.
type ends struct {
	client, vip, real, router string
	unreachable               [2]uint8
}

var bothFamilies = []ends{
	{client4, vip4, "10.0.0.21:8080", "192.0.2.254", [2]uint8{3, 1}},
	{client6, vip6, "[fd00::21]:8080", "2001:db8::fe", [2]uint8{1, 0}},
}

func TestAnErrorAboutAReplyReachesTheRealServer(t *testing.T) {
	for _, c := range bothFamilies {
		for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
			b := newBed(t, bedOptions{heap: true}, serviceOf(proto, c.vip, lvs.MethodNAT, c.real))
			b.one(0, seg{src: c.client, dst: c.vip, proto: proto, flags: packet.TCPSyn}.bytes(t), 1)
			answer := seg{src: c.real, dst: c.client, proto: proto, flags: packet.TCPSyn | packet.TCPAck, payload: 50}
			back := b.one(1, answer.bytes(t), 1)[0].Data
			before := b.worker.Stats().Dest(1)
			vip := netip.MustParseAddrPort(c.vip)
			f := errorFrame(t, netip.MustParseAddr(c.router), vip.Addr(), c.unreachable, back[14:])
			out := b.one(0, f, 1)[0]
			got := decode(t, out.Data)
			src, dst := quotes(t, got)
			if out.Port != 1 || got.dst.Addr() != netip.MustParseAddrPort(c.real).Addr() || got.icmp != c.unreachable ||
				got.src.Addr().String() != c.router || src.String() != c.real || dst.String() != c.client {
				t.Errorf("%s: port %d, %+v, about %v -> %v", c.vip, out.Port, got, src, dst)
			}
			if now := b.worker.Stats().Dest(1); now.InPackets != before.InPackets+1 || now.Conns != 1 {
				t.Errorf("counted %+v after %+v", now, before)
			}
			b.check()
		}
	}
}

func TestAnErrorAboutARequestReachesTheClientFromTheVIP(t *testing.T) {
	for _, c := range bothFamilies {
		for _, cut := range []int{1000, 48} { // the whole packet, and no more than must be quoted
			b := newBed(t, bedOptions{heap: true}, service(c.vip, lvs.MethodNAT, c.real))
			there := b.one(0, seg{src: c.client, dst: c.vip, flags: packet.TCPSyn, payload: 60}.bytes(t), 1)[0].Data[14:]
			client := netip.MustParseAddrPort(c.client)
			real := netip.MustParseAddrPort(c.real).Addr()
			f := errorFrame(t, real, client.Addr(), c.unreachable, there[:min(cut, len(there))])
			out := b.one(1, f, 1)[0]
			got := decode(t, out.Data)
			src, dst := quotes(t, got)
			if out.Port != 0 || got.dst.Addr() != client.Addr() || got.src.Addr() != netip.MustParseAddrPort(c.vip).Addr() ||
				got.icmp != c.unreachable || src.String() != c.client || dst.String() != c.vip || got.dstMAC != routerMAC {
				t.Errorf("%s: port %d, %+v, about %v -> %v", c.vip, out.Port, got, src, dst)
			}
			if d := b.worker.Stats().Dest(1); d.OutPackets != 1 {
				t.Errorf("counted %+v", d)
			}
			b.check()
		}
	}
}

func TestDRAndTUNCarryAnErrorAsItIs(t *testing.T) {
	for _, c := range bothFamilies {
		for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodTUN} {
			real := netip.AddrPortFrom(netip.MustParseAddrPort(c.real).Addr(), 80).String()
			b := newBed(t, bedOptions{heap: true}, service(c.vip, m, real))
			b.one(0, seg{src: c.client, dst: c.vip, flags: packet.TCPSyn}.bytes(t), 1)
			answer := seg{src: c.vip, dst: c.client, flags: packet.TCPSyn | packet.TCPAck, payload: 30}.bytes(t)
			vip := netip.MustParseAddrPort(c.vip).Addr()
			f := errorFrame(t, netip.MustParseAddr(c.router), vip, c.unreachable, answer[14:74])
			got := decode(t, b.one(0, f, 1)[0].Data)
			src, dst := quotes(t, got)
			if got.icmp != c.unreachable || src.String() != c.vip || dst.String() != c.client || got.ttl != 32 ||
				(len(got.outer) == 2) != (m == lvs.MethodTUN) || b.verdict(forwards[m]) != 2 {
				t.Errorf("%s: %+v, about %v -> %v", m, got, src, dst)
			}
			b.check()
		}
	}
}

func TestErrorsAboutNothingOfOursAndDamagedOnesReachNobody(t *testing.T) {
	b := hostileBed(t, 1)
	answer := seg{src: vip4, dst: client4, flags: packet.TCPAck}.bytes(t)
	router, vip := netip.MustParseAddr("192.0.2.254"), netip.MustParseAddr("198.18.0.100")
	b.dropped(errorFrame(t, router, vip, [2]uint8{3, 1}, answer[14:54]), DropICMP) // no such session
	b.one(0, syn4(t), 1)
	good := errorFrame(t, router, vip, [2]uint8{3, 1}, answer[14:54])
	for name, f := range map[string][]byte{
		"checksum":    spoil(good, 36, good[36]^0x40),
		"cut quote":   errorFrame(t, router, vip, [2]uint8{3, 1}, answer[14:37]),
		"empty quote": errorFrame(t, router, vip, [2]uint8{3, 1}, nil),
		"IHL":         errorFrame(t, router, vip, [2]uint8{3, 1}, spoil(answer[14:54], 0, 0x4f)),
	} {
		before := b.verdict(DropICMP)
		if out := b.send(0, f); len(out) != 0 || b.verdict(DropICMP) != before+1 {
			t.Errorf("%s: %d came out: %v", name, len(out), b.counted())
		}
	}
	b.one(0, good, 1)
	b.check()
}

func TestAnErrorMovesNeitherStateNorTimer(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.one(0, syn4(t), 1)
	answer := seg{src: vip4, dst: client4, flags: packet.TCPRst}.bytes(t)
	b.now += 40
	router, vip := netip.MustParseAddr("192.0.2.254"), netip.MustParseAddr("198.18.0.100")
	b.one(0, errorFrame(t, router, vip, [2]uint8{11, 0}, answer[14:54]), 1)
	if got := b.sessions(); len(got) != 1 || got[0].State.String() != "SYN_RECV" || got[0].Expires(b.now) != 60*8-40 {
		t.Errorf("the session is %+v", got)
	}
}

func TestAnErrorAboutATunnelIsToldTheClientAboutItsOwnPacket(t *testing.T) {
	for _, tunnel := range tunnels {
		s := service(vip4, lvs.MethodTUN, "10.0.0.21:80")
		s.Destinations[0].Tunnel = tunnel
		b := newBed(t, bedOptions{heap: true}, s)
		syn := seg{src: client4, dst: vip4, flags: packet.TCPSyn, payload: 30, df: true}
		there := b.one(0, syn.bytes(t), 1)[0].Data[14:]
		director, router := netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("10.0.0.1")
		f := errorFrame(t, router, director, [2]uint8{3, 4}, there)
		f[40], f[41] = 1300>>8, 1300&0xff // the MTU there
		f[36], f[37] = 0, 0
		sum := ^uint16(fold(slowSum(f[34:])))
		f[36], f[37] = byte(sum>>8), byte(sum)
		got := decode(t, b.one(1, f, 1)[0].Data)
		src, dst := quotes(t, got)
		want := 1300 - int(tunnelOverhead(tunnel, false))
		if got.icmp != [2]uint8{3, 4} || int(got.rest) != want || got.src.Addr().String() != "198.18.0.100" ||
			got.dst.Addr().String() != "192.0.2.1" || src.String() != client4 || dst.String() != vip4 {
			t.Errorf("%+v: %+v about %v -> %v, want MTU %d", tunnel, got, src, dst, want)
		}
		syn.flags, syn.payload = packet.TCPAck, 1300
		if got := decode(t, b.one(0, syn.bytes(t), 1)[0].Data); got.icmp != [2]uint8{3, 4} || int(got.rest) != want {
			t.Errorf("%+v: the next one that is too big: %+v, want %d from us", tunnel, got, want)
		}
		b.check()
	}
}

// tunnels are the encapsulations of a director with IPv4 to its real servers.
var tunnels = []lvs.Tunnel{
	{}, {Type: lvs.TunnelGUE, Port: 6080}, {Type: lvs.TunnelGUE, Port: 6080, Checksum: lvs.TunnelChecksum},
	{Type: lvs.TunnelGRE}, {Type: lvs.TunnelGRE, Checksum: lvs.TunnelChecksum},
}

func TestGUEAndGREWrapThePacketBehindTheirOwnHeaders(t *testing.T) {
	for _, tunnel := range tunnels[1:] {
		for _, c := range bothFamilies {
			for _, to := range []string{"10.0.0.21:80", "[fd00::21]:80"} {
				s := service(c.vip, lvs.MethodTUN, to)
				s.Destinations[0].Tunnel = tunnel
				b := newBed(t, bedOptions{heap: true}, s)
				in := seg{src: c.client, dst: c.vip, flags: packet.TCPSyn, payload: 33}.bytes(t)
				out := b.one(0, in, 1)[0].Data
				inner := unwrapTunnel(t, out, tunnel)
				want := append([]byte(nil), in[14:]...)
				if c.client == client4 {
					want = mend(spoil(in, 22, 63))[14:]
				} else {
					want[7]--
				}
				if !bytes.Equal(inner, want) {
					t.Errorf("%+v to %s: inside is %x, want %x", tunnel, to, inner, want)
				}
				b.check()
			}
		}
	}
}

// unwrapTunnel takes the outer headers off, checking all that is constant in them.
func unwrapTunnel(tb testing.TB, frame []byte, tunnel lvs.Tunnel) []byte {
	tb.Helper()
	var p packet.Parsed
	if err := packet.Parse(frame, &p); err != 0 || p.TTL != 63 {
		tb.Fatalf("the outer packet is refused as %s, TTL %d: %x", err, p.TTL, frame)
	}
	b := frame[p.L4Off:]
	sum := p.PseudoSum(len(b))
	if tunnel.Type == lvs.TunnelGRE {
		head := 4
		if tunnel.Checksum != 0 {
			if head = 8; b[0] != 0x80 || fold(slowSum(b)) != 0xffff {
				tb.Errorf("GRE without a right checksum: %x", b[:8])
			}
		}
		if p.Proto != packet.ProtoGRE || b[2] != 0x08 && b[2] != 0x86 {
			tb.Errorf("protocol %d, GRE %x", p.Proto, b[:head])
		}
		return b[head:]
	}
	u := packet.UDP(b)
	if p.Proto != packet.ProtoUDP || u.DstPort() != tunnel.Port || u.SrcPort() < 32768 || int(u.Length()) != len(b) {
		tb.Errorf("protocol %d, UDP %x", p.Proto, b[:8])
	}
	if (u.Checksum() == 0) != (tunnel.Checksum == 0) || tunnel.Checksum != 0 && packet.Fold(packet.Sum(b, sum)) != 0 {
		tb.Errorf("UDP checksum %x with %+v", u.Checksum(), tunnel)
	}
	if proto := b[9]; b[8] != 0 || proto != 4 && proto != 41 || b[10] != 0 || b[11] != 0 {
		tb.Errorf("the GUE header is %x", b[8:12])
	}
	return b[12:]
}
