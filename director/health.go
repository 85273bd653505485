package director

import (
	"net/netip"
	"slices"
	"time"

	"ulvs/conntrack"
	"ulvs/events"
	"ulvs/lvs"
)

// SetServerHealth tells whether a real server's checks succeed, and why not. One that comes back begins slowly
// where the service wants it. Unknown services and real servers are ignored.
func (n *Node) SetServerHealth(key lvs.ServiceKey, server netip.AddrPort, up bool, reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.configuredServer(key, server)
	if s == nil {
		return
	}
	c := n.condition(key, server)
	if c.down == !up {
		if !up {
			c.reason = reason
		}
		n.forgetGood(key, server)
		return
	}
	c.down, c.reason, c.since = !up, reason, n.opt.Now()
	if up {
		c.reason, c.since = "", time.Time{}
		n.comeBack(s, c, !n.inhibits(s, server))
	}
	n.forgetGood(key, server)
	n.touch(key)
}

// SetQuorum tells whether a service has enough real servers. Without a sorry server nothing follows.
func (n *Node) SetQuorum(key lvs.ServiceKey, up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.configuredService(key)
	if s == nil {
		return
	}
	c := n.serviceCondition(key)
	if c.lost == !up {
		return
	}
	c.lost = !up
	if s.Policy.Sorry.Server.IsValid() {
		kind := events.SorryIn
		if up {
			kind = events.SorryOut
		}
		n.journal.Add(events.Event{Kind: kind, Service: key.String(), RealServer: s.Policy.Sorry.Server.String()})
	}
	n.touch(key)
}

// SetDynamicWeight gives a real server another weight than the configured one; negative: the configured
// one again.
func (n *Node) SetDynamicWeight(key lvs.ServiceKey, server netip.AddrPort, weight int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.configuredServer(key, server) == nil {
		return
	}
	c := n.condition(key, server)
	before := *c
	c.dynamic, c.weight = weight >= 0, int32(min(max(weight, 0), lvs.MaxWeight))
	changed := *c != before
	n.forgetGood(key, server)
	if changed {
		n.touch(key)
	}
}

// comeBack begins the slow start of a real server that takes clients again. added tells that it was not in
// the kernel's list meanwhile.
func (n *Node) comeBack(s *lvs.Service, c *condition, added bool) {
	if added {
		n.returns++
		c.back = n.returns
	}
	if rises(s) && !c.down && c.drain == notDrained {
		c.rise, c.step = n.opt.Now(), 1
		n.rising = true
	}
}

// inhibits reports whether a real server stays listed while it is down.
func (n *Node) inhibits(s *lvs.Service, server netip.AddrPort) bool {
	at := slices.IndexFunc(s.Destinations, func(d lvs.Destination) bool { return d.AddrPort() == server })
	return at >= 0 && s.Destinations[at].Inhibit
}

// configuredService returns the service as configured, nil if there is none.
func (n *Node) configuredService(key lvs.ServiceKey) *lvs.Service {
	if i := n.at(key); i >= 0 {
		return &n.services[i]
	}
	return nil
}

// configuredServer returns its service if there is such a real server, nil otherwise.
func (n *Node) configuredServer(key lvs.ServiceKey, server netip.AddrPort) *lvs.Service {
	s := n.configuredService(key)
	if s == nil || !hasServer(s, server) {
		return nil
	}
	return s
}

func hasServer(s *lvs.Service, server netip.AddrPort) bool {
	return slices.ContainsFunc(s.Destinations, func(d lvs.Destination) bool { return d.AddrPort() == server })
}

// at returns a service's place in the configuration, -1 if it is not there.
func (n *Node) at(key lvs.ServiceKey) int {
	last := int(n.lastAt.Load()) // its real servers come one after the other, and so do services
	for i := last; i < len(n.services) && i <= last+1; i++ {
		if n.services[i].Key == key {
			n.lastAt.Store(int64(i))
			return i
		}
	}
	i := slices.IndexFunc(n.services, func(s lvs.Service) bool { return s.Key == key })
	n.lastAt.Store(int64(max(i, 0)))
	return i
}

func (n *Node) serviceCondition(key lvs.ServiceKey) *serviceCondition {
	c := n.conditions[key]
	if c == nil {
		c = &serviceCondition{servers: map[netip.AddrPort]*condition{}}
		n.conditions[key] = c
	}
	return c
}

func (n *Node) condition(key lvs.ServiceKey, server netip.AddrPort) *condition {
	s := n.serviceCondition(key)
	c := s.servers[server]
	if c == nil {
		c = new(condition)
		s.servers[server] = c
	}
	return c
}

// forgetGood drops a condition that says nothing.
func (n *Node) forgetGood(key lvs.ServiceKey, server netip.AddrPort) {
	s := n.conditions[key]
	if c := s.servers[server]; c != nil && c.good() {
		delete(s.servers, server)
	}
}

// prune forgets what is known of services and real servers that are no more.
func (n *Node) prune(d *difference) {
	for _, key := range d.removed {
		delete(n.conditions, key)
	}
	for _, i := range d.changed {
		s := &n.services[i]
		c := n.conditions[s.Key]
		if c == nil {
			continue
		}
		for server := range c.servers {
			if !hasServer(s, server) {
				delete(c.servers, server)
			}
		}
	}
}

// touch has a service built anew: at once, or with others in a moment where somebody calls Flush.
func (n *Node) touch(key lvs.ServiceKey) {
	n.dirty[key] = true
	if n.opt.Later != nil {
		n.opt.Later()
		return
	}
	n.flush()
}

// Flush publishes what touched services came to, all with one snapshot.
func (n *Node) Flush() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flush()
}

func (n *Node) flush() {
	if len(n.dirty) == 0 {
		return
	}
	if err := n.replace(n.services); err != nil { // the configuration was accepted: a defect
		n.journal.Add(events.Event{Kind: events.ConfigRefused, Reason: "health: " + err.Error()})
	}
}

// Follow moves slow starts and drains on. Call it about once a second.
func (n *Node) Follow() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rise()
	n.followDrains()
	n.flush()
}

func (n *Node) rise() {
	if !n.rising {
		return
	}
	n.rising = false
	for key, c := range n.conditions {
		s := n.configuredService(key)
		for server, at := range c.servers {
			if at.step != 0 {
				n.riseServer(s, at)
				n.forgetGood(key, server)
			}
		}
	}
}

// riseServer moves one slow start on; s is nil if its service is no more.
func (n *Node) riseServer(s *lvs.Service, at *condition) {
	step := int32(riseSteps)
	if s != nil && rises(s) {
		step = riseStep(at.rise, n.opt.Now(), s.Policy.SlowStart)
	}
	if step != at.step && s != nil {
		n.dirty[s.Key] = true
	}
	at.step = step
	if step == riseSteps {
		at.rise, at.step = time.Time{}, 0
		return
	}
	n.rising = true
}

// EndSessions ends the sessions of real servers whose service wants that at once when they fail (on_failure =
// "expire"), and returns how many. It looks at the whole table, beside the workers. Call it when Expire was
// called.
func (n *Node) EndSessions(now conntrack.Tick) (ended int) {
	n.mu.Lock()
	over := n.over
	n.over = nil
	n.mu.Unlock()
	if len(over) == 0 {
		return 0
	}
	n.opt.Table.Walk(func(_ conntrack.Ref, e *conntrack.Entry, i conntrack.Info) bool {
		if over[lvs.DestID(i.DestID)] && i.Flags&conntrack.FlagTemplate == 0 {
			e.Touch(now, 0) // a worker that finds it, or sweeps, takes it out
			ended++
		}
		return true
	})
	return ended
}

// expire notes real servers whose sessions are to end.
func (n *Node) expire(before *lvs.Snapshot) {
	for _, id := range changedAt(before.Destinations, n.built.Destinations) {
		d := n.built.Destinations[id]
		if d == nil || d.Fate != lvs.FailExpire || !d.Load.InUse() {
			continue
		}
		if n.over == nil {
			n.over = map[lvs.DestID]bool{}
		}
		n.over[d.ID] = true
	}
	if len(n.over) > 0 && n.opt.Expire != nil {
		n.opt.Expire()
	}
}
