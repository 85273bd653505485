package conformance

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"ulvs/dataplane"
)

// Network is the world around the director in the recordings: interfaces, addresses, routes and neighbours
// that nobody else changes. It implements director.Network. A changed world is a clone.
type Network struct {
	ports  []dataplane.Port
	addrs  []netip.Addr   // of the director
	local  []netip.Prefix // delivered locally besides addrs
	routes []route
	neighs map[dataplane.HopKey][6]byte
}

// route sends a prefix out of a port, through a gateway or straight to the neighbour.
type route struct {
	prefix netip.Prefix
	port   uint8
	via    netip.Addr // zero: on the link
	source netip.Addr // what the director sends from
}

// reals is how many real servers have a neighbour entry in the recordings' network.
const reals = 7

// Recorded returns the network that the recordings were made in (see their index.json).
func Recorded() *Network {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	n := &Network{
		ports: []dataplane.Port{
			{
				Name: "c0", MAC: [6]byte{2, 0, 0, 0, 1, 1}, MTU: 1500,
				IPv4: addr("198.18.0.10"), IPv6: addr("2001:db8:c::100"), // the address added last wins for IPv6
			},
			{
				Name: "s0", MAC: [6]byte{2, 0, 0, 0, 1, 2}, MTU: 1500,
				IPv4: addr("10.0.0.10"), IPv6: addr("fd00::10"),
			},
		},
		addrs: []netip.Addr{
			addr("198.18.0.10"), addr("198.18.0.100"), addr("2001:db8:c::10"), addr("2001:db8:c::100"),
			addr("10.0.0.10"), addr("fd00::10"),
		},
		local: []netip.Prefix{prefix("198.18.1.0/24")},
		routes: []route{
			{prefix("198.18.0.0/24"), 0, netip.Addr{}, addr("198.18.0.10")},
			{prefix("2001:db8:c::/64"), 0, netip.Addr{}, addr("2001:db8:c::10")},
			{prefix("10.0.0.0/24"), 1, netip.Addr{}, addr("10.0.0.10")},
			{prefix("fd00::/64"), 1, netip.Addr{}, addr("fd00::10")},
			{prefix("0.0.0.0/0"), 0, addr("198.18.0.1"), addr("198.18.0.10")},
			{prefix("::/0"), 0, addr("2001:db8:c::1"), addr("2001:db8:c::10")},
		},
		neighs: map[dataplane.HopKey][6]byte{},
	}
	n.neighs[dataplane.HopKey{Addr: addr("198.18.0.1")}] = [6]byte{2, 0, 0, 0, 0, 1}
	n.neighs[dataplane.HopKey{Addr: addr("2001:db8:c::1")}] = [6]byte{2, 0, 0, 0, 0, 1}
	n.neighs[dataplane.HopKey{Port: 1, Addr: addr("10.0.0.254")}] = [6]byte{2, 0, 0, 0, 2, 21}
	for i := 21; i < 21+reals; i++ {
		mac := [6]byte{2, 0, 0, 0, 2, byte(i)}
		n.neighs[dataplane.HopKey{Port: 1, Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}] = mac
		n.neighs[dataplane.HopKey{Port: 1, Addr: addr(fmt.Sprintf("fd00::%d", i))}] = mac
	}
	return n
}

// clone returns a network that may be changed.
func (n *Network) clone() *Network {
	return &Network{
		ports: slices.Clone(n.ports), addrs: slices.Clone(n.addrs), local: slices.Clone(n.local),
		routes: slices.Clone(n.routes), neighs: maps.Clone(n.neighs),
	}
}

// port returns the number of an interface.
func (n *Network) port(name string) (uint8, bool) {
	i := slices.IndexFunc(n.ports, func(p dataplane.Port) bool { return p.Name == name })
	return uint8(i), i >= 0
}

// isLocal reports whether packets for a are the director's own.
func (n *Network) isLocal(a netip.Addr) bool {
	return slices.Contains(n.addrs, a) || slices.ContainsFunc(n.local, func(p netip.Prefix) bool { return p.Contains(a) })
}

// NextHop implements director.Network: the longest prefix that covers dst.
func (n *Network) NextHop(dst netip.Addr) (key dataplane.HopKey, source netip.Addr, ok bool) {
	if n.isLocal(dst) {
		return key, source, false
	}
	best := -1
	for _, r := range n.routes {
		if !r.prefix.Contains(dst) || r.prefix.Bits() <= best {
			continue
		}
		best = r.prefix.Bits()
		key, source, ok = dataplane.HopKey{Port: r.port, Addr: r.via}, r.source, true
		if !r.via.IsValid() {
			key.Addr = dst
		}
	}
	return key, source, ok
}

// Hop implements director.Network.
func (n *Network) Hop(key dataplane.HopKey) dataplane.Hop {
	mac, ok := n.neighs[key]
	if !ok || int(key.Port) >= len(n.ports) {
		return dataplane.Hop{State: dataplane.HopUnresolved, Port: key.Port}
	}
	port := &n.ports[key.Port]
	return dataplane.NewHop(key, mac, port.MAC, port.MTU)
}

// Locals implements director.Network. Local prefixes are listed address by address, if they are small.
func (n *Network) Locals() []netip.Addr {
	list := slices.Clone(n.addrs)
	for _, p := range n.local {
		for a := p.Masked().Addr(); p.Contains(a) && p.Addr().BitLen()-p.Bits() <= 8; a = a.Next() {
			list = append(list, a)
		}
	}
	return list
}

// Ports implements director.Network.
func (n *Network) Ports() []dataplane.Port { return n.ports }
