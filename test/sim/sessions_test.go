package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/conntrack"
)

// optionsWithSessions varies the world with the seed.
func optionsWithSessions(seed uint64) Options {
	o := optionsOf(seed, seed%3 == 0)
	o.Sessions = true
	return o
}

// Whatever happens to directors and links, a session that a director acknowledged stays where it is, and when all is
// mended everybody has the same table.
func TestNoAcknowledgedSessionIsLost(t *testing.T) {
	var unlucky, lived atomic.Int64
	everySeed(t, func(seed uint64) ([]string, []string) {
		w := New(optionsWithSessions(seed))
		w.Run(10 * time.Second)
		w.Faults(20 * time.Second)
		w.Quiet()
		w.agree()
		w.decided()
		w.Run(10 * time.Second) // new sessions go where all directors agree that they go
		unlucky.Add(int64(w.unlucky))
		lived.Add(int64(len(w.crowd)))
		return w.Broken(), w.Trace
	})
	t.Logf("%d sessions lived at the end; %d were lost before anybody had acknowledged them", lived.Load(),
		unlucky.Load())
}

// differences names what only one of two tables has, or has otherwise.
func differences(a, b map[conntrack.Key]conntrack.Record) string {
	var out []string
	for k, r := range a {
		if o, ok := b[k]; !ok || o != r {
			out = append(out, fmt.Sprintf("%v, there %v", describe(&r), describe(&o)))
		}
	}
	for k, r := range b {
		if _, ok := a[k]; !ok {
			out = append(out, fmt.Sprintf("only there %v", describe(&r)))
		}
	}
	return strings.Join(out, "; ")
}

func describe(r *conntrack.Record) string {
	return fmt.Sprintf("client %x port %d at %x, version %d.%d", byte(r.Addr[0]>>24), uint16(r.L4), r.DestAddr[0]>>24,
		r.Version.Term(), r.Version&(1<<40-1))
}

// agree has clients be silent, and waits until all directors have the same table: what ended while its owner was away
// ends at each when its time is over, and digests tell the others.
func (w *World) agree() {
	w.talking = false
	why := ""
	for range 60 {
		w.Run(time.Second)
		if why = w.apart(); why == "" {
			break
		}
	}
	if why != "" && len(w.broken) == 0 {
		w.fail("after a minute of quiet %s", why)
	}
	w.talking = true
}

// apart says what keeps directors from being equal.
func (w *World) apart() string {
	first := w.Nodes[0].plane.shared(w.Now)
	for _, n := range w.Nodes {
		if !n.plane.core.Ready() {
			peers, sessions := n.plane.core.View()
			return fmt.Sprintf("%s has not all sessions: %d, %+v", n.Name, sessions, peers)
		}
		if got := n.plane.shared(w.Now); !maps.Equal(first, got) {
			return fmt.Sprintf("%s and %s differ: %s", w.Nodes[0].Name, n.Name, differences(first, got))
		}
	}
	return ""
}

// The checks can fail: a session that is elsewhere than where it was sent is noticed, and one without its template, and
// a datagram that was not there before.
func TestTheSessionInvariantsAreChecked(t *testing.T) {
	for _, plant := range []struct {
		what string
		do   func(w *World, n *Node, s *session)
	}{
		{"another real server", func(_ *World, _ *Node, s *session) { s.real = realAddr(9) }},
		{"no session", func(_ *World, _ *Node, s *session) { s.from = netip.AddrPortFrom(s.from.Addr(), 1) }},
		{"no template", func(_ *World, _ *Node, s *session) { s.port = portSaved }},
		{"a template elsewhere", func(w *World, _ *Node, s *session) {
			s.port = portSaved // of a client that has a template
			w.placesOf(s.from.Addr()).reals = []netip.Addr{realAddr(9)}
		}},
		{"a datagram that is new", func(w *World, n *Node, _ *session) {
			other := w.Nodes[(n.id+1)%len(w.Nodes)].plane
			for range 100 { // whichever of them the forger sends as it is
				n.plane.kept = append(n.plane.kept, sealed{other.box.Seal(nil)})
			}
		}},
	} {
		w := New(Options{Seed: 3, Nodes: 2, Advert: 100 * time.Millisecond, Sessions: true})
		w.Run(15 * time.Second)
		i := slices.IndexFunc(w.crowd, func(s *session) bool { return s.open && s.port == portPlain })
		plant.do(w, w.serving(), w.crowd[i])
		w.Run(10 * time.Second)
		if len(w.Broken()) == 0 {
			t.Errorf("%s: not noticed", plant.what)
		}
	}
}
