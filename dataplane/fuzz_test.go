package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// FuzzPipeline feeds two arbitrary frames to a worker, each twice, so that what makes a session
// also meets it. Whatever comes out is a right packet from the right MAC address to the right
// one, with its L4 checksum as good as it came.
func FuzzPipeline(f *testing.F) {
	for _, frame := range goodFrames(f) {
		f.Add(frame, frame, uint8(0))
	}
	answer := seg{src: "10.0.0.22:8080", dst: client4, flags: packet.TCPSyn | packet.TCPAck, payload: 3}
	f.Add(goodFrames(f)["NAT"], answer.bytes(f), uint8(2))
	for _, h := range allHostile(f) {
		f.Add(h.frame, goodFrames(f)["TCP"], uint8(1))
	}
	for _, c := range errorSeeds(f) {
		f.Add(c[0], c[1], uint8(2))
		f.Add(c[0], c[1], uint8(0))
	}
	parts := cutFrame(seg{src: client4, dst: vip4, proto: packet.ProtoUDP, payload: 300}.bytes(f), 160, 1)
	f.Add(parts[0], parts[1], uint8(0))
	b := hostileBed(f, 1).withStack()
	_, _, direct := b.probed(lvs.MethodDR, "10.0.0.21:80")
	probe, syn, back := b.probed(lvs.MethodNAT, "10.0.0.22:8080")
	f.Add(direct, back, uint8(3))
	quoted := append([]byte(nil), syn[packet.EthernetLen:]...) // its destination is as the real server sees it
	copy(quoted[16:], []byte{10, 0, 0, 22, quoted[20], quoted[21], 0x1f, 0x90})
	f.Add(back, errorFrame(f, netip.MustParseAddr("10.0.0.22"), probe.From.Addr(), [2]uint8{3, 3}, quoted), uint8(3))
	f.Fuzz(func(t *testing.T, first, second []byte, ports uint8) {
		b.tb = t
		b.now++
		b.heard()
		for range 2 {
			b.oneFuzzed(first, ports&1)
			b.oneFuzzed(second, ports>>1&1)
		}
		b.now += 2 * holdTicks
		b.send(0)
		b.worker.Sweep(b.now + 24*3600*conntrack.TicksPerSecond)
		b.check()
		for range len(b.notices) {
			<-b.notices
		}
		if n := b.table.Stats().Conns; n != 0 {
			t.Errorf("%d sessions outlive a day", n)
		}
		for id, d := range b.services.Destinations {
			if d != nil && d.Load.InUse() {
				t.Errorf("real server %d is in use by nobody: %v", id, b.load(d.ID))
			}
		}
	})
}

// errorSeeds are pairs of a packet that starts a session and an error about what became of it.
func errorSeeds(f *testing.F) (pairs [][2][]byte) {
	router, client := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
	for _, vip := range []string{vip4, "198.18.0.101:80", "198.18.0.102:80", "198.18.0.103:80"} {
		b := hostileBed(f, 1)
		syn := seg{src: client4, dst: vip, flags: packet.TCPSyn, payload: 9, df: true}.bytes(f)
		there := b.one(0, syn, 1)[0].Data[14:]
		back := seg{src: vip, dst: client4, flags: packet.TCPAck}.bytes(f)[14:54]
		ap := netip.MustParseAddrPort(vip)
		pairs = append(pairs, [2][]byte{syn, errorFrame(f, router, client, [2]uint8{3, 1}, there)},
			[2][]byte{syn, errorFrame(f, router, netip.MustParseAddr("10.0.0.10"), [2]uint8{3, 4}, there)},
			[2][]byte{syn, errorFrame(f, client, ap.Addr(), [2]uint8{11, 0}, back)})
	}
	return pairs
}

func (b *bed) oneFuzzed(frame []byte, port uint8) {
	b.tb.Helper()
	if !b.queue.Inject(port, forPort(port, frame)) {
		return // longer than a chunk
	}
	before := b.worker.stats.verdicts
	b.worker.RunOnce(b.now)
	b.check()
	out := b.queue.Take()
	verdict := hold
	for v := range before {
		if b.worker.stats.verdicts[v] != before[v] {
			verdict = Verdict(v)
		}
	}
	if verdict.IsTx() != (len(out) > 0) {
		b.tb.Fatalf("%d frames came out with %s", len(out), verdict)
	}
	for _, s := range out {
		b.rightFrame(frame, verdict, s.Port, s.Data)
	}
}

// rightFrame proves what must hold of any frame out that came of in.
func (b *bed) rightFrame(in []byte, v Verdict, port uint8, out []byte) {
	b.tb.Helper()
	if packet.MAC(out[6:12]) != portMACs[port] && packet.MAC(in[0:6]) == portMACs[port] {
		b.tb.Errorf("%s: sent from %x, the port's MAC is %x", v, out[6:12], portMACs[port])
	}
	dst := packet.MAC(out[0:6])
	forwarded := v == TxDR || v == TxNAT || v == TxTUN || v == TxNATReply || v == TxRouted
	if known := dst == routerMAC || dst[0] == 2 && dst[4] == 2; forwarded && !known {
		b.tb.Errorf("%s: sent to %x, which is no neighbour", v, dst)
	}
	var p, q packet.Parsed
	if packet.Parse(in, &q) == 0 && q.Flags&packet.FlagFragment != 0 {
		return // what is whole or cut again: FuzzFragments
	}
	if v == TxTUN {
		out = unwrap(b.tb, out)
	}
	if err := packet.Parse(out, &p); err != 0 {
		b.tb.Fatalf("%s: what came out is refused as %s\nin  %x\nout %x", v, err, in, out)
	}
	if v == TxARP || packet.Parse(in, &q) != 0 {
		return
	}
	if len(out) != int(p.L3Off)+int(p.TotalLen) && v != TxEcho && v != TxND {
		b.tb.Errorf("%s: %d bytes for a packet of %d", v, len(out), p.TotalLen)
	}
	if rightL4(in, &q) && p.Flags&packet.FlagFragment == 0 && !rightL4(out, &p) {
		b.tb.Errorf("%s: the L4 checksum is wrong\nin  %x\nout %x", v, in, out)
	}
	if forwarded && p.TTL != q.TTL-1 {
		b.tb.Errorf("%s: TTL %d came out as %d", v, q.TTL, p.TTL)
	}
}

// unwrap takes the outer header off a frame out of a tunnel.
func unwrap(tb testing.TB, out []byte) []byte {
	tb.Helper()
	var p packet.Parsed
	if err := packet.Parse(out, &p); err != 0 || p.Kind != packet.KindOther && p.Proto != packet.ProtoUDP {
		tb.Fatalf("the outer packet is refused as %s, kind %d: %x", err, p.Kind, out)
	}
	b := out[p.L4Off:]
	switch p.Proto {
	case packet.ProtoUDP:
		b = b[packet.UDPLen+packet.GUELen:]
	case packet.ProtoGRE:
		b = b[packet.GRELen+packet.GREChecksumLen:]
	}
	inner := append([]byte(nil), out[:12]...)
	inner = binary.BigEndian.AppendUint16(inner, map[byte]uint16{4: 0x0800, 6: 0x86dd}[b[0]>>4])
	return append(inner, b...)
}

// rightL4 verifies a checksum over everything, the slow way. True where there is none to verify.
func rightL4(frame []byte, p *packet.Parsed) bool {
	if p.Kind != packet.KindFlow && p.Kind != packet.KindICMP || p.Proto == packet.ProtoSCTP {
		return true
	}
	l4 := frame[p.L4Off : p.L3Off+p.TotalLen]
	if p.Proto == packet.ProtoUDP && l4[6] == 0 && l4[7] == 0 {
		return true
	}
	sum := slowSum(l4)
	if p.Proto != packet.ProtoICMP {
		t := p.Tuple()
		sum += uint32(p.Proto) + uint32(len(l4))
		for _, a := range [][16]byte{t.Src, t.Dst} {
			if p.V6() {
				sum += slowSum(a[:])
			} else {
				sum += slowSum(a[12:])
			}
		}
	}
	return fold(sum) == 0xffff
}
