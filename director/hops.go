package director

import (
	"maps"

	"ulvs/dataplane"
)

// maxHops bounds the next hops that can be told apart: the data plane caches their
// numbers in 20 bits. Clients on a local network are a hop each.
const maxHops = 1 << 18

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
func (t *hopTable) render(network Network) ([]dataplane.Hop, map[dataplane.HopKey]dataplane.HopID) {
	hops := make([]dataplane.Hop, len(t.keys))
	for id := 1; id < len(hops); id++ {
		hops[id] = network.Hop(t.keys[id])
	}
	return hops, maps.Clone(t.ids)
}

// extend gives a snapshot the hops that are new since it was rendered. The others are as the network has them
// already.
func (t *hopTable) extend(s *dataplane.Snapshot, network Network) {
	known := len(s.Hops)
	hops := make([]dataplane.Hop, len(t.keys))
	copy(hops, s.Hops)
	s.Hops, s.HopIDs = hops, maps.Clone(s.HopIDs)
	for id := known; id < len(hops); id++ {
		hops[id] = network.Hop(t.keys[id])
		s.HopIDs[t.keys[id]] = dataplane.HopID(id)
	}
}

// hopKey returns what a hop's number stands for.
func (n *Node) hopKey(id dataplane.HopID) (key dataplane.HopKey, ok bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if id == 0 || int(id) >= len(n.hops.keys) {
		return key, false
	}
	return n.hops.keys[id], true
}

// hopKeys returns all hops and whether they are ready.
func (n *Node) hopKeys() map[dataplane.HopKey]bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	snap := n.snapshots.Load()
	keys := make(map[dataplane.HopKey]bool, len(n.hops.keys))
	for id, key := range n.hops.keys {
		if id > 0 && id < len(snap.Hops) {
			keys[key] = snap.Hops[id].State == dataplane.HopReady
		}
	}
	return keys
}
