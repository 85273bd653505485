package route

import (
	"fmt"
	"net/netip"
)

// Link is a network interface.
type Link struct {
	Index  int
	Name   string
	MAC    [6]byte // zero where the link has no Ethernet address
	MTU    int     // bytes, without the Ethernet header
	Up     bool    // set up by the administrator, and operational (carrier)
	Admin  bool    // set up by the administrator
	Parent int     // ifindex of the lower link of a VLAN, macvlan or ipvlan; 0: none, or in another namespace
	VLAN   uint16  // 802.1Q id; 0: no VLAN, or an 802.1ad one
	Master int     // ifindex of the bridge, bond or VRF it is a port of; 0: none
	Kind   string  // the driver's rtnetlink kind: vlan, bridge, bond, veth; empty for hardware
	Bond   Bond    // of a link of kind bond
	// Standby says that the bond this is a port of does not send on it now: it is the backup, its link is down, or
	// its aggregator is not the one in use.
	Standby bool
}

// Bond is how a bond spreads what it sends over its ports (linux/if_bonding.h).
type Bond struct {
	Mode       uint8 // 0 balance-rr, 1 active-backup, 2 balance-xor, 3 broadcast, 4 802.3ad, 5 balance-tlb, 6 balance-alb
	HashPolicy uint8 // xmit_hash_policy: 0 layer2, 1 layer3+4, 2 layer2+3, 3 encap2+3, 4 encap3+4, 5 vlan+srcmac
	Active     int   // ifindex of the active port, in the modes that have one; 0: none
}

// Kind is what a route does with a packet.
type Kind uint8

// Kinds of routes. The zero Kind forwards.
const (
	KindUnicast     Kind = iota
	KindLocal            // delivered to this host
	KindBroadcast        // broadcast, multicast or anycast: never a real server
	KindBlackhole        // dropped silently
	KindUnreachable      // dropped with an ICMP unreachable
	KindProhibit         // dropped with an ICMP prohibited
)

var kindNames = [...]string{"unicast", "local", "broadcast", "blackhole", "unreachable", "prohibit"}

// String returns the word ip-route(8) uses.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Route is a route of the local or main table.
type Route struct {
	Prefix  netip.Prefix
	Gateway netip.Addr // invalid: on-link. May be IPv6 for an IPv4 prefix (RFC 5549)
	Link    int        // ifindex; 0 for kinds that need none
	Metric  int        // lower wins among equal prefixes
	Source  netip.Addr // prefsrc; invalid: chosen by Lookup
	MTU     int        // bytes; 0: the link's
	Kind    Kind
	Scope   uint8 // rtm_scope: 0 universe, 253 link, 254 host
	Many    bool  // one of several next hops of a multipath route
}

// NeighKey names a neighbour.
type NeighKey struct {
	Link int
	Addr netip.Addr
}

// NeighState is the kernel's NUD state (linux/neighbour.h), one bit.
type NeighState uint16

// States of a neighbour.
const (
	NeighIncomplete NeighState = 0x01
	NeighReachable  NeighState = 0x02
	NeighStale      NeighState = 0x04
	NeighDelay      NeighState = 0x08
	NeighProbe      NeighState = 0x10
	NeighFailed     NeighState = 0x20
	NeighNoARP      NeighState = 0x40
	NeighPermanent  NeighState = 0x80
)

const (
	neighFixed    = NeighNoARP | NeighPermanent
	neighResolved = NeighReachable | NeighStale | NeighDelay | NeighProbe | neighFixed
)

// Resolved tells whether a neighbour in this state has a MAC address to send to.
func (n NeighState) Resolved() bool { return n&neighResolved != 0 }

// String returns the word ip-neighbour(8) uses.
func (n NeighState) String() string {
	switch n {
	case 0:
		return "none"
	case NeighIncomplete:
		return "incomplete"
	case NeighReachable:
		return "reachable"
	case NeighStale:
		return "stale"
	case NeighDelay:
		return "delay"
	case NeighProbe:
		return "probe"
	case NeighFailed:
		return "failed"
	case NeighNoARP:
		return "noarp"
	case NeighPermanent:
		return "permanent"
	}
	return fmt.Sprintf("nud(%#x)", uint16(n))
}

// Neigh is a neighbour: the MAC address behind an IP address on a link.
type Neigh struct {
	Link     int
	Addr     netip.Addr
	MAC      [6]byte // valid iff Resolved
	State    NeighState
	Resolved bool
}

// Key returns what names the neighbour.
func (n Neigh) Key() NeighKey { return NeighKey{n.Link, n.Addr} }

// Change says what differs between two States. Links includes addresses. Neighs tells only
// of a MAC address won, lost or changed, not of every step of the kernel's NUD machine.
type Change struct{ Links, Routes, Neighs bool }

func (c Change) or(d Change) Change {
	return Change{c.Links || d.Links, c.Routes || d.Routes, c.Neighs || d.Neighs}
}
