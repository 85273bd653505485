package director

import (
	"net/netip"
	"time"

	"ulvs/dataplane"
	"ulvs/lvs"
)

// What an upgrade hands over besides sockets and sessions: what is known of real servers, so that one that is down gets
// no packet and one that is up is not doubted, and what has been counted.

// handedServer is the condition of a real server that checks do not say by themselves.
type handedServer struct {
	Service lvs.ServiceKey `json:"service"`
	Server  netip.AddrPort `json:"server"`
	Since   time.Time      `json:"since,omitzero"` // it is down
	Drain   drainState     `json:"drain,omitzero"`
	Until   time.Time      `json:"until,omitzero"`
	Cut     bool           `json:"cut,omitzero"`
	Rise    time.Time      `json:"rise,omitzero"`
	Back    uint64         `json:"back,omitzero"`
}

// handedCounter is what was counted of a real server, of a service (no Server), or of everything (no Service).
type handedCounter struct {
	Service lvs.ServiceKey      `json:"service,omitzero"`
	Server  netip.AddrPort      `json:"server,omitzero"`
	Counts  dataplane.DestStats `json:"counts"`
	Unrated dataplane.DestStats `json:"unrated"` // of Counts, since the estimator's last tick
	Rates   [5]int64            `json:"rates"`   // the estimator's averages, scaled
}

// released is what the other process is told at last.
type released struct {
	Counters []handedCounter `json:"counters"`
}

// conditionsNow lists the real servers of which more is known than their checks say.
func (n *Node) conditionsNow() (list []handedServer) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for key, c := range n.conditions {
		for server, at := range c.servers {
			list = append(list, handedServer{Service: key, Server: server, Since: at.since, Drain: at.drain,
				Until: at.until, Cut: at.cut, Rise: at.rise, Back: at.back})
		}
	}
	return list
}

// resume lays conditions over what is configured. Slow starts that the states of checks have just begun are none.
func (n *Node) resume(list []handedServer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, c := range n.conditions {
		for server, at := range c.servers {
			at.rise, at.step, at.back = time.Time{}, 0, 0
			n.forgetGood(key, server)
		}
		n.dirty[key] = true
	}
	n.rising = false
	for i := range list {
		h := &list[i]
		s := n.configuredServer(h.Service, h.Server)
		if s == nil {
			continue
		}
		c := n.condition(h.Service, h.Server)
		c.drain, c.until, c.cut, c.back = h.Drain, h.Until, h.Cut, h.Back
		if c.down {
			c.since = h.Since
		}
		if !h.Rise.IsZero() && rises(s) {
			c.rise, c.step, n.rising = h.Rise, riseStep(h.Rise, n.opt.Now(), s.Policy.SlowStart), true
		}
		n.returns = max(n.returns, h.Back)
		n.draining = n.draining || c.drain == draining
		n.forgetGood(h.Service, h.Server)
		n.dirty[h.Service] = true
	}
	n.flush()
}

// counted lists all counters. No worker counts any more.
func (n *Node) counted() []handedCounter {
	n.mu.RLock()
	defer n.mu.RUnlock()
	c := &n.counters
	list := []handedCounter{c.total.hand(c.rawTotal())}
	for id, s := range n.built.Services {
		if s == nil {
			continue
		}
		h := c.services[id].hand(c.rawService(lvs.ServiceID(id)))
		h.Service = s.Key
		list = append(list, h)
	}
	for id, d := range n.built.Destinations {
		if d == nil || d.Removed || n.built.Services[d.Service] == nil {
			continue
		}
		h := c.dests[id].hand(c.rawDest(lvs.DestID(id)))
		h.Service, h.Server = n.built.Services[d.Service].Key, d.AddrPort()
		list = append(list, h)
	}
	return list
}

// goOnCounting adds what another process counted, while workers count already.
func (n *Node) goOnCounting(list []handedCounter) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &n.counters
	known := make(map[serverName]*handedCounter, len(list))
	for i := range list {
		known[serverName{list[i].Service, list[i].Server}] = &list[i]
	}
	c.total.take(known[serverName{}])
	for id, s := range n.built.Services {
		if s != nil {
			c.services[id].take(known[serverName{key: s.Key}])
		}
	}
	for id, d := range n.built.Destinations {
		if d != nil && !d.Removed && n.built.Services[d.Service] != nil {
			c.dests[id].take(known[serverName{n.built.Services[d.Service].Key, d.AddrPort()}])
		}
	}
}

func (c *counter) hand(raw dataplane.DestStats) handedCounter {
	e := &c.rates
	return handedCounter{Counts: less(raw, c.zero), Unrated: less(raw, e.last),
		Rates: [5]int64{e.conns, e.inPackets, e.outPackets, e.inBytes, e.outBytes}}
}

// take has the counter begin as much lower as there was counted before: differences are right whatever wraps.
func (c *counter) take(h *handedCounter) {
	if h == nil {
		return
	}
	e := &c.rates
	c.zero, e.last = less(c.zero, h.Counts), less(e.last, h.Unrated)
	e.conns, e.inPackets, e.outPackets, e.inBytes, e.outBytes = h.Rates[0], h.Rates[1], h.Rates[2], h.Rates[3], h.Rates[4]
}

func less(a, b dataplane.DestStats) dataplane.DestStats {
	return dataplane.DestStats{
		Conns: a.Conns - b.Conns, InPackets: a.InPackets - b.InPackets, OutPackets: a.OutPackets - b.OutPackets,
		InBytes: a.InBytes - b.InBytes, OutBytes: a.OutBytes - b.OutBytes,
	}
}
