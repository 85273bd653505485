package director

import (
	"net/netip"
	"slices"

	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/lvs"
)

// Listing returns what ipvsadm lists.
func (n *Node) Listing() control.Listing {
	n.mu.RLock()
	defer n.mu.RUnlock()
	l := control.Listing{
		Size: n.opt.Table.Stats().Size, Timeouts: n.setSeconds, Settings: n.settings,
		Total: n.counters.total.show(), Services: []control.ListedService{},
		Daemons: slices.Clone(n.daemons),
	}
	for i := range n.services {
		l.Services = append(l.Services, n.listed(n.built.Service(n.services[i].Key)))
	}
	return l
}

func (n *Node) listed(s *lvs.Service) control.ListedService {
	out := control.ListedService{
		Service: *s, Counters: n.counters.services[s.ID].show(),
		Destinations: make([]control.ListedDestination, len(s.Destinations)),
	}
	out.Service.Destinations = nil
	for i := range s.Destinations {
		d := &s.Destinations[i]
		out.Destinations[i] = control.ListedDestination{
			Destination: listedDestination(s, d), Active: int(d.Load.Active()), Inactive: int(d.Load.Inactive()),
			Persistent: int(d.Load.Persist()), Counters: n.counters.dests[d.ID].show(),
		}
	}
	return out
}

// listedDestination is d with the weight that people see.
func listedDestination(s *lvs.Service, d *lvs.Destination) lvs.Destination {
	out := *d
	out.Weight = listedWeight(s, d)
	return out
}

// ListedConns calls fn for every session and template that lives at time now, until fn returns
// false.
func (n *Node) ListedConns(now conntrack.Tick, fn func(control.ListedConn) bool) {
	n.mu.RLock()
	built := n.built
	n.mu.RUnlock()
	n.opt.Table.Walk(func(_ conntrack.Ref, _ *conntrack.Entry, i conntrack.Info) bool {
		left := i.Expires(now)
		if left == 0 {
			return true // over, but not swept yet
		}
		c := control.ListedConn{
			Protocol: i.Proto, State: i.State.String(), ExpiresSeconds: int(left / conntrack.TicksPerSecond),
			Client: i.Client, VIP: i.VIP, Dest: destOf(&i, built), Synced: i.Flags&conntrack.FlagSynced != 0,
		}
		if i.Flags&conntrack.FlagUnlinked != 0 { // the kernel moves such a template out of the way
			c.VIP = netip.AddrPortFrom(c.VIP.Addr(), 0xffff)
			c.Dest = netip.AddrPortFrom(c.Dest.Addr(), 0xffff)
		}
		return fn(c)
	})
}

// destOf returns the session's real server. One of the other address family than the client's has no
// room in the entry and is found by its id.
func destOf(i *conntrack.Info, built *lvs.Snapshot) netip.AddrPort {
	d := built.Dest(lvs.DestID(i.DestID))
	if d != nil && d.Addr.Is4() != i.Client.Addr().Is4() {
		return netip.AddrPortFrom(d.Addr, i.Dest.Port())
	}
	return i.Dest
}
