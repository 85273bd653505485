package director

import (
	"testing"
	"time"

	"ulvs/dataplane"
	"ulvs/ha"
	"ulvs/packet"
)

// What is of no session here is dropped, until what peers may tell has had its time, and then reset.
func TestUnknownSegmentsWaitForSessionsOfPeers(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1))
	d := &takeover{d: &director{Node: b.Node}}
	// The bed's segments have no checksum: what would be reset is dropped for that.
	counts := func() [2]uint64 {
		s := b.worker.Stats()
		return [2]uint64{s.Verdict(dataplane.DropUnsynced), s.Verdict(dataplane.DropNoService)}
	}
	want := func(what string, dropped, reset uint64) {
		t.Helper()
		b.packet(4000, packet.TCPAck)
		if got := counts(); got != [2]uint64{dropped, reset} {
			t.Errorf("%s: %d dropped and %d reset, want %d and %d", what, got[0], got[1], dropped, reset)
		}
	}
	want("before", 0, 1)
	d.act(nil, &ha.Action{Kind: ha.ActionSettle, Linger: time.Hour})
	want("another owner was there", 1, 1)
	b.replace(service(80, 1, 2))
	want("with services changed meanwhile", 2, 1)
	till := d.settled
	d.act(nil, &ha.Action{Kind: ha.ActionSettle, Linger: time.Minute})
	d.endSettling(till.Add(-time.Second))
	want("a shorter wait ends no longer one", 3, 1)
	d.endSettling(till)
	want("it is over", 3, 2)
}
