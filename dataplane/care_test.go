package dataplane

import (
	"testing"

	"ulvs/lvs"
	"ulvs/packet"
)

func TestAHeldFrameIsGivenUpInTimeHoweverOftenSnapshotsChange(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	b.one(0, syn4(t), 0)
	for range 5 * holdTicks {
		b.now++
		b.edited(func(*Snapshot) {})
		b.send(0)
	}
	b.wantHeld("after 5 s of snapshots", 0)
}

func TestAOnePacketSessionWhosePacketWasHeldDoesNotLinger(t *testing.T) {
	s := serviceOf(lvs.ProtoUDP, vip4, lvs.MethodDR, "10.0.0.21:80")
	s.OnePacket = true
	b := newBed(t, bedOptions{heap: true}, s)
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	b.one(0, seg{src: client4, dst: vip4, proto: packet.ProtoUDP}.bytes(t), 0)
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopReady })
	b.send(0)
	if n := b.table.Stats().Conns; n != 0 {
		t.Errorf("%d OPS sessions linger", n)
	}
}

func TestWhatCameByBroadcastIsNotAnsweredFromABroadcastMAC(t *testing.T) {
	b := hostileBed(t, 1)
	syn := spoil(seg{src: client4, dst: "198.18.0.100:81", flags: packet.TCPSyn}.bytes(t), 0, 255, 255, 255, 255, 255, 255)
	ping := spoil(echo(t, "192.0.2.1", "198.18.0.100", 8), 0, 255, 255, 255, 255, 255, 255)
	out := b.send(0, syn, ping)
	if len(out) != 1 {
		t.Errorf("%d answers, want the echo reply only", len(out))
	}
	for _, s := range out {
		if [6]byte(s.Data[6:12]) != portMACs[0] {
			t.Errorf("answered from %x", s.Data[6:12])
		}
	}
}

func TestAnEchoFromNobodyIsNotAnswered(t *testing.T) {
	b := hostileBed(t, 1)
	b.dropped(echo(t, "::", "2001:db8:c::100", 8), DropICMP)
}
