package ha

import (
	"net/netip"
	"testing"
)

func TestMastersThatAreHeardAreCounted(t *testing.T) {
	d := newDesk(t, one(v3(100)))
	d.do(Event{Kind: EventStart})
	want := func(what string, n int) {
		t.Helper()
		if got := d.m.Masters(0, d.now); got != n {
			t.Errorf("%s: %d masters, want %d", what, got, n)
		}
	}
	want("at first", 0)
	d.hear(200, 100*millisecond)
	want("one is heard", 1)
	third := netip.MustParseAddr("198.18.0.13")
	d.do(Event{Kind: EventAdvert, Advert: advertOf(150, 100*millisecond), From: third})
	want("a second one", 2)
	d.do(Event{Kind: EventAdvert, Advert: advertOf(PriorityGiveUp, 100*millisecond), From: third})
	want("which gives up", 1)
	d.now += 301 * millisecond
	want("silence", 0)
	d.at(second)
	want("this director took over", 1)
	d.hear(50, 100*millisecond)
	want("beside a lower one", 2)
	for i := range 20 {
		from := netip.AddrFrom4([4]byte{198, 18, 0, byte(100 + i)})
		d.do(Event{Kind: EventAdvert, Advert: advertOf(10, 100*millisecond), From: from})
	}
	want("a flood of senders", sendersMax+1)
}
