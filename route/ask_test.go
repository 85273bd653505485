package route

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"
)

// fastProbes makes the kernel doubt a stale neighbour at once, not after five seconds.
func fastProbes(link string) error {
	return os.WriteFile("/proc/sys/net/ipv4/neigh/"+link+"/delay_first_probe_time", []byte("0"), 0o644)
}

func TestANeighbourIsAskedForOnceASecondTheFirstTimeAtOnce(t *testing.T) {
	l := limiter{last: map[NeighKey]time.Time{}}
	now := time.Unix(1000, 0)
	k := NeighKey{2, addr("192.0.2.2")}
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {askGap - 1, false}, {1, true}, {1, false}} {
		now = now.Add(step.after)
		if ok, err := l.allow(k, now); ok != step.want || err != nil {
			t.Errorf("at %v: %v %v, want %v", now.Sub(time.Unix(1000, 0)), ok, err, step.want)
		}
	}
}

func TestTheTableOfAskedNeighboursIsBounded(t *testing.T) {
	l := limiter{last: map[NeighKey]time.Time{}}
	now := time.Unix(1000, 0)
	a := netip.MustParseAddr("10.0.0.0")
	for range maxAsked {
		if ok, err := l.allow(NeighKey{2, a}, now); !ok || err != nil {
			t.Fatalf("%s: %v %v", a, ok, err)
		}
		a = a.Next()
	}
	if ok, err := l.allow(NeighKey{2, a}, now); ok || !errors.Is(err, ErrTooMany) {
		t.Errorf("one more than %d: %v %v, want ErrTooMany", maxAsked, ok, err)
	}
	if ok, err := l.allow(NeighKey{2, a}, now.Add(askGap)); !ok || err != nil || len(l.last) != 1 {
		t.Errorf("a second later: %v %v with %d remembered", ok, err, len(l.last))
	}
}

func TestOnlyADoubtfulNeighbourOfALinkThatIsUpIsAskedFor(t *testing.T) {
	d := newDraft(&State{})
	d.setLink(Link{Index: 2, Admin: true, Up: true})
	d.setLink(Link{Index: 3, Admin: true})
	a := addr("192.0.2.2")
	if !d.wantsAsking(NeighKey{2, a}) || d.wantsAsking(NeighKey{3, a}) || d.wantsAsking(NeighKey{4, a}) {
		t.Error("an unknown neighbour is asked for on a link that is up, and only there")
	}
	for state, want := range map[NeighState]bool{
		NeighStale: true, NeighFailed: true, NeighReachable: false, NeighDelay: false, NeighProbe: false,
		NeighIncomplete: false, NeighPermanent: false, NeighNoARP: false,
	} {
		d.setNeigh(Neigh{Link: 2, Addr: a, State: state})
		if got := d.wantsAsking(NeighKey{2, a}); got != want {
			t.Errorf("%v: asked %v, want %v", state, got, want)
		}
	}
}
