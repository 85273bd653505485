package director

import (
	"fmt"
	"net/netip"
	"time"

	"ulvs/control"
	"ulvs/events"
	"ulvs/lvs"
)

// Drain takes real servers out of use gently: no session begins with them any more, those that there are go on. What
// is left when the time is over meets the service's on_failure. The answer is what is being drained.
func (n *Node) Drain(r control.DrainRequest) ([]control.Drain, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	found, err := n.find(r.Service, r.RealServer, r.All)
	if err != nil {
		return nil, err
	}
	if r.TimeoutSeconds < 0 || r.TimeoutSeconds > maxDrainSeconds {
		return nil, fmt.Errorf("timeout of %d s is out of range; give 0 (at once) to %d", r.TimeoutSeconds, maxDrainSeconds)
	}
	until := n.opt.Now().Add(time.Duration(r.TimeoutSeconds) * time.Second)
	for _, x := range found {
		c := n.condition(x.key, x.server)
		c.drain, c.until, c.cut = draining, until, false
		c.rise, c.step = time.Time{}, 0
		n.draining = true
		n.journal.Add(events.Event{Kind: events.ServerDraining, Service: x.key.Name(), RealServer: x.server.String(),
			Count: int64(n.left(x.key, x.server))})
		n.touch(x.key)
	}
	return n.drains(found), nil
}

// maxDrainSeconds bounds a drain: a week.
const maxDrainSeconds = 7 * 24 * 3600

// Enable takes real servers into use again that were drained.
func (n *Node) Enable(r control.DrainRequest) ([]control.Drain, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	found, err := n.find(r.Service, r.RealServer, r.All)
	if err != nil {
		return nil, err
	}
	for _, x := range found {
		c := n.condition(x.key, x.server)
		if c.drain == notDrained {
			n.forgetGood(x.key, x.server)
			continue
		}
		c.drain, c.until, c.cut = notDrained, time.Time{}, false
		n.comeBack(n.configuredService(x.key), c, false)
		n.forgetGood(x.key, x.server)
		n.journal.Add(events.Event{Kind: events.ServerEnabled, Service: x.key.Name(), RealServer: x.server.String()})
		n.touch(x.key)
	}
	return n.drains(found), nil
}

// Drains returns what is being drained or is drained.
func (n *Node) Drains() []control.Drain {
	n.mu.RLock()
	defer n.mu.RUnlock()
	var found []serverName
	for i := range n.services {
		c := n.conditions[n.services[i].Key]
		if c == nil {
			continue
		}
		for k := range n.services[i].Destinations {
			ap := n.services[i].Destinations[k].AddrPort()
			if c.of(ap).drain != notDrained {
				found = append(found, serverName{n.services[i].Key, ap})
			}
		}
	}
	return n.drains(found)
}

type serverName struct {
	key    lvs.ServiceKey
	server netip.AddrPort
}

// find returns the real servers that are meant: with port 0 all of that address, with all those of every service.
func (n *Node) find(service string, real netip.AddrPort, all bool) (found []serverName, err error) {
	var key lvs.ServiceKey
	if !all {
		if key, err = lvs.ParseServiceKey(service); err != nil {
			return nil, err
		}
		if n.configuredService(key) == nil {
			return nil, fmt.Errorf("there is no service %s", key.Name())
		}
	}
	for i := range n.services {
		s := &n.services[i]
		if !all && s.Key != key {
			continue
		}
		for k := range s.Destinations {
			ap := s.Destinations[k].AddrPort()
			if ap.Addr() == real.Addr() && (real.Port() == 0 || ap.Port() == real.Port()) {
				found = append(found, serverName{s.Key, ap})
			}
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case all:
		return nil, fmt.Errorf("no service has a real server %s", nameOf(real))
	}
	return nil, fmt.Errorf("service %s has no real server %s", key.Name(), nameOf(real))
}

// nameOf leaves a port away that says nothing.
func nameOf(real netip.AddrPort) string {
	if real.Port() == 0 {
		return real.Addr().String()
	}
	return real.String()
}

func (n *Node) drains(found []serverName) []control.Drain {
	list := make([]control.Drain, len(found))
	for i, x := range found {
		c := n.conditions[x.key].of(x.server)
		list[i] = control.Drain{
			Service: x.key.Name(), RealServer: x.server, SessionsLeft: int64(n.left(x.key, x.server)),
		}
		list[i].State, _, _ = c.words()
		if c.drain == draining {
			list[i].SecondsLeft = max(int64(c.until.Sub(n.opt.Now()).Seconds()), 0)
		}
	}
	return list
}

// left returns how many sessions a real server has that have not ended: of TCP and SCTP those that IPVS counts as
// active, of others all.
func (n *Node) left(key lvs.ServiceKey, server netip.AddrPort) int32 {
	d := n.built.Removed(key, server)
	if s := n.built.Service(key); s != nil {
		for i := range s.Destinations {
			if s.Destinations[i].AddrPort() == server {
				d = &s.Destinations[i]
			}
		}
	}
	switch {
	case d == nil:
		return 0
	case key.Proto == lvs.ProtoTCP || key.Proto == lvs.ProtoSCTP:
		return d.Load.Active()
	}
	return d.Load.Active() + d.Load.Inactive()
}

// followDrains ends what is drained.
func (n *Node) followDrains() {
	if !n.draining {
		return
	}
	n.draining = false
	now := n.opt.Now()
	for key, c := range n.conditions {
		for server, at := range c.servers {
			if at.drain != draining {
				continue
			}
			left := n.left(key, server)
			if left > 0 && now.Before(at.until) {
				n.draining = true
				continue
			}
			at.drain, at.cut = drained, left > 0
			n.journal.Add(events.Event{
				Kind: events.ServerDrained, Service: key.Name(), RealServer: server.String(), Count: int64(left),
			})
			n.dirty[key] = true
		}
	}
}

var _ control.Drainer = (*director)(nil)
