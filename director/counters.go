package director

import (
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/lvs"
)

// counters turns the workers' ever-growing counts into what IPVS shows: counts since a service
// or destination was made or -Z, and rates. IPVS shows the counts of its estimator's last tick, at most two
// seconds old, and -Z begins there (ip_vs_copy_stats, ip_vs_zero_stats).
type counters struct {
	workers  []*dataplane.Stats
	services []counter // by ServiceID
	dests    []counter // by DestID
	total    counter
}

// counter is one object's. owner tells when its slot went to another object.
type counter struct {
	owner any
	zero  dataplane.DestStats // what had been counted when the object began, or at -Z
	rates estimator
}

// follow starts the counters of objects that are new in built, before being the services until now.
func (c *counters) follow(before, built *lvs.Snapshot) {
	c.services = grown(c.services, len(built.Services))
	c.dests = grown(c.dests, len(built.Destinations))
	for _, id := range changedAt(before.Services, built.Services) {
		s := built.Services[id]
		if s == nil {
			continue
		}
		if owner := (serviceOwner{s.Key, s.Born}); c.services[id].owner != owner {
			c.services[id] = startingAt(owner, c.rawService(lvs.ServiceID(id)))
		}
	}
	for _, id := range changedAt(before.Destinations, built.Destinations) {
		d := built.Destinations[id]
		if d == nil {
			continue
		}
		// One that comes back into a service made anew counts from 0, as the kernel has it.
		if owner := (destOwner{d.Load, built.Services[d.Service].Born}); c.dests[id].owner != owner {
			c.dests[id] = startingAt(owner, c.rawDest(lvs.DestID(id)))
		}
	}
}

type serviceOwner struct {
	key  lvs.ServiceKey
	born uint64
}

type destOwner struct {
	load    *lvs.Load
	service uint64 // when it was born
}

func startingAt(owner any, raw dataplane.DestStats) counter {
	return counter{owner: owner, zero: raw, rates: estimator{last: raw}}
}

func grown(list []counter, n int) []counter {
	for len(list) < n {
		list = append(list, counter{})
	}
	return list
}

func (c *counters) rawService(id lvs.ServiceID) (sum dataplane.DestStats) {
	for _, w := range c.workers {
		sum.Add(w.Service(id))
	}
	return sum
}

func (c *counters) rawDest(id lvs.DestID) (sum dataplane.DestStats) {
	for _, w := range c.workers {
		sum.Add(w.Dest(id))
	}
	return sum
}

// rawTotal sums all service slots, also of services long gone.
func (c *counters) rawTotal() (sum dataplane.DestStats) {
	for id := range c.services {
		sum.Add(c.rawService(lvs.ServiceID(id)))
	}
	return sum
}

// show is what ipvsadm prints.
func (c *counter) show() control.Counters {
	return control.Counters{Stats: c.since(c.rates.last), Rates: c.rates.show()}
}

// since is what came to be counted up to raw.
func (c *counter) since(raw dataplane.DestStats) control.Stats {
	return control.Stats(less(raw, c.zero))
}

// reset is -Z: counts and rates begin anew, with what the last tick saw.
func (c *counter) reset() { *c = startingAt(c.owner, c.rates.last) }

// zero resets one service with its destinations, or everything for the zero key.
func (c *counters) zero(built *lvs.Snapshot, key lvs.ServiceKey) {
	all := key == (lvs.ServiceKey{})
	if all {
		c.total.reset()
	}
	for id, s := range built.Services {
		if s != nil && (all || s.Key == key) {
			c.services[id].reset()
		}
	}
	for id, d := range built.Destinations {
		if d == nil || d.Removed {
			continue
		}
		if s := built.Services[d.Service]; all || s != nil && s.Key == key {
			c.dests[id].reset()
		}
	}
}

// TickRates feeds the estimators, and looks after removed destinations. Call it every two seconds.
func (n *Node) TickRates() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trash.tick(n.built, func(d *lvs.Destination) bool {
		sc := n.schedulers[n.built.Services[d.Service].Key]
		return d.Load.InUse() || sc != nil && sc.Remembers(d.AddrPort())
	})
	c := &n.counters
	for id := range c.services {
		c.services[id].rates.tick(c.rawService(lvs.ServiceID(id)))
	}
	for id, d := range n.built.Destinations {
		if d != nil && !d.Removed {
			c.dests[id].rates.tick(c.rawDest(lvs.DestID(id)))
		}
	}
	c.total.rates.tick(c.rawTotal())
}

// estimator is IPVS's (ip_vs_est.c): every two seconds a quarter of the way from the average to
// the last sample. Connections and packets are scaled by 2^10, bytes by 2^5.
type estimator struct {
	last                                            dataplane.DestStats
	conns, inPackets, outPackets, inBytes, outBytes int64
}

func (e *estimator) tick(now dataplane.DestStats) {
	step(&e.conns, (now.Conns-e.last.Conns)<<9)
	step(&e.inPackets, (now.InPackets-e.last.InPackets)<<9)
	step(&e.outPackets, (now.OutPackets-e.last.OutPackets)<<9)
	step(&e.inBytes, (now.InBytes-e.last.InBytes)<<4)
	step(&e.outBytes, (now.OutBytes-e.last.OutBytes)<<4)
	e.last = now
}

func step(avg *int64, sample uint64) { *avg += (int64(sample) - *avg) >> 2 }

func (e *estimator) show() control.Rates {
	count := func(avg int64) uint64 { return uint64(avg+0x1ff) >> 10 }
	bytes := func(avg int64) uint64 { return uint64(avg+0xf) >> 5 }
	return control.Rates{
		Conns: count(e.conns), InPackets: count(e.inPackets), OutPackets: count(e.outPackets),
		InBytes: bytes(e.inBytes), OutBytes: bytes(e.outBytes),
	}
}
