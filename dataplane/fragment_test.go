package dataplane

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"ulvs/conntrack"
	"ulvs/dataplane/memqueue"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// gatherBed is a bed that puts fragments together.
func gatherBed(tb testing.TB, o bedOptions, services ...lvs.Service) (*bed, *Reassembly) {
	o.heap = true
	b := newBed(tb, o, services...)
	return b, b.gathering
}

// cutFrame cuts a frame of an IP packet into fragments with step bytes of payload each, the slow way.
func cutFrame(frame []byte, step int, id byte) (out [][]byte) {
	if frame[12] == 0x86 {
		return cutFrame6(frame, step, id)
	}
	total := 14 + int(binary.BigEndian.Uint16(frame[16:]))
	for off := 0; off < total-34; off += step {
		end := min(off+step, total-34)
		f := append(append([]byte(nil), frame[:34]...), frame[34+off:34+end]...)
		binary.BigEndian.PutUint16(f[16:], uint16(20+end-off))
		f[19] = id
		field := uint16(off / 8)
		if end < total-34 {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(f[20:], field)
		out = append(out, mend(f))
	}
	return out
}

func cutFrame6(frame []byte, step int, id byte) (out [][]byte) {
	total := 54 + int(binary.BigEndian.Uint16(frame[18:]))
	for off := 0; off < total-54; off += step {
		end := min(off+step, total-54)
		field := uint16(off)
		if end < total-54 {
			field |= 1
		}
		f := append(append([]byte(nil), frame[:54]...), frame[20], 0, byte(field>>8), byte(field), 0, 0, 0, id)
		f = append(f, frame[54+off:54+end]...)
		binary.BigEndian.PutUint16(f[18:], uint16(8+end-off))
		f[20] = 44
		out = append(out, f)
	}
	return out
}

// joinSent puts fragments that came out together again, checking each and that none is too large.
func joinSent(tb testing.TB, sent []memqueue.Sent, mtu int) []byte {
	tb.Helper()
	if len(sent) == 0 {
		tb.Fatal("nothing came out")
	}
	whole := []byte(nil)
	want := 0
	for i, s := range sent {
		var p packet.Parsed
		if err := packet.Parse(s.Data, &p); err != 0 {
			tb.Fatalf("piece %d is refused as %s: %x", i, err, s.Data)
		}
		if int(p.TotalLen) > mtu || len(s.Data) != int(p.L3Off+p.TotalLen) || s.Port != sent[0].Port {
			tb.Errorf("piece %d of %d bytes left by port %d, the first by %d", i, p.TotalLen, s.Port, sent[0].Port)
		}
		head := 34
		if p.V6() {
			head = 54
			if p.Flags&packet.FlagFragment != 0 {
				head = 62
			}
		}
		if int(p.FragOff) != want {
			tb.Errorf("piece %d is at %d, want %d", i, p.FragOff, want)
		}
		want += len(s.Data) - head
		if i == 0 {
			whole = append(whole, s.Data[:min(head, 54)]...)
			if p.Flags&packet.FlagFragment != 0 && p.V6() {
				whole[20] = s.Data[54]
			}
		}
		whole = append(whole, s.Data[head:]...)
	}
	if whole[12] == 0x86 {
		binary.BigEndian.PutUint16(whole[18:], uint16(len(whole)-54))
		return whole
	}
	binary.BigEndian.PutUint16(whole[16:], uint16(len(whole)-14))
	whole[20], whole[21] = whole[20]&0x40, 0
	return mend(whole)
}

var fragmentCases = []struct {
	name, client, vip, real string
	method                  lvs.Method
}{
	{"DR", client4, vip4, "10.0.0.21:80", lvs.MethodDR}, {"NAT", client4, vip4, "10.0.0.21:8080", lvs.MethodNAT},
	{"DR6", client6, vip6, "[fd00::21]:80", lvs.MethodDR}, {"NAT6", client6, vip6, "[fd00::21]:8080", lvs.MethodNAT},
}

func TestADatagramInFragmentsIsForwardedWholeAndCutAgain(t *testing.T) {
	rng := testutil.Rand(t)
	for _, c := range fragmentCases {
		for _, n := range []int{100, 1600, 4000, 20000} {
			b, r := gatherBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, c.vip, c.method, c.real))
			frame := seg{src: c.client, dst: c.vip, proto: packet.ProtoUDP, payload: n}.bytes(t)
			parts := cutFrame(frame, max(n/3&^7, 64)%1400&^7, 7)
			rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			out := b.send(0, parts...)
			got := decode(t, joinSent(t, out, 1500))
			if want := frame[len(frame)-n:]; !bytes.Equal(got.payload[:n], want) || out[0].Port != 1 || got.ttl != 63 {
				t.Errorf("%s of %d bytes in %d parts: %d came out of port %d", c.name, n, len(parts), len(out), out[0].Port)
			}
			if c.method == lvs.MethodNAT && got.dst.String() != c.real {
				t.Errorf("%s: to %v", c.name, got.dst)
			}
			s := b.worker.Stats()
			if s.Verdict(Gathered) != uint64(len(parts)-1) || s.Verdict(forwards[c.method]) != 1 || r.Stats().Whole != 1 {
				t.Errorf("%s: counted %v and %+v", c.name, b.counted(), r.Stats())
			}
			if d := s.Dest(1); d.InPackets != 1 || d.InBytes != uint64(len(frame)-14) {
				t.Errorf("%s: the datagram counts once, not %+v", c.name, d)
			}
			b.check()
		}
	}
}

func TestManyDatagramsInOneBatchLeaveByTheirOwnPorts(t *testing.T) {
	b, _ := gatherBed(t, bedOptions{frames: 1024}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodNAT, "10.0.0.21:80"))
	b.one(0, seg{src: client4, dst: vip4, proto: packet.ProtoUDP}.bytes(t), 1)
	there := seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 3000}
	back := seg{src: "10.0.0.21:80", dst: client4, proto: packet.ProtoUDP, payload: 3000}
	for id := range byte(8) {
		for _, f := range cutFrame(there.bytes(t), 600, 2*id) {
			b.queue.Inject(0, f)
		}
		for _, f := range cutFrame(back.bytes(t), 600, 2*id+1) {
			b.queue.Inject(1, forPort(1, f))
		}
	}
	ports := [2]int{}
	for _, s := range b.send(0) {
		toReal := packet.MAC(s.Data[:6]) == realMAC(21)
		if toReal != (s.Port == 1) {
			t.Fatalf("a piece for %x left by port %d", s.Data[:6], s.Port)
		}
		ports[s.Port]++
	}
	if ports[0] != 8*6 || ports[1] != 8*6 {
		t.Errorf("%v pieces left by the ports, want 48 each", ports)
	}
	b.check()
}

func TestMorePiecesThanWaitTogetherLeaveByTheRightPort(t *testing.T) {
	b, _ := gatherBed(t, bedOptions{frames: 1024}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80"))
	frame := seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 20000}.bytes(t)
	out := b.send(0, cutFrame(frame, 104, 3)...)
	if len(out) <= pieceLimit {
		t.Fatalf("%d pieces are no test of the limit", len(out))
	}
	if got := decode(t, joinSent(t, out, 1500)); len(got.payload) != 20000 || out[0].Port != 1 {
		t.Errorf("%d bytes came out of port %d", len(got.payload), out[0].Port)
	}
	b.check()
}

func TestAPacketWithoutDFIsCutAndOneWithItIsNot(t *testing.T) {
	for _, c := range fragmentCases[:2] {
		b, _ := gatherBed(t, bedOptions{mtu: 600}, service(c.vip, c.method, c.real))
		s := seg{src: c.client, dst: c.vip, flags: packet.TCPSyn, payload: 1400}
		out := b.send(0, s.bytes(t))
		got := decode(t, joinSent(t, out, 600))
		if len(got.payload) != 1400 || len(out) != 3 || b.verdict(forwards[c.method]) != 1 {
			t.Errorf("%s: %d pieces with %d bytes: %v", c.name, len(out), len(got.payload), b.counted())
		}
		s.df = true
		if got := b.answered(s.bytes(t), routerMAC, TxICMPError); got.icmp != [2]uint8{3, 4} {
			t.Errorf("%s with DF: %+v", c.name, got)
		}
	}
}

func TestFragmentsThatContradictEachOtherGiveTheDatagramUp(t *testing.T) {
	frame := seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 1200}.bytes(t)
	parts := cutFrame(frame, 400, 9)
	shifted := mend(spoil(parts[1], 21, parts[1][21]-1)) // overlaps the first
	longer := cutFrame(seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 1208}.bytes(t), 400, 9)
	last := len(parts) - 1
	for name, order := range map[string][][]byte{
		"overlap":                   {parts[0], shifted, parts[1], parts[2]},
		"two ends":                  {parts[last], longer[last], parts[0], parts[1], parts[2]},
		"bytes behind the end":      {parts[last], mend(spoil(parts[1], 20, 0x20, 200)), parts[0], parts[1], parts[2]},
		"an end before other bytes": {mend(spoil(parts[1], 20, 0x20, 200)), parts[0], parts[1], parts[2], parts[last]},
	} {
		t.Run(name, func(t *testing.T) {
			b, r := gatherBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80"))
			if out := b.send(0, order...); len(out) != 0 {
				t.Errorf("%d frames came out", len(out))
			}
			if r.Stats().Overlap == 0 || b.verdict(DropFragment) == 0 || r.Stats().Whole != 0 {
				t.Errorf("counted %+v, %v", r.Stats(), b.counted())
			}
			b.check()
		})
	}
}

// TestAHoleIsNeverFilledWithOldBytes sends what adds up to the right number of bytes with a hole.
func TestAHoleIsNeverFilledWithOldBytes(t *testing.T) {
	b, r := gatherBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80"))
	secret := seg{src: "192.0.2.9:5000", dst: vip4, proto: packet.ProtoUDP, payload: 1192}.bytes(t)
	b.send(0, cutFrame(secret, 400, 1)...)
	frame := seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 1192}.bytes(t)
	parts := cutFrame(frame, 400, 2)                  // 0, 400, 800: 1200 bytes
	beyond := mend(spoil(parts[1], 20, 0x20, 1200/8)) // the middle, put behind the end
	b.send(0, beyond, parts[0])
	if out := b.send(0, parts[2]); len(out) != 0 {
		t.Errorf("a datagram with a hole came out: %x", out[0].Data[:min(80, len(out[0].Data))])
	}
	if n := r.Stats().Whole; n != 1 {
		t.Errorf("%d datagrams were put together, want the first only", n)
	}
}

func TestARepeatedFragmentDoesNoHarm(t *testing.T) {
	b, _ := gatherBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80"))
	parts := cutFrame(seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 1200}.bytes(t), 400, 9)
	parts = slices.Insert(parts, 1, parts[0], parts[0])
	if got := decode(t, joinSent(t, b.send(0, parts...), 1500)); len(got.payload) != 1200 {
		t.Errorf("%d bytes came out", len(got.payload))
	}
	b.check()
}

func TestWhatNeverBecomesWholeIsForgotten(t *testing.T) {
	b, r := gatherBed(t, bedOptions{}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80"))
	frame := seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 1200}.bytes(t)
	parts := cutFrame(frame, 400, 1)
	b.send(0, parts[0], parts[1])
	b.now += 30 * conntrack.TicksPerSecond
	if out := b.send(0, parts[2:]...); len(out) != 0 {
		t.Errorf("fragments 30 s apart were put together")
	}
	if r.Stats().Expired != 1 {
		t.Errorf("counted %+v", r.Stats())
	}
	for id := range 200 {
		b.send(0, cutFrame(frame, 400, byte(id))[0])
	}
	if got := r.Stats().Evicted; got == 0 {
		t.Error("200 datagrams at once found room")
	}
	b.check()
}

func TestWithoutReassemblyFragmentsAreDropped(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.worker = NewWorker(Options{Queue: b.queue, Table: b.table, Snapshots: &b.snapshots, Seed: 1})
	for _, f := range cutFrame(seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 1200}.bytes(t), 400, 1) {
		b.dropped(f, DropFragment)
	}
}

// FuzzFragments deals fragments of one datagram with random places, ends and bytes: whatever
// comes out is right, and nothing is lost.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{0, 50, 1, 50, 50, 1, 100, 50, 0}, false)
	f.Add([]byte{100, 50, 0, 0, 50, 1, 50, 50, 1}, true)
	f.Add([]byte{150, 50, 1, 100, 50, 0, 0, 50, 1}, false)
	b, _ := gatherBed(f, bedOptions{}, serviceOf(lvs.ProtoUDP, vip4, lvs.MethodNAT, "10.0.0.21:80"),
		serviceOf(lvs.ProtoUDP, vip6, lvs.MethodTUN, "[fd00::21]:80"))
	f.Fuzz(func(t *testing.T, plan []byte, v6 bool) {
		b.tb = t
		src, dst, at := client4, vip4, 20
		if v6 {
			src, dst, at = client6, vip6, 56
		}
		frame := seg{src: src, dst: dst, proto: packet.ProtoUDP, payload: 16}.bytes(t)
		for i := 0; i+2 < len(plan) && i < 60; i += 3 {
			whole := append(append([]byte(nil), frame[:len(frame)-4]...), make([]byte, 8*int(plan[i+1]))...)
			if !v6 {
				binary.BigEndian.PutUint16(whole[16:], uint16(len(whole)-14))
			} else {
				binary.BigEndian.PutUint16(whole[18:], uint16(len(whole)-54))
			}
			piece := cutFrame(whole, 4000, 5)[0]
			binary.BigEndian.PutUint16(piece[at:], uint16(plan[i])|uint16(plan[i+2]&1)<<13)
			if v6 {
				binary.BigEndian.PutUint16(piece[at:], uint16(plan[i])<<3|uint16(plan[i+2]&1))
			} else {
				mend(piece)
			}
			for _, s := range b.send(uint8(i&1), piece) {
				var p packet.Parsed
				if err := packet.Parse(s.Data, &p); err != 0 {
					t.Fatalf("refused as %s: %x", err, s.Data)
				}
			}
		}
		b.check()
		b.now += reassemblyTicks
		b.worker.Sweep(b.now + 24*3600*conntrack.TicksPerSecond)
	})
}
