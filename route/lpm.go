package route

import (
	"cmp"
	"net/netip"
	"slices"
)

// lpm is a longest-prefix-match table: a map for every prefix length that has
// routes. A lookup tries the lengths in use, longest first; the Internet has about
// twenty of them. The routes of a prefix are sorted by metric, never empty, and never
// written once published.
type lpm struct {
	v4 *family
	v6 *family
}

// family is a table of one address family.
type family struct {
	by     *edition
	levels [129]*cowMap[netip.Prefix, []Route]
	used   []int // lengths in use, longest first
}

func (t *lpm) lookup(addr netip.Addr) (Route, bool) {
	f := t.v6
	if addr.Is4() {
		f = t.v4
	}
	if f == nil || !addr.IsValid() {
		return Route{}, false
	}
	for _, bits := range f.used {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if routes, ok := f.levels[bits].get(prefix); ok {
			return routes[0], true
		}
	}
	return Route{}, false
}

// routes returns the routes of exactly that prefix.
func (t *lpm) routes(prefix netip.Prefix) []Route {
	f := t.v6
	if prefix.Addr().Is4() {
		f = t.v4
	}
	if f == nil {
		return nil
	}
	routes, _ := f.levels[prefix.Bits()].get(prefix)
	return routes
}

// put makes routes, which it takes, those of the prefix; none removes it.
func (t *lpm) put(by *edition, prefix netip.Prefix, routes []Route) {
	f := t.edit(by, prefix.Addr())
	level := f.levels[prefix.Bits()].edit(by)
	if len(routes) == 0 {
		level.del(prefix)
	} else {
		slices.SortStableFunc(routes, func(a, b Route) int { return cmp.Compare(a.Metric, b.Metric) })
		level.set(prefix, routes)
	}
	f.setLevel(prefix.Bits(), level)
}

// edit returns the family of addr to write in by.
func (t *lpm) edit(by *edition, addr netip.Addr) *family {
	at := &t.v6
	if addr.Is4() {
		at = &t.v4
	}
	switch {
	case *at == nil:
		*at = &family{by: by}
	case (*at).by != by:
		next := **at
		next.by = by
		*at = &next
	}
	return *at
}

// setLevel keeps used in step with the levels. used is replaced, never written.
func (f *family) setLevel(bits int, level *cowMap[netip.Prefix, []Route]) {
	known := f.levels[bits] != nil
	if level.size() == 0 {
		level = nil
	}
	f.levels[bits] = level
	if known == (level != nil) {
		return
	}
	used := make([]int, 0, len(f.used)+1)
	for b := len(f.levels) - 1; b >= 0; b-- {
		if f.levels[b] != nil {
			used = append(used, b)
		}
	}
	f.used = used
}

func (t *lpm) size() int {
	n := 0
	t.all(func(_ netip.Prefix, routes []Route) bool { n += len(routes); return true })
	return n
}

// all calls fn for every prefix until it returns false.
func (t *lpm) all(fn func(netip.Prefix, []Route) bool) {
	for _, f := range []*family{t.v4, t.v6} {
		if f == nil {
			continue
		}
		for _, bits := range f.used {
			f.levels[bits].all(fn)
		}
	}
}
