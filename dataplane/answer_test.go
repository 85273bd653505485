package dataplane

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// echo makes an echo request with n bytes of payload.
func echo(tb testing.TB, src, dst string, n int) []byte {
	tb.Helper()
	from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	payload := gopacket.Payload(bytes.Repeat([]byte{0xa5}, n))
	if from.Is4() {
		return icmpFrame(tb, from, to, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 7, Seq: 9}, payload)
	}
	return icmpFrame(tb, from, to, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)},
		&layers.ICMPv6Echo{Identifier: 7, SeqNumber: 9}, payload)
}

func icmpFrame(tb testing.TB, src, dst netip.Addr, l ...gopacket.SerializableLayer) []byte {
	tb.Helper()
	s := seg{ttl: 33, proto: packet.ProtoICMP}
	eth := &layers.Ethernet{SrcMAC: routerMAC[:], DstMAC: portMACs[0][:], EthernetType: layers.EthernetTypeIPv4}
	if src.Is6() {
		s.proto, eth.EthernetType = packet.ProtoICMPv6, layers.EthernetTypeIPv6
		if _, ok := l[1].(*layers.ICMPv6NeighborSolicitation); ok {
			s.ttl = 255
		}
	}
	ip := s.ipLayer(src, dst)
	if m, ok := l[0].(*layers.ICMPv6); ok {
		_ = m.SetNetworkLayerForChecksum(ip)
	}
	buf := gopacket.NewSerializeBuffer()
	all := append([]gopacket.SerializableLayer{eth, ip.(gopacket.SerializableLayer)}, l...)
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, all...); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func solicit(tb testing.TB, src, target string, opts ...layers.ICMPv6Option) []byte {
	tb.Helper()
	to := netip.MustParseAddr(target)
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	t16 := to.As16()
	copy(group[13:], t16[13:])
	return icmpFrame(tb, netip.MustParseAddr(src), netip.AddrFrom16(group),
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(135, 0)},
		&layers.ICMPv6NeighborSolicitation{TargetAddress: net.IP(t16[:]), Options: opts})
}

// answered proves that one frame left by the port it came on, to mac, from the port's own.
func (b *bed) answered(frame []byte, mac packet.MAC, verdict Verdict) seen {
	b.tb.Helper()
	before := b.worker.Stats().Verdict(verdict)
	out := b.one(0, frame, 1)[0]
	got := decode(b.tb, out.Data)
	if out.Port != 0 || got.dstMAC != mac || got.srcMAC != portMACs[0] {
		b.tb.Errorf("answered on port %d from %x to %x, want port 0 from %x to %x",
			out.Port, got.srcMAC, got.dstMAC, portMACs[0], mac)
	}
	if n := b.worker.Stats().Verdict(verdict); n != before+1 {
		b.tb.Errorf("not counted as %s: %v", verdict, b.counted())
	}
	b.check()
	return got
}

// dropped proves that nothing comes of a frame but one count.
func (b *bed) dropped(frame []byte, verdict Verdict) {
	b.tb.Helper()
	before := b.worker.Stats().Verdict(verdict)
	b.one(0, frame, 0)
	if n := b.worker.Stats().Verdict(verdict); n != before+1 {
		b.tb.Errorf("not counted as %s: %v", verdict, b.counted())
	}
	b.check()
}

func (b *bed) noticed() []Notice {
	var all []Notice
	for len(b.notices) > 0 {
		all = append(all, <-b.notices)
	}
	return all
}

func TestARPForAVIPIsAnsweredWithThePortsMAC(t *testing.T) {
	for _, tag := range [][]byte{nil, {0x81, 0, 0, 42}} {
		b := hostileBed(t, 1)
		f := arpFrame(1, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, 101})
		f = append(append(append([]byte(nil), f[:12]...), tag...), f[12:]...)
		out := b.one(0, f, 1)[0].Data
		p := gopacket.NewPacket(out, layers.LayerTypeEthernet, gopacket.Default)
		a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if !ok || a.Operation != 2 || packet.MAC(a.SourceHwAddress) != portMACs[0] ||
			packet.MAC(a.DstHwAddress) != routerMAC || [4]byte(a.SourceProtAddress) != [4]byte{198, 18, 0, 101} ||
			[4]byte(a.DstProtAddress) != [4]byte{192, 0, 2, 254} {
			t.Errorf("answered %v", p)
		}
		if got := decode(t, out); got.dstMAC != routerMAC || got.srcMAC != portMACs[0] || (got.vlan == 42) != (tag != nil) {
			t.Errorf("sent as %+v", got)
		}
		b.check()
	}
}

func TestWhoAsksForAVIPIsMadeKnownOnce(t *testing.T) {
	b := hostileBed(t, 1)
	stranger := arpFrame(1, [4]byte{192, 0, 2, 7}, [4]byte{198, 18, 0, 100})
	b.one(0, stranger, 1)
	got := b.noticed()
	want := HopKey{Port: 0, Addr: netip.MustParseAddr("192.0.2.7")}
	if len(got) != 1 || got[0].Kind != NoticeLearn || got[0].Hop != want || got[0].MAC != routerMAC {
		t.Errorf("noticed %+v, want that %v is at %x", got, want, routerMAC)
	}
	b.one(0, arpFrame(1, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, 100}), 1)
	if got := b.noticed(); len(got) != 0 {
		t.Errorf("the known router was noticed again: %+v", got)
	}
	b.one(0, arpFrame(1, [4]byte{}, [4]byte{198, 18, 0, 100}), 1)
	if got := b.noticed(); len(got) != 0 {
		t.Errorf("a probe told something of itself: %+v", got)
	}
	b.one(0, spoil(stranger, 22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1)
	if got := b.noticed(); len(got) != 0 {
		t.Errorf("a group address was taken for somebody's: %+v", got)
	}
}

func TestARPForOthersIsDropped(t *testing.T) {
	b := hostileBed(t, 1)
	b.dropped(arpFrame(1, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, 99}), DropARP)
	b.dropped(arpFrame(2, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, 100}), DropARP)
	b.dropped(arpFrame(1, [4]byte{192, 0, 2, 254}, [4]byte{192, 0, 2, 254}), DropARP) // gratuitous
	b.dropped(arpFrame(7, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, 100}), DropARP)
}

func TestNeighbourSolicitationsForAVIPAreAnswered(t *testing.T) {
	b := hostileBed(t, 1)
	other := packet.MAC{2, 9, 9, 9, 9, 9}
	option := layers.ICMPv6Option{Type: layers.ICMPv6OptSourceAddress, Data: other[:]}
	f := solicit(t, "2001:db8::99", "2001:db8:c::100", option)
	got := b.answered(f, other, TxND)
	if got.src.Addr().String() != "2001:db8:c::100" || got.dst.Addr().String() != "2001:db8::99" || got.ttl != 255 ||
		got.icmp != [2]uint8{136, 0} {
		t.Errorf("answered %+v", got)
	}
	// flags S and O, target, option 2 with our MAC
	want := append([]byte{0x60, 0, 0, 0}, f[62:78]...)
	want = append(append(want, 2, 1), portMACs[0][:]...)
	if !bytes.Equal(got.payload, want) {
		t.Errorf("the advertisement is %x, want %x", got.payload, want)
	}
	asker := HopKey{Port: 0, Addr: netip.MustParseAddr("2001:db8::99")}
	if n := b.noticed(); len(n) != 1 || n[0].Kind != NoticeLearn || n[0].MAC != other || n[0].Hop != asker {
		t.Errorf("noticed %+v", n)
	}
	if got := b.answered(solicit(t, "2001:db8::99", "2001:db8:c::100"), routerMAC, TxND); got.icmp != [2]uint8{136, 0} {
		t.Errorf("without an option: %+v", got)
	}
}

func TestDuplicateAddressDetectionIsAnsweredToEverybody(t *testing.T) {
	b := hostileBed(t, 1)
	got := b.answered(solicit(t, "::", "2001:db8:c::101"), packet.MAC{0x33, 0x33, 0, 0, 0, 1}, TxND)
	if got.dst.Addr().String() != "ff02::1" || got.payload[0] != 0x20 {
		t.Errorf("answered to %v with flags %x, want ff02::1 and only O", got.dst, got.payload[0])
	}
	if n := b.noticed(); len(n) != 0 {
		t.Errorf("noticed %+v", n)
	}
}

func TestSolicitationsThatARouterForwardedOrThatAreDamagedAreNot(t *testing.T) {
	b := hostileBed(t, 1)
	good := solicit(t, "2001:db8::99", "2001:db8:c::100")
	b.dropped(spoil(good, 21, 254), DropICMP)        // hop limit
	b.dropped(spoil(good, 56, good[56]^1), DropICMP) // checksum
	b.dropped(spoil(good, 55, 1), DropICMP)          // code
	b.dropped(solicit(t, "2001:db8::99", "2001:db8:c::99"), DropICMP)
	zero := layers.ICMPv6Option{Type: layers.ICMPv6OptSourceAddress, Data: routerMAC[:]}
	f := solicit(t, "2001:db8::99", "2001:db8:c::100", zero)
	b.dropped(spoil(f, 79, 0), DropICMP) // an option of length 0
}

func TestEchoToAVIPComesBackAsItWas(t *testing.T) {
	for _, c := range []struct {
		src, vip string
		n        int
		reply    uint8
	}{
		{"192.0.2.1", "198.18.0.100", 56, 0}, {"192.0.2.1", "198.18.0.102", 0, 0}, {"192.0.2.1", "198.18.0.100", 1472, 0},
		{"192.0.2.1", "198.18.0.100", 3, 0}, {"2001:db8::1", "2001:db8:c::100", 56, 129},
		{"2001:db8::1", "2001:db8:c::102", 1, 129},
	} {
		b := hostileBed(t, 1)
		f := echo(t, c.src, c.vip, c.n)
		got := b.answered(f, routerMAC, TxEcho)
		if got.icmp != [2]uint8{c.reply, 0} || got.src.Addr().String() != c.vip ||
			got.dst.Addr().String() != c.src || got.ttl != 64 {
			t.Errorf("%s answered %+v", c.vip, got)
		}
		if !bytes.Contains(got.payload, bytes.Repeat([]byte{0xa5}, c.n)) {
			t.Errorf("%s: the payload is not what was sent", c.vip)
		}
	}
}

func TestOtherICMPIsDropped(t *testing.T) {
	b := hostileBed(t, 1)
	f := echo(t, "192.0.2.1", "198.18.0.100", 8)
	b.dropped(echo(t, "192.0.2.1", "198.18.0.99", 8), DropNoRoute)
	for _, kind := range []byte{0, 5, 13, 17, 30} {
		b.dropped(spoil(f, 34, kind), DropICMP)
	}
}

func TestAnswersOfOurOwnAreLimitedPerSecondAndEchoIsNot(t *testing.T) {
	b := newBed(t, bedOptions{heap: true, frames: 2048}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	closed := seg{src: client4, dst: "198.18.0.100:81", flags: packet.TCPSyn}.bytes(t)
	perTick := uint64(answersPerSecond / conntrack.TicksPerSecond)
	for range 2 {
		for range 200 {
			b.send(0, closed)
		}
		b.now++
	}
	s := b.worker.Stats()
	if s.Verdict(TxReset) != 2*perTick || s.Verdict(DropAnswerLimit) != 400-2*perTick {
		t.Errorf("in two ticks: %v, want %d resets", b.counted(), 2*perTick)
	}
	for range 200 {
		b.one(0, echo(t, "192.0.2.1", "198.18.0.100", 8), 1)
	}
	b.check()
	testutil.AllocFree(t, func() { b.worker.RunOnce(b.now) })
}
