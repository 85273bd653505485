package director

import (
	"maps"
	"net/netip"

	"ulvs/dataplane"
	"ulvs/route"
)

// maxHops bounds the next hops that can be told apart: the data plane caches their
// numbers in 20 bits. Clients on a local network are a hop each.
const maxHops = 1 << 18

// port is an interface that the director serves, in the order of the configuration.
type port struct {
	name  string
	index int // ifindex; 0 while the interface is gone
	link  route.Link
}

// hopTable gives next hops their numbers and knows how to reach them. It belongs to the
// director's loop.
type hopTable struct {
	ids  map[dataplane.HopKey]dataplane.HopID
	keys []dataplane.HopKey // by HopID; [0] unused
}

func newHopTable() *hopTable {
	return &hopTable{map[dataplane.HopKey]dataplane.HopID{}, make([]dataplane.HopKey, 1)}
}

// id returns the number of a hop, a new one if need be; 0 when there are too many.
func (t *hopTable) id(key dataplane.HopKey) dataplane.HopID {
	if id, ok := t.ids[key]; ok {
		return id
	}
	if len(t.keys) == maxHops {
		return 0
	}
	id := dataplane.HopID(len(t.keys))
	t.ids[key] = id
	t.keys = append(t.keys, key)
	return id
}

// render makes the data plane's view of all hops.
func (t *hopTable) render(links *linkMap, state *route.State) ([]dataplane.Hop, map[dataplane.HopKey]dataplane.HopID) {
	hops := make([]dataplane.Hop, len(t.keys))
	for id := 1; id < len(hops); id++ {
		hops[id] = render(t.keys[id], links, state)
	}
	return hops, maps.Clone(t.ids)
}

func render(key dataplane.HopKey, links *linkMap, state *route.State) dataplane.Hop {
	link, ok := links.linkOf(key)
	if !ok {
		return dataplane.Hop{State: dataplane.HopUnreachable}
	}
	n, ok := state.Neigh(link.Index, key.Addr)
	if !ok || !n.Resolved {
		return dataplane.Hop{State: dataplane.HopUnresolved, Port: key.Port, VLAN: key.VLAN}
	}
	return dataplane.NewHop(key, n.MAC, link.MAC, uint16(min(link.MTU, 0xffff)))
}

// linkMap translates between the kernel's links and ours: an interface of ours is a
// port, a VLAN interface on top of one is a port with a tag.
type linkMap struct {
	byIndex map[int]dataplane.HopKey // Addr unset
	byPort  map[dataplane.HopKey]route.Link
}

func newLinkMap(ports []port, state *route.State) *linkMap {
	m := &linkMap{map[int]dataplane.HopKey{}, map[dataplane.HopKey]route.Link{}}
	for _, l := range state.Links() {
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

// nextHop translates a kernel route look-up into a hop of ours.
func (m *linkMap) nextHop(state *route.State, dst netip.Addr) (key dataplane.HopKey, source netip.Addr, ok bool) {
	h, ok := state.Lookup(dst)
	if !ok || h.Local || h.Unreachable {
		return key, source, false
	}
	key, ok = m.byIndex[h.Link]
	key.Addr = h.NextHop
	return key, h.Source, ok
}

// routes implements dataplane.Routes over one state of the kernel.
type routes struct {
	links *linkMap
	state *route.State
}

func (r *routes) NextHop(dst netip.Addr) (dataplane.HopKey, bool) {
	key, _, ok := r.links.nextHop(r.state, dst)
	return key, ok
}
