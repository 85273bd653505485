package dataplane

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// What a kernel (6.1.176) does with SCTP was asked of it with these packets; the answers are in the tests.

// chunkOf makes a chunk that claims length bytes.
func chunkOf(kind uint8, length uint16, value ...byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind, 0}, length), value...)
}

// slowCRC is CRC32c bit by bit, reflected (RFC 9260 appendix A).
func slowCRC(b []byte) uint32 {
	crc := ^uint32(0)
	for _, c := range b {
		crc ^= uint32(c)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78*(crc&1)
		}
	}
	return ^crc
}

// sctpPacket is an SCTP packet with a checksum that is right, but for the bits of wrong.
func sctpPacket(src, dst uint16, wrong uint32, chunks ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src), dst)
	b = append(append(b, 0, 0, 0, 1, 0, 0, 0, 0), bytes.Join(chunks, nil)...)
	binary.LittleEndian.PutUint32(b[8:], slowCRC(b)^wrong)
	return b
}

// ipFrame is a frame with room in front around an IP packet of any protocol between two addresses of one
// family, and what Parse says of it.
func ipFrame(t testing.TB, s seg, payload []byte) (*packet.Frame, *packet.Parsed) {
	t.Helper()
	proto := s.proto
	s.proto = packet.ProtoUDP
	b := s.bytes(t)
	if b[12] == 8 {
		ip := packet.IPv4(b[14:34])
		ip[9] = proto
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(payload)))
		ip.UpdateChecksum()
		b = append(b[:34:34], payload...)
	} else {
		b[14+6] = proto
		binary.BigEndian.PutUint16(b[14+4:], uint16(len(payload)))
		b = append(b[:54:54], payload...)
	}
	f := &packet.Frame{Buf: make([]byte, 4096), Off: 256, Len: uint16(len(b))}
	copy(f.Bytes(), b)
	p := new(packet.Parsed)
	if err := packet.Parse(f.Bytes(), p); err != 0 {
		t.Fatalf("%x: %v", b, err)
	}
	return f, p
}

func sctpFrame(t testing.TB, chunks ...[]byte) (*packet.Frame, *packet.Parsed) {
	return ipFrame(t, seg{src: client4, dst: vip4, proto: packet.ProtoSCTP}, sctpPacket(40001, 80, 0, chunks...))
}

func TestTheChunkThatCountsIsTheFirstOrAnAbortBehindACookie(t *testing.T) {
	abort, value := chunkOf(6, 4), []byte{0, 0, 0, 0}
	for _, c := range []struct {
		name   string
		chunks [][]byte
		want   uint8
		whole  bool
	}{
		{"no chunk", nil, 0, false},
		{"three bytes", [][]byte{{1, 0, 0}}, 0, false},
		{"INIT", [][]byte{chunkOf(1, 8, value...)}, 1, true},
		{"COOKIE-ECHO, ABORT", [][]byte{chunkOf(10, 8, value...), abort}, 6, true},
		{"padded COOKIE-ECHO, ABORT", [][]byte{chunkOf(10, 5, value...), abort}, 6, true},
		{"COOKIE-ACK, ABORT", [][]byte{chunkOf(11, 4), abort}, 6, true},
		{"COOKIE-ECHO too short, ABORT", [][]byte{chunkOf(10, 3), abort}, 10, true},
		{"COOKIE-ECHO too long, ABORT", [][]byte{chunkOf(10, 60000, value...), abort}, 10, true},
		{"COOKIE-ECHO as long as can be", [][]byte{chunkOf(10, 65535, value...)}, 10, true},
		{"COOKIE-ECHO, half an ABORT", [][]byte{chunkOf(10, 8, value...), {6, 0}}, 10, true},
		{"COOKIE-ECHO, DATA", [][]byte{chunkOf(10, 8, value...), chunkOf(0, 4)}, 10, true},
		{"DATA, ABORT", [][]byte{chunkOf(0, 8, value...), abort}, 0, true},
	} {
		f, p := sctpFrame(t, c.chunks...)
		f.Len += 20 // Ethernet's padding is no chunk
		copy(f.Bytes()[f.Len-20:], abort)
		if got, whole := sctpChunk(f, p); got != c.want || whole != c.whole {
			t.Errorf("%s: chunk %d, whole %v; want %d, %v", c.name, got, whole, c.want, c.whole)
		}
	}
}

func TestAPacketWithoutAChunkMovesNothing(t *testing.T) {
	f, p := sctpFrame(t)
	if got := nextSCTP(f, p, conntrack.SCTPNone, conntrack.Input); got != conntrack.SCTPNone {
		t.Errorf("moved to %v", got)
	}
	f, p = sctpFrame(t, chunkOf(1, 4))
	if got := nextSCTP(f, p, conntrack.SCTPNone, conntrack.Input); got != conntrack.SCTPInit1 {
		t.Errorf("an INIT leads to %v", got)
	}
}

func TestOnlyAnINITStartsASession(t *testing.T) {
	const unreachable, short = TxICMPError, NumVerdicts + Verdict(packet.ErrL4Short)
	for _, c := range []struct {
		name          string
		chunk         []byte
		strict, loose Verdict // with sloppy_sctp 0, 1
		none          Verdict // for a port without a service
	}{
		{"no chunk", nil, short, short, short},
		{"three bytes", []byte{1, 0, 0}, short, short, short},
		{"INIT", chunkOf(1, 4), TxNAT, TxNAT, unreachable},
		{"DATA", chunkOf(0, 4), unreachable, TxNAT, unreachable},
		{"ABORT", chunkOf(6, 4), unreachable, unreachable, unreachable},
		{"INIT-ACK", chunkOf(2, 4), unreachable, TxNAT, unreachable},
	} {
		for i, want := range []Verdict{c.strict, c.loose, c.none} {
			b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoSCTP, vip4, lvs.MethodNAT, "10.0.0.21:80"))
			b.snapshots.Load().Settings.SloppySCTP = i & 1
			b.worker.begin(b.now)
			f, p := sctpFrame(t, c.chunk)
			id := b.worker.service(f, p)
			if i == 2 {
				id = 0
			}
			if got := b.worker.missSCTP(f, p, id); got != want {
				t.Errorf("%s, case %d: %v, want %v", c.name, i, got, want)
			}
			if want == unreachable && decode(t, f.Bytes()).icmp != [2]uint8{3, 2} {
				t.Errorf("%s: answered by %v, want protocol unreachable", c.name, decode(t, f.Bytes()).icmp)
			}
		}
	}
}

func TestAnSCTPPacketForNoVIPIsRoutedOn(t *testing.T) {
	b := newBed(t, bedOptions{}, serviceOf(lvs.ProtoSCTP, vip4, lvs.MethodNAT, "10.0.0.21:80"))
	b.worker.begin(b.now)
	f, p := ipFrame(t, seg{src: "10.0.0.21:80", dst: client4, proto: packet.ProtoSCTP}, sctpPacket(80, 40001, 0))
	if got := b.worker.missSCTP(f, p, 0); got != TxRouted {
		t.Errorf("%v", got)
	}
}

func TestAnUnknownProtocolOfIPv6IsAParameterProblem(t *testing.T) {
	b := newBed(t, bedOptions{}, service(vip6, lvs.MethodDR, "[fd00::21]:80"))
	b.worker.begin(b.now)
	f, p := ipFrame(t, seg{src: client6, dst: vip6, proto: packet.ProtoSCTP}, sctpPacket(40001, 80, 0, chunkOf(1, 4)))
	if v := b.worker.missSCTP(f, p, 0); v != TxICMPError {
		t.Fatal(v)
	}
	if s := decode(t, f.Bytes()); s.icmp != [2]uint8{4, 1} || binary.BigEndian.Uint32(f.Bytes()[58:]) != 6 {
		t.Errorf("type and code %v, pointer %d", s.icmp, binary.BigEndian.Uint32(f.Bytes()[58:]))
	}
}

func TestTheUnknownProtocolIsPointedAtBehindExtensionHeaders(t *testing.T) {
	h := make([]byte, 40, 80)
	for _, want := range []uint32{6, 40, 48} {
		if got := nextHeaderOff(h); got != want {
			t.Errorf("%d bytes: %d, want %d", len(h), got, want)
		}
		h = append(h, packet.ProtoSCTP, 0, 0, 0, 0, 0, 0, 0)
	}
}

// TestTheChecksumIsTheKernels replays INITs for a service whose real server has port 8080, or the same.
func TestTheChecksumIsTheKernels(t *testing.T) {
	init := chunkOf(1, 9, []byte("abcde\x00\x00\x00")...)
	for _, c := range []struct {
		client, vip, real uint16
		wrong             uint32
		quirks            int
		out               string
	}{
		{2397, 80, 8080, 0, 0, "095d1f900000000120d9e808010000096162636465000000"},
		{2398, 80, 8080, 0x55, 1, "095e1f900000000168c99c96010000096162636465000000"},
		{2399, 81, 81, 0, 0, "095f00510000000182454892010000096162636465000000"},
		{2400, 81, 81, 0x55, 1, "0960005100000001a43cfab3010000096162636465000000"},
	} {
		b := newBed(t, bedOptions{})
		b.snapshots.Load().Settings.KernelQuirks = c.quirks
		b.worker.begin(b.now)
		l4 := sctpPacket(c.client, c.vip, c.wrong, init)
		was := binary.LittleEndian.Uint32(l4)
		binary.BigEndian.PutUint16(l4[2:], c.real)
		b.worker.mendSCTP(l4, was)
		if got := hex.EncodeToString(l4); got != c.out {
			t.Errorf("%d -> %d:\n%s, want\n%s", c.vip, c.real, got, c.out)
		}
	}
}

func TestADamagedPacketStaysDamaged(t *testing.T) {
	b := newBed(t, bedOptions{})
	b.worker.begin(b.now)
	l4 := sctpPacket(40001, 80, 4, chunkOf(0, 4))
	was := binary.LittleEndian.Uint32(l4)
	binary.BigEndian.PutUint16(l4[2:], 8080)
	b.worker.mendSCTP(l4, was)
	if sctpSum(l4, binary.LittleEndian.Uint32(l4)) == binary.LittleEndian.Uint32(l4[8:]) {
		t.Error("the damage is hidden")
	}
}

func TestSCTPCostsNoAllocation(t *testing.T) {
	b := newBed(t, bedOptions{})
	b.worker.begin(b.now)
	f, p := sctpFrame(t, chunkOf(10, 8, 0, 0, 0, 0), chunkOf(6, 4))
	l4 := sctpPacket(40001, 80, 0, bytes.Repeat([]byte{1}, 1400))
	testutil.AllocFree(t, func() {
		if nextSCTP(f, p, conntrack.SCTPInit1, conntrack.Input) != conntrack.SCTPClosed {
			t.Error("the ABORT was not seen")
		}
		was := binary.LittleEndian.Uint32(l4)
		l4[3]++
		b.worker.mendSCTP(l4, was)
	})
	if binary.LittleEndian.Uint32(l4[8:]) != sctpSum(l4, binary.LittleEndian.Uint32(l4)) {
		t.Error("the checksum is wrong after many changes")
	}
}

func FuzzSCTP(f *testing.F) {
	f.Add(sctpPacket(1, 2, 0, chunkOf(10, 5, 1, 0, 0, 0), chunkOf(6, 4)), uint32(80))
	f.Add(sctpPacket(1, 2, 9, chunkOf(11, 0xfffd)), uint32(0))
	f.Add([]byte{0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0}, uint32(1))
	b := newBed(f, bedOptions{})
	f.Fuzz(func(t *testing.T, l4 []byte, ports uint32) {
		b.worker.begin(b.now)
		frame := packet.Frame{Buf: append(make([]byte, 34), l4...), Len: uint16(34 + len(l4))}
		p := packet.Parsed{L3Off: 14, L4Off: 34, TotalLen: uint16(20 + len(l4))}
		chunk, whole := sctpChunk(&frame, &p)
		if whole != (len(l4) >= 16) || whole && chunk != l4[12] && chunk != conntrack.ChunkAbort {
			t.Fatalf("chunk %d, whole %v of %x", chunk, whole, l4)
		}
		if len(l4) < packet.SCTPLen {
			return
		}
		right := slowCRC(append(append(bytes.Clone(l4[:8]), 0, 0, 0, 0), l4[12:]...)) == binary.LittleEndian.Uint32(l4[8:])
		was := binary.LittleEndian.Uint32(l4)
		changed := bytes.Clone(l4)
		binary.LittleEndian.PutUint32(changed, ports)
		b.worker.mendSCTP(changed, was)
		sum := slowCRC(append(append(bytes.Clone(changed[:8]), 0, 0, 0, 0), changed[12:]...))
		if got := binary.LittleEndian.Uint32(changed[8:]); right != (got == sum) && was != ports {
			t.Fatalf("right before: %v; checksum after %#x, want %#x", right, got, sum)
		}
	})
}

// TestAnINITRenewsAClosedSession: as the kernel showed it for every conn_reuse_mode, and quiesced servers.
func TestAnINITRenewsAClosedSession(t *testing.T) {
	for _, c := range []struct {
		state         conntrack.State
		chunk         uint8
		reuse, nodest int
		quiesced      bool
		want          bool
	}{
		{conntrack.SCTPClosed, 1, 1, 0, false, true}, {conntrack.SCTPClosed, 1, 2, 0, false, true},
		{conntrack.SCTPClosed, 1, 3, 0, false, true}, {conntrack.SCTPClosed, 1, 0, 0, false, false},
		{conntrack.SCTPClosed, 0, 1, 0, false, false}, {conntrack.SCTPInit1, 1, 1, 0, false, false},
		{conntrack.SCTPInit1, 1, 1, 1, true, true}, {conntrack.SCTPInit1, 1, 1, 1, false, false},
		{conntrack.SCTPInit1, 1, 1, 0, true, false}, {conntrack.SCTPInit1, 0, 1, 1, true, false},
	} {
		b, _ := dropBed(t, bedOptions{})
		snap := b.snapshots.Load()
		snap.Settings.ConnReuseMode, snap.Settings.ExpireNodestConn = c.reuse, c.nodest
		snap.Dests[1].Quiesced = c.quiesced
		f, p := sctpFrame(t, chunkOf(c.chunk, 4))
		if got := b.worker.renewsSCTP(f, p, b.put(1, c.state, -1, 0)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
