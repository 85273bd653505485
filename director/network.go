package director

import (
	"net/netip"

	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/route"
)

// port is an interface that the director serves, in the order of the configuration.
type port struct {
	name  string
	index int // ifindex, of the bond if it is a VLAN of one; 0 while the interface is gone
	link  route.Link

	bond    bool             // it is a bond, or a VLAN of one
	members []afxdp.Member   // the bond's, by ifindex
	policy  afxdp.HashPolicy // which of them sends
}

// kernelNetwork is a Network of the kernel's making: one state of its links, routes and
// neighbours, seen through the interfaces that we serve.
type kernelNetwork struct {
	ports []port
	state *route.State
	links *linkMap
}

func newKernelNetwork(ports []port, state *route.State) *kernelNetwork {
	return &kernelNetwork{ports: ports, state: state, links: newLinkMap(ports, state.Links())}
}

// NextHop implements Network.
func (k *kernelNetwork) NextHop(dst netip.Addr) (key dataplane.HopKey, source netip.Addr, ok bool) {
	h, ok := k.state.Lookup(dst)
	if !ok || h.Local || h.Unreachable {
		return key, source, false
	}
	key, ok = k.links.byIndex[h.Link]
	key.Addr = h.NextHop
	return key, h.Source, ok
}

// Hop implements Network.
func (k *kernelNetwork) Hop(key dataplane.HopKey) dataplane.Hop {
	link, ok := k.links.linkOf(key)
	if !ok {
		return dataplane.Hop{State: dataplane.HopUnreachable}
	}
	n, ok := k.state.Neigh(link.Index, key.Addr)
	if !ok || !n.Resolved {
		return dataplane.Hop{State: dataplane.HopUnresolved, Port: key.Port, VLAN: key.VLAN}
	}
	return dataplane.NewHop(key, n.MAC, link.MAC, uint16(min(link.MTU, 0xffff)))
}

// Locals implements Network.
func (k *kernelNetwork) Locals() (addrs []netip.Addr) {
	for _, l := range k.state.Links() {
		for _, p := range k.state.Addrs(l.Index) {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}

// Ports implements Network.
func (k *kernelNetwork) Ports() []dataplane.Port {
	out := make([]dataplane.Port, len(k.ports))
	for i := range k.ports {
		l := &k.ports[i].link
		out[i] = dataplane.Port{Name: k.ports[i].name, MAC: l.MAC, MTU: uint16(min(l.MTU, 0xffff))}
		out[i].IPv4, out[i].IPv6 = k.primary(l.Index)
	}
	return out
}

// primary returns a link's first addresses that others can answer to.
func (k *kernelNetwork) primary(link int) (v4, v6 netip.Addr) {
	for _, p := range k.state.Addrs(link) {
		switch a := p.Addr(); {
		case a.Is4() && !v4.IsValid():
			v4 = a
		case a.Is6() && !a.IsLinkLocalUnicast() && !v6.IsValid():
			v6 = a
		}
	}
	return v4, v6
}

// linkMap translates between the kernel's links and ours: an interface of ours is a
// port, a VLAN interface on top of one is a port with a tag.
type linkMap struct {
	byIndex map[int]dataplane.HopKey // Addr unset
	byPort  map[dataplane.HopKey]route.Link
}

func newLinkMap(ports []port, links []route.Link) *linkMap {
	m := &linkMap{map[int]dataplane.HopKey{}, map[dataplane.HopKey]route.Link{}}
	for _, l := range links {
		for i := range ports {
			if ports[i].index == 0 {
				continue
			}
			key := dataplane.HopKey{Port: uint8(i)}
			switch {
			case ports[i].index == l.Index:
			case l.VLAN != 0 && l.Parent == ports[i].index:
				key.VLAN = l.VLAN
			default:
				continue
			}
			m.byIndex[l.Index] = key
			m.byPort[key] = l
		}
	}
	return m
}

func (m *linkMap) linkOf(key dataplane.HopKey) (route.Link, bool) {
	key.Addr = netip.Addr{}
	l, ok := m.byPort[key]
	return l, ok
}
