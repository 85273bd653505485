package dataplane

import (
	"net/netip"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// withStack gives the bed's worker a link to a stack that only the test plays.
func (b *bed) withStack() *bed {
	b.worker.stack = NewStackLink(NewProbes(61440, 61503), func() {})
	return b
}

// says puts a packet of the stack's into the worker's ring.
func (b *bed) says(frame []byte) {
	b.tb.Helper()
	if !b.worker.stack.FromStack.Push(frame[packet.EthernetLen:], netip.AddrPort{}) {
		b.tb.Fatal("the ring is full")
	}
}

// heard takes what the worker handed to the stack.
func (b *bed) heard() (list []StackPacket) {
	r := b.worker.stack.ToStack
	for r.Len() > 0 {
		list = append(list, r.Peek(1)...)
		r.Release(1)
	}
	return list
}

// probed opens a probe of a real server, and returns its first packet and the real server's answer.
func (b *bed) probed(m lvs.Method, real string) (p *Probe, syn, answer []byte) {
	b.tb.Helper()
	rp := netip.MustParseAddrPort(real)
	p, err := b.worker.stack.Probes.Open(ProbeSpec{
		Proto: lvs.ProtoTCP, From: netip.MustParseAddr("10.0.0.10"), To: netip.MustParseAddrPort(vip4),
		Real:   &lvs.Destination{Addr: rp.Addr(), Port: rp.Port(), Method: m},
		Source: netip.MustParseAddr("10.0.0.10"),
	})
	if err != nil {
		b.tb.Fatal(err)
	}
	back := vip4
	if m == lvs.MethodNAT {
		back = real
	}
	syn = seg{src: p.From.String(), dst: vip4, flags: packet.TCPSyn}.bytes(b.tb)
	answer = seg{src: back, dst: p.From.String(), flags: packet.TCPSyn | packet.TCPAck}.bytes(b.tb)
	return p, syn, answer
}

func TestAProbeIsNoSessionAndItsAnswerIsHandedOver(t *testing.T) {
	for m, real := range map[lvs.Method]string{
		lvs.MethodDR: "10.0.0.21:80", lvs.MethodNAT: "10.0.0.21:8080", lvs.MethodTUN: "10.0.0.21:80",
	} {
		b := newBed(t, bedOptions{heap: true}, service(vip4, m, real)).withStack()
		p, syn, answer := b.probed(m, real)
		b.says(syn)
		out := b.send(0)
		if len(out) != 1 || packet.MAC(out[0].Data[:6]) != realMAC(21) || out[0].Port != 1 {
			t.Fatalf("%s: %d frames left: %v", m, len(out), b.counted())
		}
		b.one(1, answer, 0)
		got := b.heard()
		if len(got) != 1 || got[0].To().IsValid() {
			t.Fatalf("%s: the stack heard %d packets: %v", m, len(got), b.counted())
		}
		var q packet.Parsed
		if err := packet.Parse(append(make([]byte, 12), append([]byte{8, 0}, got[0].Bytes()...)...), &q); err != 0 {
			t.Fatalf("%s: what the stack heard is refused as %s", m, err)
		}
		if src := q.Tuple(); src.SrcAddrPort() != p.To || src.DstAddrPort() != p.From {
			t.Errorf("%s: the stack heard %v -> %v", m, src.SrcAddrPort(), src.DstAddrPort())
		}
		b.check()
		if n := b.table.Stats().Conns; n != 0 || b.worker.Stats().Dest(1) != (DestStats{}) {
			t.Errorf("%s: %d sessions, counted %+v", m, n, b.worker.Stats().Dest(1))
		}
	}
}

func TestOnlyTheAnswerOfTheRealServerIsAProbesAnswer(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodNAT, "10.0.0.21:8080")).withStack()
	p, _, _ := b.probed(lvs.MethodNAT, "10.0.0.21:8080")
	other := netip.AddrPortFrom(p.From.Addr(), p.From.Port()+1).String()
	for _, s := range []seg{
		{src: "10.0.0.22:8080", dst: p.From.String()}, // another one
		{src: "10.0.0.21:22", dst: p.From.String()},   // another port of it
		{src: "10.0.0.21:8080", dst: other},           // to a port without a probe
		{src: vip4, dst: p.From.String()},             // as DR's would come
		{src: "10.0.0.21:8080", dst: p.From.String(), proto: packet.ProtoUDP},
	} {
		s.flags = packet.TCPAck
		b.send(1, s.bytes(t))
		if n := len(b.heard()); n != 0 || b.verdict(ProbeAnswer) != 0 {
			t.Errorf("%+v was taken for the answer", s)
		}
	}
	b.worker.stack.Probes.Close(p)
	b.send(1, seg{src: "10.0.0.21:8080", dst: p.From.String(), flags: packet.TCPAck}.bytes(t))
	if n := len(b.heard()); n != 0 {
		t.Error("a probe that is closed was answered")
	}
	b.check()
}

func TestAProbeWaitsForItsNextHopAsFramesDo(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80")).withStack()
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	p, syn, _ := b.probed(lvs.MethodDR, "10.0.0.21:80")
	b.says(syn)
	b.one(0, syn4(t), 0) // a client's waits beside it
	b.wantHeld("unresolved", 2)
	if v, trouble := p.Trouble(); !trouble || v != DropNeighbour {
		t.Errorf("the probe says %s, %v", v, trouble)
	}
	b.now++
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopReady })
	if out := b.send(0); len(out) != 2 || b.verdict(TxProbe) != 1 || b.verdict(TxDR) != 1 {
		t.Errorf("%d frames left when the hop resolved: %v", len(out), b.counted())
	}
	if v, trouble := p.Trouble(); trouble {
		t.Errorf("the probe still says %s", v)
	}
	b.wantHeld("resolved", 0)
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	b.says(syn)
	b.send(0)
	b.now += holdTicks
	b.send(0)
	b.wantHeld("too late", 0)
	if b.verdict(DropNeighbour) != 1 {
		t.Errorf("a probe that waited too long: %v", b.counted())
	}
}

func TestWhatTheStackSaysOfNothingIsDropped(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "127.0.0.1:80")).withStack()
	b.says(seg{src: vip4, dst: client4, flags: packet.TCPRst}.bytes(t)) // a session that is gone
	b.says(seg{src: "10.0.0.10:61440", dst: vip4, flags: packet.TCPRst}.bytes(t))
	if out := b.send(0); len(out) != 0 || b.verdict(DropNotOurs) != 2 {
		t.Errorf("%d frames left: %v", len(out), b.counted())
	}
	b.says(make([]byte, packet.EthernetLen)) // no packet at all
	b.send(0)
	b.check()
}

// localBed has a real server on this host, and a client's session with it.
func localBed(t *testing.T) *bed {
	t.Helper()
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "127.0.0.1:80")).withStack()
	b.edited(func(s *Snapshot) { s.Dests[1].Local, s.Dests[1].Hop = true, 0 })
	b.one(0, syn4(t), 0)
	got := b.heard()
	if len(got) != 1 || got[0].To() != netip.MustParseAddrPort("127.0.0.1:80") {
		t.Fatalf("the stack heard %d packets: %v", len(got), b.counted())
	}
	return b
}

func TestALocalSessionCountsAndIsTrackedBothWays(t *testing.T) {
	b := localBed(t)
	b.says(seg{src: vip4, dst: client4, flags: packet.TCPSyn | packet.TCPAck}.bytes(t))
	out := b.send(0)
	if len(out) != 1 || packet.MAC(out[0].Data[:6]) != routerMAC || decode(t, out[0].Data).ttl != 64 {
		t.Fatalf("%d frames left: %v", len(out), b.counted())
	}
	b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPAck}.bytes(t), 0)
	want := DestStats{Conns: 1, InPackets: 2, OutPackets: 1, InBytes: 64 + 40, OutBytes: 40}
	if got := b.worker.Stats().Dest(1); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if load := b.load(1); load[0] != 1 {
		t.Errorf("%d active sessions, want 1: the handshake is over", load[0])
	}
	b.check()
}

func TestAStackWithoutRoomIsCounted(t *testing.T) {
	b := localBed(t)
	ack := seg{src: client4, dst: vip4, flags: packet.TCPAck, payload: 100}.bytes(t)
	for range stackSlots + 1 {
		b.one(0, ack, 0)
	}
	if b.verdict(DropStackFull) != 1 || b.worker.stack.ToStack.Lost() != 1 {
		t.Errorf("one packet more than %d: %v", stackSlots, b.counted())
	}
	b.check()
}

func TestWithoutFramesTheStackWaits(t *testing.T) {
	b := newBed(t, bedOptions{heap: true, frames: 1}, service(vip4, lvs.MethodDR, "10.0.0.21:80")).withStack()
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	b.one(0, syn4(t), 0) // holds the one frame
	_, syn, _ := b.probed(lvs.MethodDR, "10.0.0.21:80")
	b.says(syn)
	b.send(0)
	if n := b.worker.stack.FromStack.Len(); n != 1 || b.worker.sleepTime() == sleepMax {
		t.Errorf("%d packets wait, and the worker sleeps %v", n, b.worker.sleepTime())
	}
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopReady })
	if b.send(0); b.verdict(TxProbe) != 1 {
		t.Errorf("the packet is lost: %v", b.counted())
	}
	b.check()
}

func TestTheStackCostsNoAllocation(t *testing.T) {
	b := newBed(t, bedOptions{bits: 12}, service(vip4, lvs.MethodNAT, "10.0.0.21:8080")).withStack()
	_, syn, answer := b.probed(lvs.MethodNAT, "10.0.0.21:8080")
	q := newLoopQueue(map[uint8][][]byte{1: {forPort(1, answer)}})
	b.worker.queue = q
	testutil.AllocFree(t, func() {
		b.worker.stack.ToStack.Release(b.worker.stack.ToStack.Len())
		b.worker.stack.FromStack.Push(syn[packet.EthernetLen:], netip.AddrPort{})
		q.left = 1
		b.worker.RunOnce(b.now)
	})
	if b.verdict(TxProbe) == 0 || b.verdict(ProbeAnswer) == 0 || b.verdict(DropStackFull) != 0 {
		t.Errorf("what was measured is something else: %v", b.counted())
	}
}
