package packet

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"ulvs/internal/testutil"
)

// RFC 1071 section 3: 0001 f203 f4f5 f6f7 sum to ddf2 in network order.
func TestSumOfTheRFC1071Example(t *testing.T) {
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := WirePort(uint16(^Fold(Sum(b, 0)))); got != 0xddf2 {
		t.Errorf("sum is %04x, want ddf2", got)
	}
}

// RFC 1624 section 4: the header whose checksum dd2f goes to 0000, not ffff,
// when a word goes from 5555 to 3285.
func TestDeltaOfTheRFC1624Example(t *testing.T) {
	c := Checksum(WirePort(0xdd2f))
	if got := c.Apply(Delta(0).Change16(WirePort(0x5555), WirePort(0x3285))); got != 0 {
		t.Errorf("checksum is %04x, want 0000", uint16(got))
	}
}

func TestSumEqualsTheSlowSumForEveryLength(t *testing.T) {
	r := testutil.Rand(t)
	for n := range 300 {
		b := randomBytes(r, n)
		if got, want := WirePort(uint16(^Fold(Sum(b, 0)))), slowSum(b); got != want {
			t.Errorf("%d bytes sum to %04x, want %04x: %x", n, got, want, b)
		}
	}
}

func TestSumOfFFsAndOfTheHighestInitialValueDoesNotOverflow(t *testing.T) {
	b := make([]byte, 65535)
	for i := range b {
		b[i] = 0xff
	}
	if s := Sum(b, ^uint32(0)); s >= 1<<17 {
		t.Errorf("partial sum %x is not below 1<<17", s)
	}
	if got, want := WirePort(uint16(^Fold(Sum(b, 0)))), slowSum(b); got != want {
		t.Errorf("sum is %04x, want %04x", got, want)
	}
}

func TestASumMayBeTakenInPieces(t *testing.T) {
	r := testutil.Rand(t)
	b := randomBytes(r, 101)
	for cut := 0; cut < len(b); cut += 2 {
		if got, want := Fold(Sum(b[cut:], Sum(b[:cut], 0))), Fold(Sum(b, 0)); got != want {
			t.Fatalf("cut at %d: %04x, want %04x", cut, got, want)
		}
	}
}

// A real SYN, recorded on a kernel (conformance/malformed.json): its checksums hold.
func TestRecordedChecksumsAreRight(t *testing.T) {
	b := hexBytes(t, "45000028bbe440004006f673c0000201c6120064bbe40050000003e8000000005002ffff674e0000")
	h := IPv4(b)
	if !h.ChecksumOK() {
		t.Error("the IPv4 header's checksum does not hold")
	}
	if Fold(Sum(h.Payload(), PseudoV4(h.AddrWire(), ProtoTCP, 20))) != 0 {
		t.Error("the TCP checksum does not hold")
	}
	TCP(h.Payload()).UpdateChecksum(PseudoV4(h.AddrWire(), ProtoTCP, 20))
	if got := TCP(h.Payload()).Checksum(); got != Checksum(WirePort(0x674e)) {
		t.Errorf("recomputed TCP checksum is %04x", got)
	}
}

// Recorded in conformance/icmp6_nat.json.
func TestRecordedIPv6ChecksumsAreRight(t *testing.T) {
	for name, text := range map[string]string{
		"tcp": "6000000000140640 20010db8007700000000000000000005 20010db8000c00000000000000000100" +
			"9c400050000003e8000000005002ffffb2700000",
		"udp": "6000000000091140 20010db8007700000000000000000005 20010db8000c00000000000000000100" +
			"14e9003500091cc471",
		"icmp": "6000000000113a40 20010db8007700000000000000000005 20010db8000c00000000000000000100" +
			"8000610e0001000170696e672064617461",
	} {
		h := IPv6(hexBytes(t, text))
		src, dst := h.SrcWire(), h.DstWire()
		pseudo := PseudoV6(&[4]uint64{src[0], src[1], dst[0], dst[1]}, h.NextHeader(), int(h.PayloadLen()))
		if Fold(Sum(h.Payload(), pseudo)) != 0 {
			t.Errorf("the %s checksum does not hold", name)
		}
	}
}

func TestThePseudoHeaderIsSummedAsIfItWereBytes(t *testing.T) {
	r := testutil.Rand(t)
	for range 1000 {
		addr := [4]uint64{r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()}
		length := r.IntN(65536)
		v4 := binary.LittleEndian.AppendUint64(nil, addr[0])
		v4 = binary.BigEndian.AppendUint16(append(v4, 0, 17), uint16(length))
		if Fold(PseudoV4(addr[0], 17, length)) != Fold(Sum(v4, 0)) {
			t.Fatalf("IPv4 %x length %d", addr[0], length)
		}
		var v6 []byte
		for _, a := range addr {
			v6 = binary.LittleEndian.AppendUint64(v6, a)
		}
		v6 = append(binary.BigEndian.AppendUint32(v6, uint32(length)), 0, 0, 0, 58)
		if Fold(PseudoV6(&addr, 58, length)) != Fold(Sum(v6, 0)) {
			t.Fatalf("IPv6 %x length %d", addr, length)
		}
	}
}

func TestPseudoSumFollowsTheFamily(t *testing.T) {
	for name, frame := range map[string][]byte{"v4": udp4().frame(), "v6": udp6().frame()} {
		var p Parsed
		if err := Parse(frame, &p); err != ErrNone {
			t.Fatal(err)
		}
		l4 := UDP(frame[p.L4Off:])
		l4.UpdateChecksum(p.PseudoSum(len(l4)))
		if Fold(Sum(l4, p.PseudoSum(len(l4)))) != 0 {
			t.Errorf("%s: the computed checksum does not hold", name)
		}
	}
}

func TestDeltasOfAllWidthsEqualRecomputing(t *testing.T) {
	r := testutil.Rand(t)
	for range 10_000 {
		was, now := randomBytes(r, 40), randomBytes(r, 40)
		d := Delta(0).Change16(le16(was), le16(now)).Change32(le32(was[4:]), le32(now[4:])).
			Change64(le64(was[8:]), le64(now[8:])).Change128(wire128(was[16:]), wire128(now[16:]))
		copy(now[2:4], was[2:4])
		copy(now[32:], was[32:])
		if got, want := Fold(Sum(was, 0)).Apply(d), Fold(Sum(now, 0)); got != want {
			t.Fatalf("delta gives %04x, recomputing %04x\n%x\n%x", got, want, was, now)
		}
	}
}

func TestAWrongChecksumStaysWrongByAsMuch(t *testing.T) {
	h := IPv4(tcp4().packet())
	h.SetChecksum(h.Checksum() + 1)
	h.ChangeDst(h.DstWire() + 5)
	if h.ChecksumOK() {
		t.Error("the delta repaired what was broken")
	}
	h.SetChecksum(h.Checksum() - 1)
	if !h.ChecksumOK() {
		t.Error("the delta added an error of its own")
	}
}

func TestUDPZeroRules(t *testing.T) {
	if got := Checksum(0).ApplyUDP(Delta(0).Change16(1, 2)); got != 0 {
		t.Errorf("no checksum became %04x", got)
	}
	c := Checksum(WirePort(0xdd2f))
	if got := c.ApplyUDP(Delta(0).Change16(WirePort(0x5555), WirePort(0x3285))); got != 0xffff {
		t.Errorf("a delta to zero gives %04x, want ffff", uint16(got))
	}
	back := Checksum(0xffff).ApplyUDP(Delta(0).Change16(WirePort(0x3285), WirePort(0x5555)))
	if back != c {
		t.Errorf("and back gives %04x, want %04x", uint16(back), uint16(c))
	}
	if got := FoldUDP(0xffff); got != 0xffff {
		t.Errorf("a computed zero is sent as %04x, want ffff", uint16(got))
	}
	if got := FoldUDP(1); got != 0xfffe {
		t.Errorf("a sum of 1 is sent as %04x, want fffe", uint16(got))
	}
}

func TestDecTTLEqualsRecomputingForEveryTTL(t *testing.T) {
	r := testutil.Rand(t)
	for ttl := 1; ttl < 256; ttl++ {
		for range 300 {
			h := IPv4(tcp4().withTTL(uint8(ttl)).packet())
			h.SetID(uint16(r.Uint32()))
			h.UpdateChecksum()
			DecTTL(h)
			if h.TTL() != uint8(ttl-1) {
				t.Fatalf("TTL %d became %d", ttl, h.TTL())
			}
			got := h.Checksum()
			if h.UpdateChecksum(); got != h.Checksum() {
				t.Fatalf("TTL %d: delta gives %04x, recomputing %04x", ttl, got, h.Checksum())
			}
		}
	}
}

func TestNothingOnTheHotPathAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates on its own")
	}
	frames := seedFrames()
	var p Parsed
	got := testing.AllocsPerRun(100, func() {
		for _, f := range frames {
			_ = Parse(f, &p)
			_ = ParseInner(f, &p)
		}
	})
	if got != 0 {
		t.Errorf("Parse of all test frames allocates %v times", got)
	}
	h := IPv4(tcp4().packet())
	got = testing.AllocsPerRun(100, func() {
		h.SetTTL(9)
		DecTTL(h)
		h.ChangeSrc(h.SrcWire() + 1)
		h.Encode(&IPv4Fields{TotalLen: 40})
		h.Payload()[0] = byte(Sum(h, 0))
	})
	if got != 0 {
		t.Errorf("rewriting a header allocates %v times", got)
	}
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
