package route

import (
	"net/netip"
	"slices"
)

// State is what the kernel knew at one moment. It never changes, and any number of
// goroutines may read it.
type State struct {
	links  map[int]Link
	addrs  map[int][]address
	local  lpm // the local table: this host's own addresses, broadcasts
	main   lpm
	neighs *cowMap[NeighKey, Neigh]
}

// address is an address of a link.
type address struct {
	prefix     netip.Prefix // the address itself, with the length of its subnet
	subnet     netip.Prefix // what is on-link; differs from prefix's for point-to-point peers
	scope      uint8        // ifa_scope: 0 universe, 253 link, 254 host
	secondary  bool
	deprecated bool
	unusable   bool // tentative, or duplicate address detection failed
}

// Hop is where a packet for an address goes next.
type Hop struct {
	Link        int        // ifindex
	NextHop     netip.Addr // the gateway, or the address itself when on-link: what Neigh is asked for
	Source      netip.Addr // what the kernel would send from; invalid: no suitable address
	MTU         int        // bytes: the route's, else the link's
	Local       bool       // the address is this host's own
	Unreachable bool       // the route says drop (blackhole, unreachable, prohibit), or the address is a broadcast
}

// Link returns the link with that index.
func (s *State) Link(index int) (Link, bool) {
	l, ok := s.links[index]
	return l, ok
}

// LinkByName returns the link with that name.
func (s *State) LinkByName(name string) (Link, bool) {
	for _, l := range s.links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// Links returns all links by index.
func (s *State) Links() []Link {
	links := make([]Link, 0, len(s.links))
	for _, l := range s.links {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b Link) int { return a.Index - b.Index })
	return links
}

// Addrs returns the addresses of a link, each with the length of its subnet, in the
// kernel's order.
func (s *State) Addrs(link int) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(s.addrs[link]))
	for i, a := range s.addrs[link] {
		prefixes[i] = a.prefix
	}
	return prefixes
}

// Local tells whether the kernel would deliver addr to this host.
func (s *State) Local(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if r, ok := s.local.lookup(addr); ok && r.Kind == KindLocal {
		return true
	}
	for _, addrs := range s.addrs {
		for i := range addrs {
			if addrs[i].prefix.Addr() == addr {
				return true
			}
		}
	}
	return false
}

// Neigh returns what is known of a neighbour. A known one need not be Resolved.
func (s *State) Neigh(link int, addr netip.Addr) (Neigh, bool) {
	return s.neighs.get(NeighKey{link, addr.Unmap().WithZone("")})
}

// Counts returns the number of links, routes (prefixes, both tables) and neighbours.
func (s *State) Counts() (links, routes, neighs int) {
	return len(s.links), s.local.size() + s.main.size(), s.neighs.size()
}

// Route returns the route Lookup would use: longest prefix, then lowest metric, the local
// table before the main one as the kernel's default rules have it.
func (s *State) Route(addr netip.Addr) (Route, bool) {
	addr = addr.Unmap().WithZone("")
	if r, ok := s.local.lookup(addr); ok {
		return r, true
	}
	return s.main.lookup(addr)
}

// Lookup finds the next hop for addr; ok is false without a route. An
// IPv4-mapped address is looked up as IPv4, a zone is ignored.
func (s *State) Lookup(addr netip.Addr) (hop Hop, ok bool) {
	addr = addr.Unmap().WithZone("")
	r, ok := s.Route(addr)
	if !ok {
		return Hop{}, false
	}
	hop = Hop{Link: r.Link, NextHop: addr, Source: r.Source, MTU: r.MTU}
	if r.Gateway.IsValid() {
		hop.NextHop = r.Gateway
	}
	if hop.MTU == 0 {
		hop.MTU = s.links[r.Link].MTU
	}
	switch r.Kind {
	case KindUnicast:
		if !hop.Source.IsValid() {
			hop.Source = s.source(addr, r)
		}
	case KindLocal:
		hop.Local, hop.Source = true, addr
	default:
		hop.Unreachable = true
	}
	return hop, true
}
