package director

import (
	"errors"

	"ulvs/dataplane"
	"ulvs/route"
)

// handle does what a worker asked for, and what others ask meanwhile, with one snapshot
// for all of it.
func (d *director) handle(n dataplane.Notice) {
	fresh := d.heed(n)
	for more := true; more; {
		select {
		case n := <-d.notices:
			fresh = d.heed(n) || fresh
		default:
			more = false
		}
	}
	if fresh {
		d.refresh()
	}
}

// heed reports whether workers need a new snapshot because of n at once. A neighbour that
// is asked for comes as a change of the kernel's later.
func (d *director) heed(n dataplane.Notice) bool {
	switch n.Kind {
	case dataplane.NoticeNewHop:
		if !d.addHop(n.Hop) {
			d.log.Error("too many next hops", "limit", maxHops, "dest", n.Hop.Addr)
			return false
		}
		d.ask(n.Hop)
		return true
	case dataplane.NoticeResolve:
		if key, ok := d.hopKey(n.HopID); ok {
			d.ask(key)
		}
	case dataplane.NoticeLearn:
		d.learn(n)
	}
	return false
}

func (d *director) learn(n dataplane.Notice) {
	link, ok := d.network.links.linkOf(n.Hop)
	if !ok {
		return
	}
	err := d.routes.Learn(link.Index, n.Hop.Addr, n.MAC)
	if err != nil && !errors.Is(err, route.ErrNotNeighbour) {
		d.log.Warn("cannot learn a neighbour", "dest", n.Hop.Addr, "err", err)
	}
}

// ask has the kernel resolve a neighbour.
func (d *director) ask(key dataplane.HopKey) {
	link, ok := d.network.links.linkOf(key)
	if !ok || !link.Up {
		return
	}
	if err := d.routes.Ask(link.Index, key.Addr); err != nil {
		d.log.Debug("cannot ask for a neighbour", "dest", key.Addr, "interface", link.Name, "err", err)
	}
}

// askHops resolves the next hops of all real servers and keeps them fresh, so that the first
// client need not wait for it.
func (d *director) askHops() {
	var used []route.NeighKey
	for key, ready := range d.hopKeys() {
		link, ok := d.network.links.linkOf(key)
		if !ok {
			continue
		}
		used = append(used, route.NeighKey{Link: link.Index, Addr: key.Addr})
		if !ready {
			d.ask(key)
		}
	}
	d.routes.Refresh(used)
}
