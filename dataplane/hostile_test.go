package dataplane

import (
	"encoding/binary"
	"fmt"
	"maps"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

const (
	vip4, vip6       = "198.18.0.100:80", "[2001:db8:c::100]:80"
	client4, client6 = "192.0.2.1:40000", "[2001:db8::1]:40000"
)

// hostileBed has a service of each method and family, and a closed port on each VIP.
func hostileBed(tb testing.TB, workers int) *bed {
	nat := service("198.18.0.101:80", lvs.MethodNAT, "10.0.0.22:8080")
	tun := service("198.18.0.102:80", lvs.MethodTUN, "10.0.0.23:80")
	udp := serviceOf(lvs.ProtoUDP, vip4, lvs.MethodNAT, "10.0.0.24:80")
	gue := service("198.18.0.103:80", lvs.MethodTUN, "10.0.0.25:80")
	gue.Destinations[0].Tunnel = lvs.Tunnel{Type: lvs.TunnelGUE, Port: 6080, Checksum: lvs.TunnelChecksum}
	gre := service("198.18.0.104:80", lvs.MethodTUN, "[fd00::26]:80")
	gre.Destinations[0].Tunnel = lvs.Tunnel{Type: lvs.TunnelGRE, Checksum: lvs.TunnelChecksum}
	return newBed(tb, bedOptions{heap: true, workers: workers},
		service(vip4, lvs.MethodDR, "10.0.0.21:80"), nat, tun, udp, gue, gre, service(vip6, lvs.MethodDR, "[fd00::21]:80"),
		service("[2001:db8:c::101]:80", lvs.MethodNAT, "[fd00::22]:8080"),
		service("[2001:db8:c::102]:80", lvs.MethodTUN, "[fd00::23]:80"),
		serviceOf(lvs.ProtoUDP, vip6, lvs.MethodNAT, "[fd00::24]:8080"))
}

func syn4(tb testing.TB) []byte {
	return seg{src: client4, dst: vip4, flags: packet.TCPSyn, payload: 24}.bytes(tb)
}

func syn6(tb testing.TB) []byte {
	return seg{src: client6, dst: vip6, flags: packet.TCPSyn, payload: 24}.bytes(tb)
}

// mend computes the IPv4 header checksum anew, the slow way, if there is a header.
func mend(b []byte) []byte {
	n := 20
	if len(b) > 14 {
		n = int(b[14]&15) * 4
	}
	if len(b) < 14+max(n, 20) {
		return b
	}
	b[24], b[25] = 0, 0
	binary.BigEndian.PutUint16(b[24:], ^uint16(fold(slowSum(b[14:14+n]))))
	return b
}

// spoil returns a copy of b with bytes changed at off.
func spoil(b []byte, off int, with ...byte) []byte {
	b = append([]byte(nil), b...)
	copy(b[off:], with)
	return b
}

// ext puts extension headers into an IPv6 frame: chain starts with a header of protocol
// first and ends with one whose next header is what the frame had.
func ext(b []byte, first byte, chain ...byte) []byte {
	out := append([]byte(nil), b[:54]...)
	out = append(append(out, chain...), b[54:]...)
	out[20] = first
	binary.BigEndian.PutUint16(out[18:], uint16(len(out)-54))
	return out
}

func arpFrame(op byte, sender, target [4]byte) []byte {
	b := make([]byte, 60)
	for i := range 6 {
		b[i] = 0xff
	}
	copy(b[6:], routerMAC[:])
	copy(b[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, op})
	copy(b[22:], routerMAC[:])
	copy(b[28:], sender[:])
	copy(b[38:], target[:])
	return b
}

type hostile struct {
	why   packet.Error
	frame []byte
}

func hostileL2(tb testing.TB) []hostile {
	s4, s6 := syn4(tb), syn6(tb)
	tagged := seg{src: client4, dst: vip4, flags: packet.TCPSyn, vlan: 9}.bytes(tb)
	arp := arpFrame(1, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, 100})
	return []hostile{
		{packet.ErrFrameShort, s4[:13]}, {packet.ErrFrameShort, tagged[:17]}, {packet.ErrFrameShort, nil},
		{packet.ErrVLANStacked, spoil(tagged, 16, 0x81, 0x00)}, {packet.ErrVLANStacked, spoil(tagged, 12, 0x88, 0xa8)},
		{packet.ErrVLANStacked, spoil(tagged, 16, 0x88, 0xa8)},
		{packet.ErrEtherType, spoil(s4, 12, 0x88, 0xcc)}, {packet.ErrEtherType, spoil(s4, 12, 0, 40)},
		{packet.ErrARPShort, arp[:41]}, {packet.ErrARPFormat, spoil(arp, 14, 0, 6)}, {packet.ErrARPFormat, spoil(arp, 18, 8)},
		{packet.ErrIPShort, s4[:33]}, {packet.ErrIPShort, s6[:53]}, {packet.ErrIPShort, tagged[:37]},
		{packet.ErrIPVersion, spoil(s4, 14, 0x65)}, {packet.ErrIPVersion, spoil(s6, 14, 0x40)},
	}
}

func hostileIP(tb testing.TB) []hostile {
	s4, s6 := syn4(tb), syn6(tb)
	pad := []byte{1, 4, 0, 0, 0, 0}
	again := append([]byte{60, 0}, pad...)
	nine := append([]byte(nil), append([]byte{6, 0}, pad...)...)
	for range 8 {
		nine = append(append([]byte(nil), again...), nine...)
	}
	return []hostile{
		{packet.ErrIPHeaderLength, spoil(s4, 14, 0x44)}, {packet.ErrIPHeaderLength, spoil(s4, 14, 0x40)},
		{packet.ErrIPHeaderLength, spoil(s4[:60], 14, 0x4f)},
		{packet.ErrIPTotalLength, mend(spoil(s4, 16, 0x05, 0xdc))}, {packet.ErrIPTotalLength, mend(spoil(s4, 16, 0, 19))},
		{packet.ErrIPTotalLength, mend(spoil(s4, 16, 0, 0))}, {packet.ErrIPTotalLength, spoil(s6, 18, 0xff, 0xff)},
		{packet.ErrIPJumbo, spoil(s6, 18, 0, 0, 0)},
		{packet.ErrIPChecksum, spoil(s4, 24, s4[24]^1)}, {packet.ErrIPChecksum, spoil(s4, 24, 0, 0)},
		{packet.ErrMartian, mend(spoil(s4, 26, 127, 0, 0, 1))}, {packet.ErrMartian, mend(spoil(s4, 26, 224, 0, 0, 1))},
		{packet.ErrMartian, mend(spoil(s4, 26, 255, 255, 255, 255))}, {packet.ErrMartian, mend(spoil(s4, 26, 0, 0, 0, 0))},
		{packet.ErrMartian, spoil(s6, 22, 0xff, 2)}, {packet.ErrMartian, spoil(s6, 22, make([]byte, 16)...)},
		{packet.ErrExtHeaderChain, ext(s6, 60, 6, 200, 1, 4, 0, 0, 0, 0)}, {packet.ErrExtHeaderChain, ext(s6, 60, nine...)},
		{packet.ErrExtHeaderChain, ext(s6, 60, append([]byte{0, 0}, append(pad, append([]byte{6, 0}, pad...)...)...)...)},
		{packet.ErrExtHeaderRouting, ext(s6, 43, 6, 0, 0, 1, 0, 0, 0, 0)},
	}
}

func hostileL4(tb testing.TB) []hostile {
	s4, s6 := syn4(tb), syn6(tb)
	udp := seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 30}.bytes(tb)
	return []hostile{
		{packet.ErrFragmentBad, mend(spoil(s4, 20, 0x1f, 255))},
		{packet.ErrFragmentBad, ext(s6, 44, 6, 0, 0xff, 0xf8, 0, 0, 0, 1)},
		{packet.ErrL4Short, mend(spoil(s4, 16, 0, 39))}, {packet.ErrL4Short, mend(spoil(udp, 16, 0, 27))},
		{packet.ErrL4Short, mend(spoil(s4, 16, 0, 20))}, {packet.ErrL4Short, spoil(s6, 18, 0, 19)},
	}
}

func allHostile(tb testing.TB) []hostile {
	return append(append(hostileL2(tb), hostileIP(tb)...), hostileL4(tb)...)
}

func TestEachBadFrameReachesItsCounterAndNothingElse(t *testing.T) {
	seen := map[packet.Error]bool{}
	for i, h := range allHostile(t) {
		seen[h.why] = true
		t.Run(fmt.Sprintf("%d/%s", i, h.why), func(t *testing.T) {
			first := hostileBed(t, 2)
			for _, b := range []*bed{first, first.peer(1, 2)} {
				for port := range uint8(2) {
					if out := b.send(port, h.frame); len(out) != 0 {
						t.Errorf("%d frames came out: %x", len(out), out[0].Data)
					}
				}
				if got, want := b.counted(), map[string]uint64{"bad_" + h.why.String(): 2}; !maps.Equal(got, want) {
					t.Errorf("counted %v, want %v\n%x", got, want, h.frame)
				}
				b.check()
			}
			if n := first.table.Stats().Conns; n != 0 || len(first.notices) != 0 {
				t.Errorf("%d sessions and %d notices came of it", n, len(first.notices))
			}
		})
	}
	for e := packet.ErrNone + 1; int(e) < packet.NumErrors; e++ {
		if !seen[e] {
			t.Errorf("no frame here is refused as %s", e)
		}
	}
}

// goodFrames are right, one of each kind that the pipeline handles, and end where their
// packet ends.
func goodFrames(tb testing.TB) map[string][]byte {
	good := map[string][]byte{
		"TCP": syn4(tb), "TCP6": syn6(tb), "NAT": seg{src: client4, dst: "198.18.0.101:80", flags: packet.TCPSyn}.bytes(tb),
		"TUN":    seg{src: client4, dst: "198.18.0.102:80", flags: packet.TCPSyn, payload: 5}.bytes(tb),
		"UDP":    seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 5}.bytes(tb),
		"UDP6":   seg{src: client6, dst: vip6, proto: packet.ProtoUDP, payload: 5}.bytes(tb),
		"tagged": seg{src: client4, dst: vip4, flags: packet.TCPSyn, vlan: 5, payload: 30}.bytes(tb),
		"closed": seg{src: client4, dst: "198.18.0.100:81", flags: packet.TCPSyn}.bytes(tb),
		"ARP":    arpFrame(1, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, 100})[:42],
		"echo":   echo(tb, "192.0.2.1", "198.18.0.100", 20), "echo6": echo(tb, "2001:db8::1", "2001:db8:c::100", 20),
		"options": ext(syn6(tb), 60, 6, 0, 1, 4, 0, 0, 0, 0),
	}
	for name, f := range good {
		var p packet.Parsed
		if err := packet.Parse(f, &p); err != 0 {
			tb.Fatalf("%s: %s", name, err)
		}
		if p.Kind != packet.KindARP {
			good[name] = f[:p.L3Off+p.TotalLen]
		}
	}
	return good
}

func TestAFrameCutAnywhereIsRefused(t *testing.T) {
	for name, f := range goodFrames(t) {
		t.Run(name, func(t *testing.T) {
			b := hostileBed(t, 1)
			for n := range f {
				b.now++
				if out := b.send(0, f[:n]); len(out) != 0 {
					t.Fatalf("cut to %d of %d bytes, it still made %x", n, len(f), out[0].Data)
				}
			}
			bad := uint64(0)
			for e := range packet.Error(packet.NumErrors) {
				bad += b.worker.Stats().Verdict(ParseVerdict(e))
			}
			if bad != uint64(len(f)) {
				t.Errorf("%d of %d cut frames were refused: %v", bad, len(f), b.counted())
			}
			b.check()
			b.one(0, f, 1)
			b.check()
		})
	}
}

func TestPaddingBehindThePacketIsNotForwarded(t *testing.T) {
	for _, name := range []string{"TCP", "TCP6", "NAT", "TUN", "UDP", "UDP6", "tagged"} {
		f := goodFrames(t)[name]
		b := hostileBed(t, 1)
		plain := b.one(0, f, 1)[0].Data
		padded := b.one(0, append(append([]byte(nil), f...), make([]byte, 30)...), 1)[0].Data
		if len(plain) != len(padded) {
			t.Errorf("%s: %d bytes came out of a padded frame, want %d", name, len(padded), len(plain))
		}
	}
}

func TestLyingLengthsAreNeverBelievedPastTheFrame(t *testing.T) {
	b := hostileBed(t, 1)
	for _, name := range []string{"TCP", "NAT", "TUN", "UDP", "closed", "echo"} {
		f := goodFrames(t)[name]
		for total := range len(f) + 40 {
			out := b.send(0, mend(spoil(f, 16, byte(total>>8), byte(total))))
			if total > len(f)-14 && len(out) != 0 {
				t.Errorf("%s with total length %d of %d was forwarded", name, total, len(f)-14)
			}
			b.now++
		}
		for v := range 256 {
			b.send(0, mend(spoil(f, 14, byte(v)))) // version and IHL
			b.send(0, spoil(f, 46, byte(v)))       // TCP's data offset, UDP's checksum
			b.send(0, spoil(f, 38, byte(v)))       // UDP's length
			b.now++
		}
		b.check()
	}
}

func TestFramesOfRandomBytesAndOfRandomDamageAreAllAccountedFor(t *testing.T) {
	rng := testutil.Rand(t)
	b := hostileBed(t, 1)
	var good [][]byte
	for _, f := range goodFrames(t) {
		good = append(good, f)
	}
	for round := range 400 {
		for range BatchSize {
			f := make([]byte, rng.IntN(120))
			if rng.IntN(4) > 0 {
				f = append([]byte(nil), good[rng.IntN(len(good))]...)
			}
			for range rng.IntN(6) {
				if len(f) > 0 {
					f[rng.IntN(len(f))] = byte(rng.Uint32())
				}
			}
			if rng.IntN(2) == 0 {
				f = mend(f)
			}
			port := uint8(rng.IntN(2))
			b.queue.Inject(port, forPort(port, f))
		}
		b.send(0)
		b.now++
		if round%50 == 0 {
			b.check()
		}
	}
	b.check()
	if n := b.worker.Stats().Verdict(DropInternal); n != 0 {
		t.Errorf("%d frames met no decision", n)
	}
}
