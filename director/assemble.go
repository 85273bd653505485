package director

import (
	"errors"
	"fmt"
	"net/netip"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/route"
	"ulvs/sched"
)

// assembler turns services, routes and neighbours into the data plane's snapshots. It
// belongs to the director's loop; what it returns is immutable.
type assembler struct {
	vipMode    config.VIPMode
	services   *lvs.Snapshot
	schedulers map[lvs.ServiceKey]*sched.Scheduler
	hops       *hopTable
	timeouts   conntrack.Timeouts
	generation uint64
	epoch      uint16
}

func newAssembler(c *config.Config) *assembler {
	return &assembler{
		vipMode: c.Node.VIPMode, schedulers: map[lvs.ServiceKey]*sched.Scheduler{}, hops: newHopTable(),
		timeouts: conntrack.DefaultTimeouts().With(c.Timeouts.TCP, c.Timeouts.TCPFin, c.Timeouts.UDP),
	}
}

// setServices builds the next set of services. Schedulers of services that stay keep
// their positions. On error nothing has changed.
func (a *assembler) setServices(services []lvs.Service) error {
	next, err := lvs.Build(a.services, services)
	if err != nil {
		return fmt.Errorf("build services: %w", err)
	}
	schedulers := make(map[lvs.ServiceKey]*sched.Scheduler, len(services))
	var errs []error
	for _, s := range next.Services {
		if s == nil || next.Service(s.Key) != s {
			continue
		}
		sc, err := a.scheduler(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", s.Key, err))
			continue
		}
		schedulers[s.Key] = sc
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for key, sc := range schedulers {
		if err := sc.Update(next.Service(key).Destinations); err != nil {
			errs = append(errs, fmt.Errorf("service %s: scheduler %s: %w", key, sc.Name(), err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	a.services, a.schedulers = next, schedulers
	return nil
}

func (a *assembler) scheduler(s *lvs.Service) (*sched.Scheduler, error) {
	if old := a.schedulers[s.Key]; old != nil && old.Name() == s.Scheduler && old.Flags() == s.SchedFlags {
		return old, nil
	}
	return sched.New(s.Scheduler, s.SchedFlags, sched.Options{})
}

// world is what the kernel said, with our ports in it.
type world struct {
	ports []port
	state *route.State
	links *linkMap
}

// snapshot assembles everything anew: services or routes changed.
func (a *assembler) snapshot(w *world) *dataplane.Snapshot {
	a.generation++
	a.epoch++
	timeouts := a.timeouts
	s := &dataplane.Snapshot{
		Generation: a.generation, RouteEpoch: a.epoch & 0xfff, Timeouts: &timeouts,
		Routes: &routes{w.links, w.state}, Ports: dataplanePorts(w.ports),
		Services: make([]dataplane.Service, len(a.services.Services)),
		Dests:    make([]dataplane.Dest, len(a.services.Destinations)),
		VIPs:     map[netip.Addr]bool{}, Replies: map[netip.Addr]bool{},
	}
	for id, svc := range a.services.Services {
		if svc == nil {
			continue
		}
		s.Services[id] = dataplane.Service{Config: svc, Persist: dataplane.TickOf(svc.Persistence)}
		if a.services.Service(svc.Key) != svc {
			continue // gone, kept for its sessions' sake
		}
		s.Services[id].Scheduler = a.schedulers[svc.Key]
		if a.vipMode == config.VIPUser && svc.Key.Mark == 0 {
			s.VIPs[svc.Key.Addr] = true
		}
	}
	for id, d := range a.services.Destinations {
		if d == nil {
			continue
		}
		s.Dests[id] = a.dest(d, w)
		if d.Method == lvs.MethodNAT && !d.Removed {
			s.Replies[d.Addr] = true
		}
	}
	s.IndexServices()
	s.Hops, s.HopIDs = a.hops.render(w.links, w.state)
	return s
}

// refresh returns prev with the hops as they are now: only neighbours changed.
func (a *assembler) refresh(prev *dataplane.Snapshot, w *world) *dataplane.Snapshot {
	a.generation++
	s := *prev
	s.Generation = a.generation
	s.Hops, s.HopIDs = a.hops.render(w.links, w.state)
	return &s
}

func (a *assembler) dest(d *lvs.Destination, w *world) dataplane.Dest {
	out := dataplane.Dest{
		Method: d.Method, Removed: d.Removed, Load: d.Load, Service: d.Service,
		Addr: wireAddr(d.Addr), Port: packet.WirePort(d.Port),
	}
	key, source, ok := w.links.nextHop(w.state, d.Addr)
	if ok {
		out.Hop = a.hops.id(key)
	}
	if d.Method == lvs.MethodTUN {
		out.OuterLen = 20
		if d.Addr.Is6() {
			out.OuterLen = 40
		}
		out.OuterSrc = wireAddr(source)
	}
	return out
}

// wireAddr returns an address in wire words: IPv4 in the low half of the first; zero for none.
func wireAddr(a netip.Addr) [2]uint64 {
	if a.Is4() {
		return [2]uint64{uint64(packet.WireV4(a))}
	}
	return packet.WireV6(a)
}

func dataplanePorts(ports []port) []dataplane.Port {
	out := make([]dataplane.Port, len(ports))
	for i := range ports {
		out[i] = dataplane.Port{Name: ports[i].name, MAC: ports[i].link.MAC, MTU: uint16(min(ports[i].link.MTU, 0xffff))}
	}
	return out
}

// vips returns the addresses of all services.
func (a *assembler) vips() []netip.Addr {
	seen := map[netip.Addr]bool{}
	var list []netip.Addr
	for _, svc := range a.services.Services {
		if svc != nil && a.services.Service(svc.Key) == svc && svc.Key.Mark == 0 && !seen[svc.Key.Addr] {
			seen[svc.Key.Addr] = true
			list = append(list, svc.Key.Addr)
		}
	}
	return list
}

// rules are what the XDP program steers to us.
func (a *assembler) rules(w *world) afxdp.Rules {
	var r afxdp.Rules
	replies := map[afxdp.Rule]bool{}
	for _, svc := range a.services.Services {
		if svc == nil || a.services.Service(svc.Key) != svc || svc.Key.Mark != 0 {
			continue
		}
		r.Services = append(r.Services, afxdp.Rule{Addr: svc.Key.Addr, Port: svc.Key.Port, Proto: svc.Key.Proto})
	}
	if a.vipMode == config.VIPUser {
		r.VIPs = a.vips()
	}
	for _, d := range a.services.Destinations {
		if d != nil && d.Method == lvs.MethodNAT {
			replies[afxdp.Rule{Addr: d.Addr, Port: d.Port, Proto: a.services.Services[d.Service].Key.Proto}] = true
		}
	}
	for rule := range replies {
		r.Replies = append(r.Replies, rule)
	}
	for _, l := range w.state.Links() {
		for _, p := range w.state.Addrs(l.Index) {
			r.Locals = append(r.Locals, p.Addr())
		}
	}
	return r
}
