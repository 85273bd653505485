package route

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
)

// rig is two hosts joined by a veth: a0 (192.0.2.1, 2001:db8::1), watched, and b0
// (.2, ::2) in a namespace of its own.
type rig struct {
	t    *testing.T
	a, b *testutil.NetNS
	w    *Watcher
}

// newRig opens a Watcher with opt in the first namespace.
func newRig(t *testing.T, opt Options) *rig {
	t.Helper()
	r := &rig{t: t, a: testutil.NewNetNS(t), b: testutil.NewNetNS(t)}
	r.on(r.a, noDAD)
	r.on(r.b, noDAD)
	r.on(r.a, func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a0"}, PeerName: "b0",
			PeerNamespace: netlink.NsFd(int(r.b.Handle()))}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		return setUp("a0", "192.0.2.1/24", "2001:db8::1/64")
	})
	r.on(r.b, func() error { return setUp("b0", "192.0.2.2/24", "2001:db8::2/64") })
	r.awaitCarrier(r.a, "a0")
	r.awaitCarrier(r.b, "b0")
	opt.NetNS = r.a.Handle()
	w, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	r.w = w
	return r
}

func (r *rig) on(ns *testutil.NetNS, fn func() error) {
	r.t.Helper()
	if err := ns.Do(fn); err != nil {
		r.t.Fatal(err)
	}
}

func setUp(name string, addrs ...string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, text := range addrs {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		a.Flags |= unix.IFA_F_NODAD
		if err := netlink.AddrAdd(l, a); err != nil {
			return fmt.Errorf("%s on %s: %w", text, name, err)
		}
	}
	return netlink.LinkSetUp(l)
}

// noDAD makes link-local addresses usable at once: until then the kernel solicits nobody.
func noDAD() error {
	return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644)
}

// awaitCarrier waits until the link sends: the kernel may take a second after its peer is up.
func (r *rig) awaitCarrier(ns *testutil.NetNS, name string) {
	r.t.Helper()
	r.on(ns, func() error {
		testutil.Await(r.t, name+" has carrier", func() bool {
			l, err := netlink.LinkByName(name)
			return err == nil && l.Attrs().Flags&net.FlagRunning != 0
		})
		return nil
	})
}

// await waits for a State that satisfies cond, looking at each change, and now and then for what is
// not worth a Change.
func (r *rig) await(what string, cond func(*State) bool) {
	r.t.Helper()
	limit := time.After(testutil.AwaitLimit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond(r.w.State()) {
		select {
		case <-r.w.Changes():
		case <-tick.C:
		case <-limit:
			r.t.Fatalf("waited in vain: %s\nlinks %+v", what, r.w.State().Links())
		}
	}
}

func (r *rig) link(name string) Link {
	r.t.Helper()
	r.await(name+" is seen", func(s *State) bool { _, ok := s.LinkByName(name); return ok })
	l, _ := r.w.State().LinkByName(name)
	return l
}

func (r *rig) mac(ns *testutil.NetNS, name string) (m [6]byte) {
	r.on(ns, func() error {
		l, err := net.InterfaceByName(name)
		if err == nil {
			copy(m[:], l.HardwareAddr)
		}
		return err
	})
	return m
}

func TestOpenReadsWhatIsThere(t *testing.T) {
	r := newRig(t, Options{})
	l := r.link("a0")
	if l.MAC != r.mac(r.a, "a0") || l.MTU != 1500 || l.Kind != "veth" || l.Parent != 0 {
		t.Errorf("got %+v", l)
	}
	for dst, src := range map[string]string{"192.0.2.9": "192.0.2.1", "2001:db8::9": "2001:db8::1"} {
		want := Hop{Link: l.Index, NextHop: addr(dst), Source: addr(src), MTU: 1500}
		r.await(fmt.Sprintf("a hop %+v", want), func(s *State) bool {
			hop, ok := s.Lookup(addr(dst))
			return ok && hop == want
		})
		if !r.w.State().Local(addr(src)) || r.w.State().Local(addr(dst)) {
			t.Errorf("local: %s must be, %s must not", src, dst)
		}
	}
}

func TestAskResolvesANeighbour(t *testing.T) {
	r := newRig(t, Options{})
	l, mac := r.link("a0"), r.mac(r.b, "b0")
	for _, a := range []string{"192.0.2.2", "2001:db8::2"} {
		if n, ok := r.w.State().Neigh(l.Index, addr(a)); ok && n.Resolved {
			t.Fatalf("%s is known before it was asked for", a)
		}
		if err := r.w.Ask(l.Index, addr(a)); err != nil {
			t.Fatal(err)
		}
		r.await(a+" is resolved", func(s *State) bool {
			n, ok := s.Neigh(l.Index, addr(a))
			return ok && n.Resolved && n.MAC == mac
		})
	}
}

func TestARouteComesAndGoes(t *testing.T) {
	r := newRig(t, Options{})
	l := r.link("a0")
	dst := &net.IPNet{IP: net.IPv4(198, 18, 0, 0), Mask: net.CIDRMask(15, 32)}
	via := func(last byte) *netlink.Route {
		return &netlink.Route{Dst: dst, LinkIndex: l.Index, Gw: net.IPv4(192, 0, 2, last), MTU: 1400}
	}
	hop := func(s *State) Hop { h, _ := s.Lookup(addr("198.18.1.1")); return h }
	r.on(r.a, func() error { return netlink.RouteAdd(via(2)) })
	want := Hop{Link: l.Index, NextHop: addr("192.0.2.2"), Source: addr("192.0.2.1"), MTU: 1400}
	r.await("the route", func(s *State) bool { return hop(s) == want })
	r.on(r.a, func() error { return netlink.RouteReplace(via(3)) })
	r.await("the other gateway", func(s *State) bool { return hop(s).NextHop == addr("192.0.2.3") })
	r.on(r.a, func() error { return netlink.RouteDel(via(3)) })
	r.await("no route", func(s *State) bool { return hop(s) == Hop{} })
	r.on(r.a, func() error { return netlink.RouteAdd(via(2)) })
	r.await("the route again", func(s *State) bool { return hop(s) == want })
	r.on(r.a, func() error { return netlink.LinkSetDown(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}) })
	r.await("no route over a link that is down", func(s *State) bool { return hop(s) == Hop{} })
}

func TestAMultipathRouteLosesItsHeavierHop(t *testing.T) {
	for _, c := range []struct{ dst, first, second string }{
		{"198.18.0.0/15", "192.0.2.2", "192.0.2.3"}, {"2001:db8:9::/48", "2001:db8::2", "2001:db8::3"},
	} {
		t.Run(c.dst, func(t *testing.T) {
			r := newRig(t, Options{})
			l := r.link("a0")
			_, dst, _ := net.ParseCIDR(c.dst)
			hops := []*netlink.NexthopInfo{
				{LinkIndex: l.Index, Gw: net.ParseIP(c.second)}, {LinkIndex: l.Index, Gw: net.ParseIP(c.first), Hops: 4},
			}
			r.on(r.a, func() error { return netlink.RouteAdd(&netlink.Route{Dst: dst, MultiPath: hops}) })
			inside := prefix(c.dst).Addr().Next()
			next := func(s *State) netip.Addr { h, _ := s.Lookup(inside); return h.NextHop }
			r.await("the heavier hop", func(s *State) bool { return next(s) == addr(c.first) })
			r.on(r.a, func() error {
				return netlink.RouteReplace(&netlink.Route{Dst: dst, LinkIndex: l.Index, Gw: net.ParseIP(c.second)})
			})
			r.await("the hop that is left", func(s *State) bool { return next(s) == addr(c.second) })
		})
	}
}

func TestAVLANNamesItsParent(t *testing.T) {
	r := newRig(t, Options{})
	l := r.link("a0")
	attrs := netlink.LinkAttrs{Name: "a0.100", ParentIndex: l.Index}
	err := r.a.Do(func() error { return netlink.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: 100}) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no VLAN links (8021q); TestAVLANMessageIsUnderstood reads what one would send")
	}
	if err != nil {
		t.Fatal(err)
	}
	if v := r.link("a0.100"); v.Parent != l.Index || v.VLAN != 100 || v.Kind != "vlan" {
		t.Errorf("got %+v, parent %d", v, l.Index)
	}
}

func TestLinksNameTheirParentAndMasterAndLeave(t *testing.T) {
	r := newRig(t, Options{})
	l := r.link("a0")
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	upper := &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "mv0", ParentIndex: l.Index}}
	r.on(r.a, func() error { return errors.Join(netlink.LinkAdd(upper), netlink.LinkAdd(bridge)) })
	if v := r.link("mv0"); v.Parent != l.Index || v.VLAN != 0 || v.Kind != "macvlan" {
		t.Errorf("got %+v, parent %d", v, l.Index)
	}
	br := r.link("br0")
	r.on(r.a, func() error { return netlink.LinkDel(upper) })
	r.await("mv0 is gone", func(s *State) bool { _, ok := s.LinkByName("mv0"); return !ok })
	port := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}
	r.on(r.a, func() error { return netlink.LinkSetMaster(port, bridge) })
	r.await("a0 is a port of br0", func(s *State) bool { p, _ := s.Link(l.Index); return p.Master == br.Index })
	r.on(r.a, func() error { return netlink.LinkSetNoMaster(port) })
	r.await("a0 is a port no more, and still there", func(s *State) bool {
		p, ok := s.Link(l.Index)
		return ok && p.Master == 0
	})
	r.on(r.b, func() error { return netlink.LinkDel(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "b0"}}) })
	r.await("a0 went with its peer", func(s *State) bool {
		_, ok := s.Link(l.Index)
		_, routed := s.Lookup(addr("192.0.2.9"))
		return !ok && !routed && len(s.Addrs(l.Index)) == 0
	})
}

func TestLearnMakesAStaleNeighbour(t *testing.T) {
	r := newRig(t, Options{})
	l := r.link("a0")
	one, two := [6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 2}
	for _, a := range []netip.Addr{addr("192.0.2.50"), addr("2001:db8::50")} {
		for _, mac := range [][6]byte{one, two} {
			if err := r.w.Learn(l.Index, a, mac); err != nil {
				t.Fatal(err)
			}
			r.await(fmt.Sprintf("%s is at % x", a, mac), func(s *State) bool {
				n, _ := s.Neigh(l.Index, a)
				return n.Resolved && n.MAC == mac && n.State == NeighStale
			})
		}
	}
	for _, bad := range []struct {
		addr string
		mac  [6]byte
	}{{"8.8.8.8", one}, {"192.0.2.1", one}, {"192.0.2.60", [6]byte{}}, {"192.0.2.60", [6]byte{1}}, {"224.0.0.1", one}} {
		if err := r.w.Learn(l.Index, addr(bad.addr), bad.mac); !errors.Is(err, ErrNotNeighbour) {
			t.Errorf("%s at % x: %v, want it refused", bad.addr, bad.mac, err)
		}
	}
}

func TestLearnLeavesAPermanentNeighbourAlone(t *testing.T) {
	r := newRig(t, Options{})
	l, fixed := r.link("a0"), net.HardwareAddr{2, 0, 0, 0, 0, 9}
	r.on(r.a, func() error {
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Index, IP: net.IPv4(192, 0, 2, 7), HardwareAddr: fixed,
			State: netlink.NUD_PERMANENT})
	})
	get := func(s *State) Neigh { n, _ := s.Neigh(l.Index, addr("192.0.2.7")); return n }
	r.await("the permanent neighbour", func(s *State) bool { return get(s).State == NeighPermanent })
	if err := r.w.Learn(l.Index, addr("192.0.2.7"), [6]byte{2, 0, 0, 0, 0, 1}); err != nil {
		t.Fatal(err)
	}
	r.on(r.a, func() error { return setUp("a0", "203.0.113.1/24") })
	r.await("an event later than Learn's, had it made one", func(s *State) bool { return s.Local(addr("203.0.113.1")) })
	if got := get(r.w.State()); got.MAC != [6]byte(fixed) || got.State != NeighPermanent {
		t.Errorf("the permanent neighbour became %+v", got)
	}
}

func TestRefreshNoticesANewMAC(t *testing.T) {
	r := newRig(t, Options{Refresh: 50 * time.Millisecond})
	l := r.link("a0")
	r.on(r.a, func() error { return fastProbes("a0") })
	k := NeighKey{l.Index, addr("192.0.2.2")}
	if err := r.w.Learn(k.Link, k.Addr, [6]byte{2, 0, 0, 0, 0, 1}); err != nil {
		t.Fatal(err)
	}
	r.w.Refresh([]NeighKey{k})
	mac := r.mac(r.b, "b0")
	r.await("the wrong MAC is found out", func(s *State) bool { n, _ := s.Neigh(k.Link, k.Addr); return n.MAC == mac })
}

// gate is a log that holds the watcher at its first line about a policy rule until opened.
type gate struct{ reached, open chan struct{} }

func (g gate) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("policy routing")) { // once: the watcher warns of rules once
		close(g.reached)
		<-g.open
	}
	return len(p), nil
}

func TestLostEventsAreMadeGood(t *testing.T) {
	g := gate{make(chan struct{}), make(chan struct{})}
	r := newRig(t, Options{Log: slog.New(slog.NewTextHandler(g, nil)), eventBuffer: 1})
	l, before := r.link("a0"), r.w.Resyncs()
	route := func(i int) *netlink.Route {
		dst := &net.IPNet{IP: net.IPv4(10, 1, byte(i>>8), byte(i)), Mask: net.CIDRMask(32, 32)}
		return &netlink.Route{Dst: dst, LinkIndex: l.Index}
	}
	r.on(r.a, func() error { return netlink.RouteAdd(route(0)) })
	r.await("the first route", func(s *State) bool { _, ok := s.Lookup(addr("10.1.0.0")); return ok })
	r.on(r.a, func() error { return addRule(1) })
	<-g.reached // the watcher warns of the rule, and reads no event meanwhile
	r.on(r.a, func() error {
		for i := 1; i < 1000; i++ {
			if err := netlink.RouteAdd(route(i)); err != nil {
				return err
			}
		}
		return netlink.RouteDel(route(0))
	})
	close(g.open)
	r.await("what the lost events told", func(s *State) bool {
		_, first := s.Lookup(addr("10.1.0.0"))
		_, last := s.Lookup(addr("10.1.3.231"))
		_, n, _ := s.Counts()
		return !first && last && n >= 999
	})
	if r.w.Resyncs() == before {
		t.Error("no event was lost: the test tests nothing")
	}
}

// addRule adds a policy rule for a firewall mark.
func addRule(mark uint32) error {
	rule := netlink.NewRule()
	rule.Family, rule.Table, rule.Priority, rule.Mark = netlink.FAMILY_V4, 100, 1000+int(mark), mark
	return netlink.RuleAdd(rule)
}

// logBook collects log lines.
type logBook struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.Write(p)
}

func (b *logBook) count(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.lines.String(), what)
}

func TestPolicyRulesAreWarnedOfOnce(t *testing.T) {
	book := &logBook{}
	r := newRig(t, Options{Log: slog.New(slog.NewTextHandler(book, nil))})
	if book.count("policy routing") != 0 {
		t.Fatal("warned of a new namespace's own rules")
	}
	for mark := range uint32(3) {
		r.on(r.a, func() error { return addRule(mark + 1) })
	}
	r.on(r.a, func() error { return setUp("a0", "203.0.113.1/24") })
	r.await("a later event", func(s *State) bool { return s.Local(addr("203.0.113.1")) })
	if n := book.count("policy routing"); n != 1 {
		t.Errorf("warned %d times, want once", n)
	}
}

func TestCloseEndsChangesAndMayBeRepeated(t *testing.T) {
	r := newRig(t, Options{})
	for range 2 {
		if err := r.w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range r.w.Changes() { // ends because it is closed
	}
	if _, ok := r.w.State().LinkByName("a0"); !ok {
		t.Error("the last State is gone")
	}
	if err := r.w.Ask(1, addr("192.0.2.2")); err == nil {
		t.Error("Ask after Close succeeds")
	}
}
