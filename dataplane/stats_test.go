package dataplane

import (
	"testing"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// load returns what a destination is counted with: active, inactive, templates.
func (b *bed) load(id lvs.DestID) [3]int32 {
	l := b.services.Dest(id).Load
	return [3]int32{l.Active(), l.Inactive(), l.Persist()}
}

func (b *bed) wantLoad(what string, id lvs.DestID, want [3]int32) {
	b.tb.Helper()
	if got := b.load(id); got != want {
		b.tb.Errorf("%s: real server %d has active, inactive, templates %v, want %v", what, id, got, want)
	}
}

func TestASessionThatExpiresIsGivenBack(t *testing.T) {
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN} {
		b := newBed(t, bedOptions{heap: true}, service("198.18.0.100:80", m, "10.0.0.21:80"))
		b.one(0, seg{src: "192.0.2.1:40000", dst: "198.18.0.100:80", flags: packet.TCPSyn}.bytes(t), 1)
		b.wantLoad("after the SYN", 1, [3]int32{1, 0, 0})
		b.worker.Sweep(b.now + 60*conntrack.TicksPerSecond - 1)
		b.wantLoad("just before SYN_RECV is over", 1, [3]int32{1, 0, 0})
		b.worker.Sweep(b.now + 60*conntrack.TicksPerSecond)
		b.wantLoad("when SYN_RECV is over", 1, [3]int32{})
		if n := b.table.Stats().Conns; n != 0 {
			t.Errorf("%s: %d sessions are left", m, n)
		}
	}
}
