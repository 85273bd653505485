package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"ulvs/lvs"
	"ulvs/packet"
)

// aboutIt proves that an ICMP error embeds the packet it is about, as much of it as fits.
func aboutIt(tb testing.TB, got seen, frame []byte) {
	tb.Helper()
	most := errorMax4 - errorHead4
	if got.src.Addr().Is6() {
		most = errorMax6 - errorHead6
	}
	want := frame[14:]
	want = want[:min(len(want), most)]
	inside := got.payload
	if got.src.Addr().Is6() {
		inside = inside[4:] // gopacket keeps the rest word of ICMPv6 in the payload
	}
	if !bytes.Equal(inside, want) {
		tb.Errorf("the error embeds %d bytes, want the packet's first %d:\n%x\n%x",
			len(inside), len(want), inside[:min(64, len(inside))], want[:min(64, len(want))])
	}
}

func TestASegmentForAClosedPortIsResetWithTheRightNumbers(t *testing.T) {
	for _, c := range []struct {
		name    string
		flags   uint8
		payload int
		seq     uint32
		ack     uint32
		want    uint8
	}{
		{"SYN", packet.TCPSyn, 0, 0, 1001, packet.TCPRst | packet.TCPAck},
		{"SYN with data", packet.TCPSyn, 10, 0, 1011, packet.TCPRst | packet.TCPAck},
		{"ACK", packet.TCPAck, 7, 5000, 0, packet.TCPRst},
		{"FIN with data", packet.TCPFin, 40, 0, 1041, packet.TCPRst | packet.TCPAck},
		{"FIN and ACK", packet.TCPFin | packet.TCPAck, 40, 5000, 0, packet.TCPRst},
		{"SYN and FIN", packet.TCPSyn | packet.TCPFin, 0, 0, 1002, packet.TCPRst | packet.TCPAck},
		{"nothing", 0, 3, 0, 1003, packet.TCPRst | packet.TCPAck},
	} {
		for _, ends := range [][2]string{{client4, "198.18.0.100:81"}, {client6, "[2001:db8:c::100]:81"}} {
			t.Run(c.name+" to "+ends[1], func(t *testing.T) {
				b := hostileBed(t, 1)
				f := seg{src: ends[0], dst: ends[1], flags: c.flags, payload: c.payload}.bytes(t)
				got := b.answered(f, routerMAC, TxReset)
				if got.src.String() != ends[1] || got.dst.String() != ends[0] || got.flags != c.want || got.seq != c.seq ||
					got.ack != c.ack || got.ttl != 64 {
					t.Errorf("answered %+v", got)
				}
			})
		}
	}
}

func TestOnAServicesPortOnlyASYNIsTakenAndTheRestReset(t *testing.T) {
	b := hostileBed(t, 1)
	for _, flags := range []uint8{packet.TCPAck, packet.TCPFin | packet.TCPAck, packet.TCPFin, 0} {
		got := b.answered(seg{src: client4, dst: vip4, flags: flags}.bytes(t), routerMAC, TxReset)
		if got.flags&packet.TCPRst == 0 {
			t.Errorf("flags %#x were answered by %+v", flags, got)
		}
	}
	if n := b.table.Stats().Conns; n != 0 {
		t.Errorf("%d sessions came of it", n)
	}
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn | packet.TCPAck}.bytes(t), 1)
	if n := b.table.Stats().Conns; n != 1 {
		t.Errorf("SYN with ACK (active FTP) made %d sessions, want 1", n)
	}
}

// While peers may be about to tell of sessions, the client is left to send it again. SYNs and closed ports are no
// such case.
func TestNothingOfAnUnknownSessionIsResetWhileSessionsMayCome(t *testing.T) {
	b := hostileBed(t, 1)
	settle := func(on bool) {
		s := *b.snapshots.Load()
		s.Settling = on
		b.snapshots.Store(&s)
	}
	stray := seg{src: client4, dst: vip4, flags: packet.TCPAck}.bytes(t)
	settle(true)
	if got := b.explain(0, stray); got.Verdict != DropUnsynced {
		t.Errorf("explained as %s: %q", got.Verdict, got.Steps)
	}
	b.one(0, stray, 0)
	if n := b.verdict(DropUnsynced); n != 1 {
		t.Errorf("%d segments were dropped as unsynced: %v", n, b.counted())
	}
	b.answered(seg{src: client4, dst: "198.18.0.100:81", flags: packet.TCPAck}.bytes(t), routerMAC, TxReset)
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn}.bytes(t), 1)
	settle(false)
	b.answered(seg{src: "192.0.2.9:999", dst: vip4, flags: packet.TCPAck}.bytes(t), routerMAC, TxReset)
}

func TestAResetIsNeverAnsweredByAReset(t *testing.T) {
	b := hostileBed(t, 1)
	for _, flags := range []uint8{packet.TCPRst, packet.TCPRst | packet.TCPAck, packet.TCPRst | packet.TCPSyn} {
		b.dropped(seg{src: client4, dst: vip4, flags: flags}.bytes(t), DropNoService)
		b.dropped(seg{src: client6, dst: "[2001:db8:c::100]:81", flags: flags}.bytes(t), DropNoService)
	}
}

func TestADatagramForAClosedPortGetsPortUnreachableFromTheVIP(t *testing.T) {
	for _, n := range []int{0, 30, 1400} {
		b := hostileBed(t, 1)
		f := seg{src: client4, dst: "198.18.0.100:81", proto: packet.ProtoUDP, payload: n}.bytes(t)
		got := b.answered(f, routerMAC, TxICMPError)
		if got.icmp != [2]uint8{3, 3} || got.src.Addr().String() != "198.18.0.100" || got.tos != 0xc0 || got.ttl != 64 {
			t.Errorf("IPv4: %+v", got)
		}
		aboutIt(t, got, f[:14+28+n])
		f = seg{src: client6, dst: "[2001:db8:c::100]:81", proto: packet.ProtoUDP, payload: n}.bytes(t)
		got = b.answered(f, routerMAC, TxICMPError)
		if got.icmp != [2]uint8{1, 4} || got.src.Addr().String() != "2001:db8:c::100" || got.ttl != 64 {
			t.Errorf("IPv6: %+v", got)
		}
		aboutIt(t, got, f)
	}
}

func TestWithoutARealServerPortUnreachableComesForTCPToo(t *testing.T) {
	none := service(vip4, lvs.MethodNAT)
	quiesced := service("198.18.0.101:80", lvs.MethodDR, "10.0.0.21:80")
	quiesced.Destinations[0].Weight = 0
	b := newBed(t, bedOptions{heap: true}, none, quiesced, service(vip6, lvs.MethodTUN),
		serviceOf(lvs.ProtoUDP, vip4, lvs.MethodNAT))
	for _, c := range []struct {
		dst   string
		proto uint8
		want  [2]uint8
	}{
		{vip4, 6, [2]uint8{3, 3}}, {"198.18.0.101:80", 6, [2]uint8{3, 3}},
		{vip6, 6, [2]uint8{1, 4}}, {vip4, 17, [2]uint8{3, 3}},
	} {
		src := client4
		if c.dst == vip6 {
			src = client6
		}
		f := seg{src: src, dst: c.dst, proto: c.proto, flags: packet.TCPSyn, payload: 20}.bytes(t)
		got := b.answered(f, routerMAC, TxICMPError)
		if got.icmp != c.want || got.src.Addr() != netip.MustParseAddrPort(c.dst).Addr() {
			t.Errorf("%s: %+v", c.dst, got)
		}
		aboutIt(t, got, f)
	}
	if n := b.table.Stats().Conns; n != 0 {
		t.Errorf("%d sessions came of it", n)
	}
}

func TestWhatNeverPassesTheNextHopIsToldItsMTU(t *testing.T) {
	for _, c := range []struct {
		name, client, vip, real string
		method                  lvs.Method
		fits                    int
	}{
		{"DR", client4, vip4, "10.0.0.21:80", lvs.MethodDR, 1400},
		{"NAT", client4, vip4, "10.0.0.21:8080", lvs.MethodNAT, 1400},
		{"4in4", client4, vip4, "10.0.0.21:80", lvs.MethodTUN, 1380},
		{"4in6", client4, vip4, "[fd00::21]:80", lvs.MethodTUN, 1360},
		{"DR6", client6, vip6, "[fd00::21]:80", lvs.MethodDR, 1400},
		{"NAT6", client6, vip6, "[fd00::21]:8080", lvs.MethodNAT, 1400},
		{"6in6", client6, vip6, "[fd00::21]:80", lvs.MethodTUN, 1360},
		{"6in4", client6, vip6, "10.0.0.21:80", lvs.MethodTUN, 1380},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, bedOptions{heap: true, mtu: 1400}, service(c.vip, c.method, c.real))
			s := seg{src: c.client, dst: c.vip, flags: packet.TCPSyn, df: true}
			head, want := 40, [2]uint8{3, 4}
			if c.client == client6 {
				head, want = 60, [2]uint8{2, 0}
			}
			s.payload = c.fits - head
			if out := b.one(0, s.bytes(t), 1)[0]; out.Port != 1 {
				t.Fatalf("%d bytes were not forwarded: %v", c.fits, b.counted())
			}
			s.payload++
			got := b.answered(s.bytes(t), routerMAC, TxICMPError)
			mtu := got.rest
			if c.client == client6 {
				mtu = uint32(got.payload[2])<<8 | uint32(got.payload[3])
			}
			if got.icmp != want || int(mtu) != c.fits || got.src.Addr() != netip.MustParseAddrPort(c.vip).Addr() {
				t.Errorf("%d bytes: %+v, MTU %d, want %d", c.fits+1, got, mtu, c.fits)
			}
			s.ttl = 63 // ip_vs_xmit.c takes it down before it looks at the MTU
			aboutIt(t, got, s.bytes(t))
		})
	}
}

func TestATooBigReplyOfARealServerIsToldTheClientSidesMTU(t *testing.T) {
	b := newBed(t, bedOptions{heap: true, mtu: 1400}, service(vip4, lvs.MethodNAT, "10.0.0.21:80"))
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn}.bytes(t), 1)
	reply := seg{
		src: "10.0.0.21:80", dst: client4, flags: packet.TCPAck, payload: 1400, df: true,
		srcMAC: realMAC(21), dstMAC: portMACs[1],
	}
	out := b.one(1, reply.bytes(t), 1)[0]
	got := decode(t, out.Data)
	if out.Port != 1 || got.dstMAC != realMAC(21) || got.icmp != [2]uint8{3, 4} || got.rest != 1400 ||
		got.dst.Addr().String() != "10.0.0.21" {
		t.Errorf("on port %d: %+v", out.Port, got)
	}
	b.check()
}

func TestTTLOfTwoIsForwardedAsOneAndOneIsNot(t *testing.T) {
	for _, name := range []string{"TCP", "TCP6", "NAT", "TUN", "UDP", "UDP6"} {
		b := hostileBed(t, 1)
		f := goodFrames(t)[name]
		at := 22
		if f[12] == 0x86 {
			at = 21
		}
		if got := decode(t, b.one(0, mendIf4(spoil(f, at, 2)), 1)[0].Data); got.ttl != 1 {
			t.Errorf("%s: TTL 2 came out as %d", name, got.ttl)
		}
		one := mendIf4(spoil(f, at, 1))
		got := b.answered(one, routerMAC, TxICMPError)
		if want := map[bool][2]uint8{true: {11, 0}, false: {3, 0}}[at == 22]; got.icmp != want {
			t.Errorf("%s: TTL 1 was answered by %v", name, got.icmp)
		}
		aboutIt(t, got, one)
	}
}

func mendIf4(b []byte) []byte {
	if b[12] == 8 {
		return mend(b)
	}
	return b
}

func TestAnErrorThatFindsNoHeadroomIsADrop(t *testing.T) {
	b := hostileBed(t, 1)
	var p packet.Parsed
	f := seg{src: client4, dst: "198.18.0.100:81", proto: packet.ProtoUDP, payload: 5}.bytes(t)
	if err := packet.Parse(f, &p); err != 0 {
		t.Fatal(err)
	}
	b.worker.begin(b.now)
	frame := packet.Frame{Buf: append([]byte(nil), f...), Len: uint16(len(f))}
	if v := b.worker.portUnreachable(&frame, &p); v != DropNoService {
		t.Errorf("the verdict is %s", v)
	}
	if !bytes.Equal(frame.Bytes(), f) {
		t.Error("the frame was touched")
	}
}
