package director

import (
	"net/netip"

	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/sched"
)

// nextScheduler updates the service's scheduler, or binds a new one.
func (n *Node) nextScheduler(s *lvs.Service) (*sched.Scheduler, error) {
	old := n.schedulers[s.Key]
	if n.keepsScheduler(s) {
		return old, old.Update(s.Destinations)
	}
	sc, err := sched.New(s.Scheduler, s.SchedFlags, sched.Options{IPv4: s.Key.Addr.Is4()})
	if err != nil {
		return nil, err
	}
	if old != nil {
		return sc, sc.Bind(s.Destinations) // ipvsadm -E -s: over the list as it is
	}
	return sc, sc.Update(s.Destinations)
}

// configured reports whether s is a service of the configuration, and not one that only stays
// for its sessions' sake.
func configured(built *lvs.Snapshot, s *lvs.Service) bool {
	return s != nil && built.Service(s.Key) == s
}

// routes implements dataplane.Routes.
type routes struct{ network Network }

func (r routes) NextHop(dst netip.Addr) (dataplane.HopKey, bool) {
	key, _, ok := r.network.NextHop(dst)
	return key, ok
}

// snapshot assembles what workers read.
func (n *Node) snapshot() *dataplane.Snapshot {
	timeouts := n.timeouts
	n.version++
	s := &dataplane.Snapshot{
		RouteEpoch: n.epoch & 0xfff, Timeouts: &timeouts, Settings: n.settings, Replicated: n.opt.Replicated,
		Routes: routes{n.network}, Ports: n.network.Ports(), Marks: n.markRules(),
		Services: make([]dataplane.Service, len(n.built.Services)),
		Dests:    make([]dataplane.Dest, len(n.built.Destinations)),
		Locals:   n.network.Locals(), Settling: n.settling,
	}
	n.setVIPs(s)
	s.Logs, s.TellAll = n.logs()
	for id, svc := range n.built.Services {
		s.Services[id] = n.service(svc)
	}
	for id, d := range n.built.Destinations {
		if d != nil {
			s.Dests[id] = n.dest(d)
		}
	}
	s.IndexServices()
	s.NameAll(n.opt.Table)
	s.Hops, s.HopIDs = n.hops.render(n.network)
	return s
}

// service is what workers need of a service, nil being one that is no more.
func (n *Node) service(svc *lvs.Service) (out dataplane.Service) {
	if svc == nil {
		return out
	}
	out = dataplane.Service{Config: svc, Persist: dataplane.TickOf(svc.Persistence)}
	if configured(n.built, svc) {
		out.Scheduler = n.schedulers[svc.Key]
	}
	return out
}

func (n *Node) dest(d *lvs.Destination) dataplane.Dest {
	key, source, ok := n.network.NextHop(d.Addr)
	out := dataplane.NewDest(d, source)
	switch out.Local = dataplane.OnThisHost(d.Addr, n.network.Locals()); {
	case out.Local: // hop 0
	case ok:
		out.Hop = n.hops.id(key)
	}
	return out
}

// vips returns the addresses of all services, each once.
func (n *Node) vips() []netip.Addr {
	seen := map[netip.Addr]bool{}
	var list []netip.Addr
	for i := range n.services {
		k := n.services[i].Key
		if k.Mark == 0 && !seen[k.Addr] {
			seen[k.Addr] = true
			list = append(list, k.Addr)
		}
	}
	for _, m := range n.markVIPs() {
		if a := m.Destination.Addr(); !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	return list
}

// vipSet is held as workers look it up.
func (n *Node) vipSet() map[netip.Addr]bool {
	set := map[netip.Addr]bool{}
	for _, vip := range n.held() {
		set[vip] = true
	}
	return set
}

// setVIPs gives a snapshot the addresses that are answered for, and their MAC addresses.
func (n *Node) setVIPs(s *dataplane.Snapshot) {
	s.VIPs = n.vipSet()
	s.SetVirtual(n.macs.held(s.VIPs))
}

// held returns the addresses that we answer for.
func (n *Node) held() []netip.Addr {
	if n.opt.KernelVIPs {
		return n.opt.Addresses
	}
	return append(n.heldVIPs(HoldAnswers), n.opt.Addresses...)
}

// steered returns the addresses whose packets are ours.
func (n *Node) steered() []netip.Addr {
	if n.opt.KernelVIPs {
		return n.opt.Addresses
	}
	return append(n.heldVIPs(HoldLinger), n.opt.Addresses...)
}

// rules are what the XDP program steers to us.
func (n *Node) rules() afxdp.Rules {
	r := afxdp.Rules{VIPs: n.steered(), Locals: n.network.Locals(), Probes: n.probeSteering()}
	for i := range n.services {
		if k := n.services[i].Key; k.Mark == 0 && n.own.of(k.Addr) != HoldNone {
			r.Services = append(r.Services, afxdp.Rule{Addr: k.Addr, Port: k.Port, Proto: k.Proto})
		}
	}
	r.Services = append(r.Services, n.markSteering()...)
	seen := map[afxdp.Rule]bool{}
	add := func(d *lvs.Destination, svc *lvs.ServiceKey) {
		for _, rule := range replyRules(d, svc) {
			if !seen[rule] {
				seen[rule] = true
				r.Replies = append(r.Replies, rule)
			}
		}
	}
	for _, d := range n.built.Destinations {
		if d != nil {
			add(d, &n.built.Services[d.Service].Key)
		}
	}
	for i := range n.services { // also those that are down: checks ask them
		for k := range n.services[i].Destinations {
			add(&n.services[i].Destinations[k], &n.services[i].Key)
		}
	}
	return r
}

// replyRules tell what comes back from a real server: answers through NAT, and ICMP errors about what we
// sent into a tunnel.
func replyRules(d *lvs.Destination, svc *lvs.ServiceKey) []afxdp.Rule {
	if d.Method == lvs.MethodDR || d.Addr.IsLoopback() {
		return nil
	}
	if d.Method == lvs.MethodNAT && svc.Mark != 0 { // of any protocol
		return []afxdp.Rule{{Addr: d.Addr}}
	}
	if d.Method == lvs.MethodNAT {
		return []afxdp.Rule{{Addr: d.Addr, Port: d.Port, Proto: svc.Proto}}
	}
	switch d.Tunnel.Type {
	case lvs.TunnelGRE:
		return []afxdp.Rule{{Addr: d.Addr, Proto: packet.ProtoGRE}}
	case lvs.TunnelIPIP:
		if svc.Addr.Is6() {
			return []afxdp.Rule{{Addr: d.Addr, Proto: packet.ProtoIPv6}}
		}
		return []afxdp.Rule{{Addr: d.Addr, Proto: packet.ProtoIPIP}}
	}
	return nil // GUE's errors look like any UDP's
}
