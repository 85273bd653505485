package route

import (
	"maps"
	"net/netip"
	"slices"
)

// draft is a State being changed. It copies what it touches, once, so the State it
// came from stays what it was, and 100 000 untouched routes cost nothing.
type draft struct {
	State
	by         *edition
	change     Change
	touched    bool // something differs, be it worth a Change or not
	ownedLinks bool
	ownedAddrs bool
	// unsure: the kernel's events leave open what it did; only a fresh dump tells.
	unsure bool
}

func newDraft(s *State) *draft { return &draft{State: *s, by: &edition{}} }

// publish returns the State as it is now and goes on as a draft of it.
func (d *draft) publish() *State {
	s := d.State
	d.by = &edition{}
	d.change, d.touched = Change{}, false
	d.ownedLinks, d.ownedAddrs = false, false
	return &s
}

func (d *draft) ownLinks() map[int]Link {
	if !d.ownedLinks {
		d.links = copyOf(d.links)
		d.ownedLinks = true
	}
	d.change.Links, d.touched = true, true
	return d.links
}

func (d *draft) ownAddrs() map[int][]address {
	if !d.ownedAddrs {
		d.addrs = copyOf(d.addrs)
		d.ownedAddrs = true
	}
	d.change.Links, d.touched = true, true
	return d.addrs
}

func copyOf[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

func (d *draft) setLink(l Link) {
	old, known := d.links[l.Index]
	if known && old == l {
		return
	}
	d.ownLinks()[l.Index] = l
	if old.Admin && !l.Admin {
		d.dropRoutes(func(r Route) bool { return r.Link == l.Index && r.Kind != KindLocal })
	}
}

func (d *draft) delLink(index int) {
	if _, known := d.links[index]; !known {
		return
	}
	delete(d.ownLinks(), index)
	if len(d.addrs[index]) > 0 {
		delete(d.ownAddrs(), index)
	}
	d.dropRoutes(func(r Route) bool { return r.Link == index })
	d.neighs.all(func(k NeighKey, n Neigh) bool {
		if k.Link == index {
			d.delNeigh(n)
		}
		return true
	})
}

// dropRoutes removes routes that the kernel removed without a word: the IPv4 routes of
// a link that went down (fib_sync_down_dev, which spares local ones) or away.
func (d *draft) dropRoutes(gone func(Route) bool) {
	for _, t := range []*lpm{&d.local, &d.main} {
		var touched []netip.Prefix
		t.all(func(prefix netip.Prefix, routes []Route) bool {
			if slices.ContainsFunc(routes, gone) {
				touched = append(touched, prefix)
			}
			return true
		})
		for _, prefix := range touched {
			d.dropFrom(t, prefix, gone)
		}
	}
}

// dropFrom removes routes of one prefix. A multipath route that lost its chosen next
// hop lives on with another one, which only a dump tells.
func (d *draft) dropFrom(t *lpm, prefix netip.Prefix, gone func(Route) bool) {
	routes := slices.Clone(t.routes(prefix))
	d.unsure = d.unsure || slices.ContainsFunc(routes, func(r Route) bool { return r.Many && gone(r) })
	d.put(t, prefix, slices.DeleteFunc(routes, gone))
}

func (d *draft) setAddr(link int, a address) {
	at := slices.IndexFunc(d.addrs[link], a.same)
	if at >= 0 && d.addrs[link][at] == a {
		return
	}
	list := slices.Clone(d.addrs[link])
	if at >= 0 {
		list[at] = a
	} else {
		list = append(list, a)
	}
	d.ownAddrs()[link] = list
}

// delAddr also removes the routes that name the address as their source, as
// the kernel does without a word (fib_sync_down_addr).
func (d *draft) delAddr(link int, a address) {
	at := slices.IndexFunc(d.addrs[link], a.same)
	if at < 0 {
		return
	}
	d.ownAddrs()[link] = slices.Delete(slices.Clone(d.addrs[link]), at, at+1)
	d.dropRoutes(func(r Route) bool { return r.Source == a.prefix.Addr() })
}

func (a address) same(b address) bool { return a.prefix == b.prefix && a.subnet == b.subnet }

// addRoute applies RTM_NEWROUTE; replace is its NLM_F_REPLACE.
func (d *draft) addRoute(p parsed, replace bool) {
	t := d.table(p)
	old := t.routes(p.Prefix)
	if slices.Contains(old, p.Route) {
		return
	}
	routes := slices.Clone(old)
	switch {
	case replace:
		routes = d.without(routes, Route.sameMetric, p.Route)
	case p.Prefix.Addr().Is6() && p.Gateway.IsValid():
		// Siblings: the message lists all of them, so it stands for the former ones.
		routes = d.without(routes, Route.sibling, p.Route)
	default:
		routes = d.without(routes, Route.sameHop, p.Route)
	}
	d.put(t, p.Prefix, append(routes, p.Route))
}

// delRoute applies RTM_DELROUTE.
func (d *draft) delRoute(p parsed) {
	t := d.table(p)
	routes := slices.Clone(t.routes(p.Prefix))
	left := slices.DeleteFunc(routes, p.sameHop)
	many := slices.ContainsFunc(left, func(r Route) bool { return r.Many && r.Metric == p.Metric })
	if many || p.Many || len(left) == len(t.routes(p.Prefix)) {
		d.unsure = true // of several next hops one went, or one that was not chosen
	}
	if len(left) != len(t.routes(p.Prefix)) {
		d.put(t, p.Prefix, left)
	}
}

// without removes what like calls the same as r; more than one leaves a doubt.
func (d *draft) without(routes []Route, like func(Route, Route) bool, r Route) []Route {
	left := slices.DeleteFunc(routes, func(o Route) bool { return like(o, r) })
	if len(routes)-len(left) > 1 {
		d.unsure = true
	}
	return left
}

func (r Route) sameMetric(o Route) bool { return r.Metric == o.Metric }

func (r Route) sibling(o Route) bool { return r.Metric == o.Metric && r.Gateway.IsValid() }

func (r Route) sameHop(o Route) bool {
	return r.Metric == o.Metric && r.Link == o.Link && r.Gateway == o.Gateway && r.Kind == o.Kind
}

func (d *draft) table(p parsed) *lpm {
	if p.local {
		return &d.local
	}
	return &d.main
}

func (d *draft) put(t *lpm, prefix netip.Prefix, routes []Route) {
	t.put(d.by, prefix, routes)
	d.change.Routes, d.touched = true, true
}

func (d *draft) setNeigh(n Neigh) {
	old, known := d.neighs.get(n.Key())
	if known && old == n {
		return
	}
	d.neighs, d.touched = d.neighs.edit(d.by), true
	d.neighs.set(n.Key(), n)
	if old.Resolved != n.Resolved || old.MAC != n.MAC {
		d.change.Neighs = true
	}
}

func (d *draft) delNeigh(n Neigh) {
	old, known := d.neighs.get(n.Key())
	if !known {
		return
	}
	d.neighs, d.touched = d.neighs.edit(d.by), true
	d.neighs.del(n.Key())
	if old.Resolved {
		d.change.Neighs = true
	}
}
