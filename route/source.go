package route

import (
	"math/bits"
	"net/netip"
)

// Scopes of addresses and routes (linux/rtnetlink.h).
const (
	scopeUniverse = 0
	scopeLink     = 253
)

// source chooses the address to send from for a route without prefsrc: the family is the
// destination's, not the gateway's.
func (s *State) source(dst netip.Addr, r Route) netip.Addr {
	if dst.Is4() {
		return s.source4(r)
	}
	return s.source6(dst, r.Link)
}

// source4 is the kernel's inet_select_addr: the first primary address of the link whose
// scope reaches as far as the route's, one in the gateway's subnet before
// others; failing that, one of another link.
func (s *State) source4(r Route) netip.Addr {
	var first netip.Addr
	for _, a := range s.addrs[r.Link] {
		if !a.prefix.Addr().Is4() || a.secondary || a.scope > r.Scope {
			continue
		}
		if !r.Gateway.Is4() || a.subnet.Contains(r.Gateway) {
			return a.prefix.Addr()
		}
		if !first.IsValid() {
			first = a.prefix.Addr()
		}
	}
	if first.IsValid() {
		return first
	}
	for _, l := range s.Links() {
		for _, a := range s.addrs[l.Index] {
			if a.prefix.Addr().Is4() && !a.secondary && a.scope != scopeLink && a.scope <= r.Scope {
				return a.prefix.Addr()
			}
		}
	}
	return netip.Addr{}
}

// source6 is RFC 6724 section 5 without labels, home and temporary addresses:
// scope, not deprecated, outgoing link, longest matching prefix.
func (s *State) source6(dst netip.Addr, link int) netip.Addr {
	var best netip.Addr
	var bestRank [4]int
	for index, addrs := range s.addrs {
		for _, a := range addrs {
			src := a.prefix.Addr()
			if !src.Is6() || a.unusable || src.IsLoopback() || src.IsMulticast() {
				continue
			}
			if index != link && src.IsLinkLocalUnicast() {
				continue
			}
			rank := rank6(dst, a, index == link)
			if !best.IsValid() || better(rank, bestRank) || rank == bestRank && src.Less(best) {
				best, bestRank = src, rank
			}
		}
	}
	return best
}

// rank6 orders candidates: element by element, greater is better.
func rank6(dst netip.Addr, a address, onLink bool) [4]int {
	src := a.prefix.Addr()
	rank := [4]int{scopeRank(scope6(src), scope6(dst)), 0, 0, min(commonBits(src, dst), a.prefix.Bits())}
	if !a.deprecated {
		rank[1] = 1
	}
	if onLink {
		rank[2] = 1
	}
	return rank
}

func better(a, b [4]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] > b[i]
		}
	}
	return false
}

// scopeRank is rule 2: the smallest scope that reaches the destination's is best; if
// none does, the greatest.
func scopeRank(src, dst int) int {
	if src >= dst {
		return 100 - src
	}
	return src
}

// scope6 returns the scope as in multicast addresses (RFC 4291): 2 link, 14 global. Unique
// local addresses are global there.
func scope6(addr netip.Addr) int {
	if addr.IsLinkLocalUnicast() || addr.IsLoopback() {
		return 2
	}
	return 14
}

func commonBits(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			return i*8 + bits.LeadingZeros8(d)
		}
	}
	return 128
}
