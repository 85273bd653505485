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
		d.publishHops(d.routes.State())
	}
}

// heed reports whether workers need a new snapshot because of n at once. A neighbour that
// is asked for comes as a change of the kernel's later.
func (d *director) heed(n dataplane.Notice) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch n.Kind {
	case dataplane.NoticeNewHop:
		id := d.asm.hops.id(n.Hop)
		if id == 0 {
			d.log.Error("too many next hops", "limit", maxHops, "dest", n.Hop.Addr)
			return false
		}
		d.ask(n.Hop)
		return true
	case dataplane.NoticeResolve:
		if int(n.HopID) < len(d.asm.hops.keys) {
			d.ask(d.asm.hops.keys[n.HopID])
		}
	case dataplane.NoticeLearn:
		if link, ok := d.world.links.linkOf(n.Hop); ok {
			err := d.routes.Learn(link.Index, n.Hop.Addr, n.MAC)
			if err != nil && !errors.Is(err, route.ErrNotNeighbour) {
				d.log.Warn("cannot learn a neighbour", "dest", n.Hop.Addr, "err", err)
			}
		}
	}
	return false
}

// ask has the kernel resolve a neighbour.
func (d *director) ask(key dataplane.HopKey) {
	link, ok := d.world.links.linkOf(key)
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
	snap := d.snapshots.Load()
	for id := 1; id < len(d.asm.hops.keys); id++ {
		key := d.asm.hops.keys[id]
		link, ok := d.world.links.linkOf(key)
		if !ok {
			continue
		}
		used = append(used, route.NeighKey{Link: link.Index, Addr: key.Addr})
		if snap.Hops[id].State == dataplane.HopUnresolved {
			d.ask(key)
		}
	}
	d.routes.Refresh(used)
}
