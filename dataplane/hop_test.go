package dataplane

import (
	"net/netip"
	"testing"

	"ulvs/lvs"
	"ulvs/packet"
)

// edited stores a copy of the running snapshot, changed, as the next generation.
func (b *bed) edited(change func(s *Snapshot)) {
	s := *b.snapshots.Load()
	s.Generation++
	s.Hops = append([]Hop(nil), s.Hops...)
	ids := map[HopKey]HopID{}
	for k, id := range s.HopIDs {
		ids[k] = id
	}
	s.HopIDs = ids
	change(&s)
	b.snapshots.Store(&s)
}

func (b *bed) hopOf(dst string) HopID {
	key, _ := b.NextHop(netip.MustParseAddr(dst))
	return b.snapshots.Load().HopIDs[key]
}

func (b *bed) verdict(v Verdict) uint64 { return b.worker.Stats().Verdict(v) }

func (b *bed) wantHeld(what string, n int) {
	b.tb.Helper()
	if b.worker.nHeld != n || b.queue.Lent() != n {
		b.tb.Errorf("%s: %d frames are held and %d lent, want %d", what, b.worker.nHeld, b.queue.Lent(), n)
	}
	b.check()
}

func TestAFrameWaitsForItsNextHopAndLeavesWhenItResolves(t *testing.T) {
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN} {
		b := newBed(t, bedOptions{heap: true}, service(vip4, m, "10.0.0.21:80"))
		id := b.hopOf("10.0.0.21")
		b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
		b.one(0, syn4(t), 0)
		b.wantHeld("unresolved", 1)
		asked := false
		for _, n := range b.noticed() {
			asked = asked || n.Kind == NoticeResolve && n.HopID == id
		}
		if !asked {
			t.Errorf("%s: the director was not asked to resolve hop %d", m, id)
		}
		b.now++
		if out := b.send(0); len(out) != 0 {
			t.Errorf("%s: a frame left without its next hop", m)
		}
		b.edited(func(s *Snapshot) { s.Hops[id].State = HopReady })
		out := b.send(0)
		if len(out) != 1 || packet.MAC(out[0].Data[:6]) != realMAC(21) {
			t.Errorf("%s: %d frames left when the hop resolved", m, len(out))
		}
		b.wantHeld("resolved", 0)
		want := DestStats{Conns: 1, InPackets: 1, InBytes: 64}
		if got := b.worker.Stats().Dest(1); got != want || b.verdict(forwards[m]) != 1 {
			t.Errorf("%s: counted %+v, want %+v; %v", m, got, want, b.counted())
		}
	}
}

func TestFramesThatWaitTooLongAreDropped(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	b.one(0, syn4(t), 0)
	b.now += holdTicks - 1
	b.send(0)
	b.wantHeld("a tick before its time", 1)
	b.now++
	b.send(0)
	b.wantHeld("in time", 0)
	if n := b.verdict(DropNeighbour); n != 1 {
		t.Errorf("%d frames dropped for their neighbour: %v", n, b.counted())
	}
}

func TestOnlySoManyFramesAreHeld(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	for range holdLimit + 30 {
		b.one(0, syn4(t), 0)
	}
	b.wantHeld("over the limit", holdLimit)
	if n := b.verdict(DropNeighbour); n != 30 {
		t.Errorf("%d frames over the limit were dropped, want 30", n)
	}
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopReady })
	if out := b.send(0); len(out) != holdLimit {
		t.Errorf("%d frames left, want all %d", len(out), holdLimit)
	}
	b.wantHeld("resolved", 0)
}

func TestAnUnreachableHopDropsAtOnce(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	b.edited(func(s *Snapshot) { s.Hops[b.hopOf("10.0.0.21")].State = HopUnreachable })
	b.dropped(syn4(t), DropNoRoute)
}

// natReply starts a NAT session and returns the real server's answer to it.
func (b *bed) natReply(client string) []byte {
	b.tb.Helper()
	b.one(0, seg{src: client, dst: vip4, flags: packet.TCPSyn}.bytes(b.tb), 1)
	return seg{
		src: "10.0.0.21:80", dst: client, flags: packet.TCPSyn | packet.TCPAck, srcMAC: realMAC(21), dstMAC: portMACs[1],
	}.bytes(b.tb)
}

func TestAReplyOverAHopThatNobodyKnowsWaitsForTheDirector(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodNAT, "10.0.0.21:80"))
	answer := b.natReply(client4)
	key, _ := b.NextHop(netip.MustParseAddr("192.0.2.1"))
	id := b.hopIDs[key]
	b.edited(func(s *Snapshot) { delete(s.HopIDs, key) })
	b.one(1, answer, 0)
	b.wantHeld("no hop", 1)
	if n := b.noticed(); len(n) == 0 || n[0].Kind != NoticeNewHop || n[0].Hop != key {
		t.Errorf("noticed %+v, want a new hop %v", n, key)
	}
	b.edited(func(s *Snapshot) { s.HopIDs[key] = id })
	if out := b.send(0); len(out) != 1 || out[0].Port != 0 {
		t.Errorf("%d frames left when the hop was known", len(out))
	}
	b.wantHeld("known", 0)
}

// otherRoutes sends everything to one neighbour, or nowhere.
type otherRoutes struct{ key HopKey }

func (r otherRoutes) NextHop(netip.Addr) (HopKey, bool) { return r.key, r.key.Addr.IsValid() }

func TestARouteThatChangesMovesTheSessionsThatRun(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodNAT, "10.0.0.21:80"))
	answer := b.natReply(client4)
	if out := b.one(1, answer, 1)[0]; packet.MAC(out.Data[:6]) != routerMAC {
		t.Fatalf("the first reply went to %x", out.Data[:6])
	}
	other := packet.MAC{2, 7, 7, 7, 7, 7}
	key := HopKey{Port: 0, VLAN: 5, Addr: netip.MustParseAddr("192.0.2.253")}
	b.edited(func(s *Snapshot) {
		s.HopIDs[key] = HopID(len(s.Hops))
		s.Hops = append(s.Hops, NewHop(key, other, portMACs[0], 1500))
		s.Routes = otherRoutes{key}
	})
	if out := b.one(1, answer, 1)[0]; packet.MAC(out.Data[:6]) != routerMAC {
		t.Error("the session asked for its route again though the epoch is the same")
	}
	b.edited(func(s *Snapshot) { s.RouteEpoch++ })
	if got := decode(t, b.one(1, answer, 1)[0].Data); got.dstMAC != other || got.vlan != 5 || got.src.String() != vip4 {
		t.Errorf("after the change the reply left as %+v", got)
	}
	b.edited(func(s *Snapshot) { s.RouteEpoch++; s.Routes = otherRoutes{} })
	b.one(1, answer, 0)
	if b.verdict(DropNoRoute) != 1 {
		t.Errorf("without a route: %v", b.counted())
	}
	b.check()
}

func TestARealServersOwnPacketsAreRoutedAsTheyAre(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodNAT, "10.0.0.21:80"), service(
		"198.18.0.101:80", lvs.MethodDR, "10.0.0.22:80"))
	own := seg{src: "10.0.0.21:5555", dst: "192.0.2.9:5300", proto: packet.ProtoUDP, payload: 40, dstMAC: portMACs[1]}
	out := b.one(1, own.bytes(t), 1)[0]
	got := decode(t, out.Data)
	if out.Port != 0 || got.dstMAC != routerMAC || got.src.String() != own.src || got.dst.String() != own.dst ||
		got.ttl != 63 {
		t.Errorf("left by port %d as %+v", out.Port, got)
	}
	if b.verdict(TxRouted) != 1 {
		t.Errorf("counted %v", b.counted())
	}
	b.one(1, seg{src: "10.0.0.21:5555", dst: "203.0.113.1:5300"}.bytes(t), 0)
	if b.verdict(DropNoRoute) != 1 {
		t.Errorf("where no route goes: %v", b.counted())
	}
	b.check()
}

func TestAFullNoticeChannelIsCountedAndNeverWaitedFor(t *testing.T) {
	b := newBed(t, bedOptions{heap: true, frames: 512}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	for range 2 * cap(b.notices) {
		b.one(0, syn4(t), 0)
	}
	if len(b.notices) != cap(b.notices) || b.worker.Stats().NoticesLost() == 0 {
		t.Errorf("%d notices wait, %d were lost", len(b.notices), b.worker.Stats().NoticesLost())
	}
	b.check()
}

func TestFramesHeldForAnotherQueueAreGivenUpWithIt(t *testing.T) {
	b := newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	b.one(0, syn4(t), 0)
	b.queue = newBed(t, bedOptions{heap: true}).queue
	b.worker.SetQueue(b.queue)
	b.send(0)
	b.wantHeld("on a new queue", 0)
	if b.verdict(DropNeighbour) != 1 {
		t.Errorf("counted %v", b.counted())
	}
}
