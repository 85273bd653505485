package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"ulvs/internal/testutil"
)

// seedFrames is one frame of every sort, good and bad: what fuzzing starts from.
func seedFrames() [][]byte {
	frames := [][]byte{nil, make([]byte, 13), make([]byte, 14), arpFrame(), arpFrame()[:41]}
	for _, c := range parseCases() {
		frames = append(frames, c.frame)
	}
	return frames
}

func FuzzParseEqualsSlowParser(f *testing.F) {
	for _, frame := range seedFrames() {
		f.Add(frame, false)
	}
	f.Fuzz(func(t *testing.T, frame []byte, fixSum bool) {
		if fixSum && len(frame) >= 34 && int(frame[14]&15)*4+14 <= len(frame) {
			frame = resum(frame)
		}
		compareWithOracle(t, frame)
	})
}

func compareWithOracle(t *testing.T, frame []byte) {
	t.Helper()
	before := append([]byte(nil), frame...)
	got := dirtyParsed()
	err := Parse(frame, &got)
	want, wantErr := slowParse(frame)
	if !bytes.Equal(frame, before) {
		t.Fatalf("Parse wrote to the frame\n was %x\n now %x", before, frame)
	}
	comparePlain(t, frame, got, err)
	if err != wantErr {
		t.Fatalf("Parse says %s, the slow parser %s\n%x", err, wantErr, frame)
	}
	if err != ErrNone {
		if got.Kind != KindNone {
			t.Fatalf("refused (%s) with kind %d\n%x", err, got.Kind, frame)
		}
		return
	}
	if got != want {
		t.Fatalf("Parse and the slow parser differ\n got %+v\nwant %+v\n%x", got, want, frame)
	}
}

// comparePlain checks that ParsePlain takes the frame only where Parse does, for the same, and for its own MAC
// address, and that it takes all that it says it does.
func comparePlain(t *testing.T, frame []byte, want Parsed, err Error) {
	t.Helper()
	if len(frame) > 0xffff {
		return // no Frame holds it
	}
	var macs [256]uint64
	if len(frame) >= 6 {
		for i, b := range frame[:6] {
			macs[3] |= uint64(b) << (8 * i)
		}
	}
	got := [1]Parsed{dirtyParsed()}
	frames := []Frame{{Buf: append(make([]byte, 9), frame...), Off: 9, Len: uint16(len(frame)), Port: 3}}
	n := ParsePlain(frames, &macs, got[:])
	if middle := middleOf(&want); n == 1 && got[0].Middle != middle {
		t.Fatalf("ParsePlain says middle %d of a packet, want %d\n%+v\n%x", got[0].Middle, middle, want, frame)
	}
	got[0].Middle = MiddleNone
	if n == 1 && (err != ErrNone || got[0] != want) {
		t.Fatalf("ParsePlain takes what Parse does not, or not so (%s)\n got %+v\nwant %+v\n%x", err, got[0], want, frame)
	}
	plain := err == ErrNone && len(frame) >= 60 && want.Kind == KindFlow && want.Flags&^FlagDF == 0 &&
		want.Proto != ProtoSCTP && want.TTL != 0 &&
		!mayBeMartian(uint8(want.Addr[0])) && !mayBeMartian(uint8(want.Addr[0]>>32))
	if plain != (n == 1) {
		t.Fatalf("ParsePlain takes %d of a frame that is plain (%v)\n%+v\n%x", n, plain, want, frame)
	}
	macs[3] ^= 1 << 40
	if n := ParsePlain(frames, &macs, got[:]); n != 0 {
		t.Fatalf("ParsePlain takes a frame for another host\n%x", frame)
	}
}

// middleOf is the Middle of a plain packet.
func middleOf(p *Parsed) Middle {
	switch {
	case p.TTL == 1:
		return MiddleNone
	case p.Proto == ProtoUDP:
		return MiddleUDP
	case p.TCPFlags&TCPAck != 0 && p.TCPFlags&(TCPSyn|TCPFin|TCPRst) == 0:
		return MiddleTCP
	}
	return MiddleNone
}

// dirtyParsed is a Parsed as the previous frame left it: Parse must overwrite all.
func dirtyParsed() Parsed {
	return Parsed{Addr: [4]uint64{1, 2, 3, 4}, L4: 5, L3Off: 6, L4Off: 7, TotalLen: 8, FragOff: 9, FragID: 10,
		VLAN: 11, Kind: KindFlow, Flags: 0xff, Proto: 13, TTL: 14, TOS: 15, Middle: 17,
		TCPFlags: 16}
}

// Random bytes seldom get past the checksum, so this mutates good frames and
// repairs what would hide the rest.
func TestParseEqualsSlowParserOnMutatedFrames(t *testing.T) {
	r := testutil.Rand(t)
	seeds := seedFrames()
	for range 100_000 {
		frame := append([]byte(nil), seeds[r.IntN(len(seeds))]...)
		for range r.IntN(4) {
			mutate(r, frame)
		}
		if r.IntN(8) == 0 && len(frame) > 0 {
			frame = frame[:r.IntN(len(frame))]
		}
		if r.IntN(4) > 0 {
			repair(frame)
		}
		compareWithOracle(t, frame)
	}
}

func mutate(r *rand.Rand, frame []byte) {
	if len(frame) < 15 {
		return
	}
	at := 12 + r.IntN(min(len(frame)-12, 80))
	switch r.IntN(3) {
	case 0:
		frame[at] = byte(r.Uint32())
	case 1:
		frame[at] ^= 1 << r.IntN(8)
	case 2:
		frame[at] = []byte{0, 1, 4, 5, 6, 17, 43, 44, 58, 60, 127, 132, 224, 255}[r.IntN(14)]
	}
}

// repair makes an untagged or tagged IPv4 header's checksum right.
func repair(frame []byte) {
	for _, off := range []int{14, 18} {
		if len(frame) < off+20 || binary.BigEndian.Uint16(frame[off-2:]) != EtherTypeIPv4 {
			continue
		}
		if h := IPv4(frame[off:]); h.HeaderLen() >= IPv4Len && h.HeaderLen() <= len(h) {
			h.UpdateChecksum()
		}
	}
}

func FuzzParseInnerDemandsNoMoreThanParse(f *testing.F) {
	for _, frame := range seedFrames() {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := dirtyParsed()
		if err := ParseInner(b, &p); (err == ErrNone) != (p.Kind != KindNone) {
			t.Fatalf("error %s with kind %d", err, p.Kind)
		}
		frame := append(make([]byte, EthernetLen), b...)
		Ethernet(frame).SetEtherType(EtherTypeIPv4)
		if len(b) > 0 && b[0]>>4 == 6 {
			Ethernet(frame).SetEtherType(EtherTypeIPv6)
		}
		var whole Parsed
		if Parse(frame, &whole) != ErrNone {
			return
		}
		whole.L3Off -= EthernetLen
		whole.L4Off -= EthernetLen
		if p != whole {
			t.Fatalf("a good packet reads differently when quoted\n got %+v\nwant %+v\n%x", p, whole, b)
		}
	})
}

func FuzzViewsNeverPanicOnceValid(f *testing.F) {
	for _, frame := range seedFrames() {
		f.Add(frame)
		if len(frame) > 34 {
			f.Add(frame[14:])
			f.Add(frame[34:])
		}
	}
	f.Add([]byte{0x80, 0, 8, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 4, 0, 0, 0x45})
	f.Fuzz(func(t *testing.T, b []byte) {
		readLink(b)
		readIP(b)
		readL4(b)
		readTunnels(b)
		readNDP(b)
	})
}

func readLink(b []byte) {
	if h := Ethernet(b); h.Valid() {
		_, _, _, _ = h.Dst(), h.Src(), h.EtherType(), h.Payload()
	}
	if h := VLAN(b); h.Valid() {
		_, _, _ = h.VID(), h.PCP(), h.EtherType()
	}
	if h := ARP(b); h.Valid() {
		_, _, _, _, _ = h.Op(), h.SenderMAC(), h.SenderIP(), h.TargetMAC(), h.TargetIP()
	}
}

func readIP(b []byte) {
	if h := IPv4(b); h.Valid() {
		_, _, _, _ = h.Options(), h.Payload(), h.ChecksumOK(), h.Src()
	}
	if h := IPv6(b); h.Valid() {
		_, _, _ = h.Payload(), h.Src(), h.Dst()
		_, _ = WalkExtensions(h.Payload(), h.NextHeader())
	}
	for _, proto := range []uint8{ProtoHopByHop, ProtoAH, ProtoFragment} {
		if h := ExtHeader(b); h.Valid(proto) {
			_ = h[:h.Len(proto)]
		}
	}
}

func readL4(b []byte) {
	if h := TCP(b); h.Valid() {
		_, _, _, _, _ = h.Seq(), h.Ack(), h.HeaderLen(), h.Window(), h.Checksum()
	}
	if h := UDP(b); h.Valid() {
		_, _, _ = h.PortsWire(), h.Length(), h.Checksum()
	}
	if h := ICMP(b); h.Valid() {
		_, _, _, _ = h.Rest(), h.MTU(), h.IsError(), h.Payload()
	}
	if h := ICMPv6(b); h.Valid() {
		_, _, _ = h.Rest(), h.IsError(), h.Payload()
	}
}

func readTunnels(b []byte) {
	if h := GRE(b); h.Valid() {
		_, _ = h.Key()
		_, _ = h.ChecksumOK(), h.Payload()
	}
	if h := GUE(b); h.Valid() {
		_, _, _, _ = h.Control(), h.Proto(), h.Flags(), h.Payload()
	}
}

func readNDP(b []byte) {
	if h := NDP(b); h.Valid() {
		_, _ = h.Flags(), h.Target()
		_, _ = h.OptionMAC(NDPOptSourceMAC)
	}
}

func FuzzDeltaEqualsRecomputing(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 20}, uint8(0), uint64(1))
	f.Add(bytes.Repeat([]byte{0xff}, 40), uint8(8), uint64(0))
	f.Add(make([]byte, 40), uint8(8), ^uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint8, word uint64) {
		var msg [64]byte
		copy(msg[1:], b)
		msg[0] = 1 // RFC 1624 leaves messages of zeros only out
		checkDelta(t, msg[:], 2+int(at)%27*2, word)
	})
}

// checkDelta replaces the 8 bytes of msg at an even offset and compares the
// corrected checksum with a computed one.
func checkDelta(t *testing.T, msg []byte, at int, word uint64) {
	t.Helper()
	old, was := Fold(Sum(msg, 0)), binary.LittleEndian.Uint64(msg[at:])
	binary.LittleEndian.PutUint64(msg[at:], word)
	got, want := old.Apply(Delta(0).Change64(was, word)), Fold(Sum(msg, 0))
	if got != want {
		t.Fatalf("delta gives %04x, recomputing %04x, for %x", got, want, msg)
	}
}

// Tuple and the address helpers agree with each other for whatever Parse accepts.
func FuzzTupleAgreesWithAddrs(f *testing.F) {
	for _, frame := range seedFrames() {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var p Parsed
		if Parse(frame, &p) != ErrNone || p.Kind == KindARP {
			return
		}
		tuple := p.Tuple()
		got := [2]netip.Addr{tuple.SrcAddrPort().Addr(), tuple.DstAddrPort().Addr()}
		if want := [2]netip.Addr{p.Src(), p.Dst()}; got != want {
			t.Fatalf("Tuple has %v, Src and Dst %v", got, want)
		}
	})
}
