package route

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"ulvs/internal/testutil"
)

// model is the slow table: a list of routes.
type model []parsed

func (m model) lookup(addr netip.Addr) (Route, bool) {
	for _, local := range []bool{true, false} {
		best, found := Route{}, false
		for _, p := range m {
			if p.local != local || !p.Prefix.Contains(addr) {
				continue
			}
			longer := p.Prefix.Bits() > best.Prefix.Bits()
			cheaper := p.Prefix.Bits() == best.Prefix.Bits() && p.Metric < best.Metric
			if !found || longer || cheaper {
				best, found = p.Route, true
			}
		}
		if found {
			return best, true
		}
	}
	return Route{}, false
}

func (m model) add(p parsed) model {
	for i, o := range m {
		if o.local == p.local && o.Prefix == p.Prefix && o.Metric == p.Metric {
			m[i] = p
			return m
		}
	}
	return append(m, p)
}

func (m model) del(p parsed) model {
	return slices.DeleteFunc(m, func(o parsed) bool {
		return o.local == p.local && o.Prefix == p.Prefix && o.sameHop(p.Route)
	})
}

// randomAddr crowds addresses so that prefixes overlap and lookups hit.
func randomAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10, byte(rng.IntN(2)), byte(rng.IntN(4)), byte(rng.IntN(8))})
	}
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(rng.IntN(4)), 15: byte(rng.IntN(8))}
	b[4+rng.IntN(4)] = byte(rng.IntN(2))
	return netip.AddrFrom16(b)
}

func randomRoute(rng *rand.Rand) parsed {
	addr := randomAddr(rng)
	prefix, _ := addr.Prefix(rng.IntN(addr.BitLen() + 1))
	return parsed{local: rng.IntN(8) == 0, Route: Route{
		Prefix: prefix, Metric: rng.IntN(3), Link: 1 + rng.IntN(3), Kind: Kind(rng.IntN(6)),
	}}
}

func TestLookupsEqualTheSlowTables(t *testing.T) {
	rng := testutil.Rand(t)
	d, m := newDraft(&State{}), model(nil)
	for range 4000 {
		if p := randomRoute(rng); rng.IntN(3) > 0 {
			d.addRoute(p, true)
			m = m.add(p)
		} else if len(m) > 0 {
			p = m[rng.IntN(len(m))]
			d.delRoute(p)
			m = m.del(p)
		}
		if rng.IntN(4) == 0 {
			d.publish()
		}
		addr := randomAddr(rng)
		got, ok := d.Route(addr)
		want, wantOK := m.lookup(addr)
		if ok != wantOK || got != want {
			t.Fatalf("%s: got %+v %v, want %+v %v", addr, got, ok, want, wantOK)
		}
	}
	if _, n, _ := d.Counts(); n != len(m) {
		t.Errorf("%d routes, want %d", n, len(m))
	}
}

func TestAPublishedStateNeverChanges(t *testing.T) {
	rng := testutil.Rand(t)
	d := newDraft(&State{})
	for range 300 {
		d.addRoute(randomRoute(rng), false)
		d.setNeigh(Neigh{Link: 1, Addr: randomAddr(rng), Resolved: true, MAC: [6]byte{2}})
		d.setLink(Link{Index: 1 + rng.IntN(3), MTU: rng.IntN(9000), Admin: true})
	}
	s := d.publish()
	before := contents(s)
	for range 2000 {
		switch rng.IntN(5) {
		case 0:
			d.delRoute(randomRoute(rng))
		case 1:
			d.addRoute(randomRoute(rng), true)
		case 2:
			d.delNeigh(Neigh{Link: 1, Addr: randomAddr(rng)})
		case 3:
			d.setLink(Link{Index: 1 + rng.IntN(3), MTU: rng.IntN(9000), Admin: rng.IntN(2) == 0})
		case 4:
			d.publish()
		}
	}
	d.delLink(1)
	if after := contents(s); !slices.Equal(before, after) {
		t.Errorf("the published state went from %d objects to %d, or they differ", len(before), len(after))
	}
	if !d.change.Links || slices.Equal(before, contents(d.publish())) {
		t.Error("the draft did not change")
	}
}

// contents lists a State's objects in an order of their own.
func contents(s *State) []any {
	var all []any
	for _, l := range s.Links() {
		all = append(all, l)
	}
	var prefixes []netip.Prefix
	s.main.all(func(p netip.Prefix, _ []Route) bool { prefixes = append(prefixes, p); return true })
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	for _, p := range prefixes {
		for _, r := range s.main.routes(p) {
			all = append(all, r)
		}
	}
	var neighs []Neigh
	s.neighs.all(func(_ NeighKey, n Neigh) bool { neighs = append(neighs, n); return true })
	slices.SortFunc(neighs, func(a, b Neigh) int { return a.Addr.Compare(b.Addr) })
	for _, n := range neighs {
		all = append(all, n)
	}
	return all
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestAHopTellsLinkGatewaySourceAndMTU(t *testing.T) {
	d := newDraft(&State{})
	d.setLink(Link{Index: 2, Name: "s0", MTU: 1500, Admin: true, Up: true})
	d.setLink(Link{Index: 3, Name: "c0", MTU: 9000, Admin: true, Up: true})
	for link, list := range map[int][]string{2: {"10.1.0.2/24", "10.9.0.2/24", "fd00:1::2/64"}, 3: {"192.0.2.2/24"}} {
		for _, p := range list {
			d.setAddr(link, address{prefix: prefix(p), subnet: prefix(p).Masked()})
		}
	}
	for _, r := range []parsed{
		{Route: Route{Prefix: prefix("10.1.0.0/24"), Link: 2, Scope: scopeLink}},
		{Route: Route{Prefix: prefix("0.0.0.0/0"), Link: 2, Gateway: addr("10.9.0.1"), Metric: 100, MTU: 1400}},
		{Route: Route{Prefix: prefix("0.0.0.0/0"), Link: 3, Gateway: addr("192.0.2.1"), Metric: 200}},
		{Route: Route{Prefix: prefix("198.18.0.0/15"), Link: 3, Gateway: addr("fe80::1"), Source: addr("10.1.0.2")}},
		{Route: Route{Prefix: prefix("203.0.113.0/24"), Kind: KindBlackhole}},
		{Route: Route{Prefix: prefix("fd00:1::/64"), Link: 2}},
		{Route: Route{Prefix: prefix("10.1.0.2/32"), Link: 2, Kind: KindLocal}, local: true},
		{Route: Route{Prefix: prefix("10.1.0.255/32"), Link: 2, Kind: KindBroadcast}, local: true},
	} {
		d.addRoute(r, false)
	}
	for dst, want := range map[string]Hop{
		"10.1.0.7":        {Link: 2, NextHop: addr("10.1.0.7"), Source: addr("10.1.0.2"), MTU: 1500},
		"::ffff:10.1.0.7": {Link: 2, NextHop: addr("10.1.0.7"), Source: addr("10.1.0.2"), MTU: 1500},
		"8.8.8.8":         {Link: 2, NextHop: addr("10.9.0.1"), Source: addr("10.9.0.2"), MTU: 1400},
		"198.18.0.5":      {Link: 3, NextHop: addr("fe80::1"), Source: addr("10.1.0.2"), MTU: 9000},
		"203.0.113.9":     {NextHop: addr("203.0.113.9"), Unreachable: true},
		"fd00:1::9":       {Link: 2, NextHop: addr("fd00:1::9"), Source: addr("fd00:1::2"), MTU: 1500},
		"10.1.0.2":        {Link: 2, NextHop: addr("10.1.0.2"), Source: addr("10.1.0.2"), MTU: 1500, Local: true},
		"10.1.0.255":      {Link: 2, NextHop: addr("10.1.0.255"), MTU: 1500, Unreachable: true},
	} {
		if got, ok := d.Lookup(addr(dst)); !ok || got != want {
			t.Errorf("%s: got %+v, want %+v", dst, got, want)
		}
	}
	if hop, ok := d.Lookup(addr("2001:db8::1")); ok {
		t.Errorf("2001:db8::1 has no route, got %+v", hop)
	}
	if _, ok := d.Lookup(netip.Addr{}); ok {
		t.Error("the invalid address has a route")
	}
}

func TestAnIPv6SourceHasTheScopeAndPrefixOfItsDestination(t *testing.T) {
	d := newDraft(&State{})
	for _, p := range []string{"fe80::2/64", "fd00:1::2/64", "2001:db8:1::2/64", "2001:db8:2::2/64"} {
		d.setAddr(2, address{prefix: prefix(p), subnet: prefix(p).Masked()})
	}
	d.setAddr(3, address{prefix: prefix("2001:db8:3::2/64"), subnet: prefix("2001:db8:3::/64")})
	d.setAddr(2, address{prefix: prefix("2001:db8:7::2/64"), subnet: prefix("2001:db8:7::/64"), unusable: true})
	for dst, want := range map[string]string{
		"fe80::9":       "fe80::2",
		"fd00:9::9":     "fd00:1::2",
		"2001:db8:2::9": "2001:db8:2::2",
		"2001:db8:3::9": "2001:db8:2::2", // another link's address is only for want of one
		"2001:db8:7::9": "2001:db8:1::2", // the nearest, 2001:db8:7::2, is tentative
	} {
		if got := d.source6(addr(dst), 2); got != addr(want) {
			t.Errorf("%s: source %s, want %s", dst, got, want)
		}
	}
}

func TestALinkThatGoesDownTakesItsRoutes(t *testing.T) {
	d := newDraft(&State{})
	d.setLink(Link{Index: 2, Admin: true})
	d.addRoute(parsed{Route: Route{Prefix: prefix("10.0.0.0/8"), Link: 2}}, false)
	d.addRoute(parsed{Route: Route{Prefix: prefix("10.0.0.0/8"), Link: 3, Metric: 9}}, false)
	d.addRoute(parsed{Route: Route{Prefix: prefix("10.1.1.1/32"), Link: 2, Kind: KindLocal}, local: true}, false)
	d.publish()
	d.setLink(Link{Index: 2})
	if r, ok := d.Route(addr("10.2.2.2")); !ok || r.Link != 3 {
		t.Errorf("got %+v %v, want the route of link 3", r, ok)
	}
	if r, _ := d.Route(addr("10.1.1.1")); r.Kind != KindLocal {
		t.Errorf("the local route went with the link: %+v", r)
	}
	if !d.change.Routes || !d.change.Links || d.unsure {
		t.Errorf("change %+v, unsure %v", d.change, d.unsure)
	}
	d.delLink(2)
	if r, _ := d.Route(addr("10.1.1.1")); r.Kind == KindLocal {
		t.Error("the local route outlived the link")
	}
}

func TestLosingTheChosenHopOfAMultipathRouteLeavesADoubt(t *testing.T) {
	d := newDraft(&State{})
	many := parsed{Route: Route{Prefix: prefix("10.0.0.0/8"), Link: 2, Gateway: addr("10.1.0.1"), Many: true}}
	d.setLink(Link{Index: 2, Admin: true})
	d.addRoute(many, false)
	d.setLink(Link{Index: 2})
	if !d.unsure {
		t.Error("the route may live on with another next hop, and no dump is asked for")
	}
}

func BenchmarkChangeAmong100kRoutes(b *testing.B) {
	d := newDraft(&State{})
	for i := range 100_000 {
		p, _ := netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 0}).Prefix(24)
		d.addRoute(parsed{Route: Route{Prefix: p, Link: 1}}, false)
	}
	d.publish()
	b.Run("route", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			d.addRoute(parsed{Route: Route{Prefix: prefix("0.1.2.0/24"), Link: 1 + i%2}}, true)
			d.publish()
		}
	})
	b.Run("neighbour", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			d.setNeigh(Neigh{Link: 1, Addr: addr("10.0.0.1"), MAC: [6]byte{2, byte(i)}, Resolved: true})
			d.publish()
		}
	})
	b.Run("lookup", func(b *testing.B) {
		s, a := d.publish(), addr("0.1.2.3")
		for b.Loop() {
			s.Lookup(a)
		}
	})
}
