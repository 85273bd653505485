package pipeline

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/sched"
)

// Addresses: VIP i is vip4+i, real server k is real4+k; clients are in 11.0.0.0/8. IPv6 alike, by prefix.
const (
	vip4        = 198<<24 | 18<<16
	real4       = 10<<24 | 1<<16
	vip6        = 0x2001_0db8_000c_0000
	real6       = 0xfd00_0000_0000_0000
	client6     = 0x2001_0db8_0001_0000
	servicePort = 80
	mtu         = 1500
)

func portMAC(port int) packet.MAC { return packet.MAC{2, 0, 0, 0, 1, byte(port + 1)} }

func addr4(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

func addr6(prefix, n uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], prefix)
	binary.BigEndian.PutUint64(b[8:], n)
	return netip.AddrFrom16(b)
}

func (o *Options) vip(i int) netip.Addr {
	if o.V6 {
		return addr6(vip6, uint64(i+1))
	}
	return addr4(vip4 + uint32(i))
}

func (o *Options) server(i int) netip.Addr {
	if o.V6 {
		return addr6(real6, uint64(i+1))
	}
	return addr4(real4 + uint32(i))
}

// routes: real servers are neighbours on port 1, everybody else is behind a router on port 0.
type routes struct{ router netip.Addr }

// NextHop implements dataplane.Routes.
func (r routes) NextHop(dst netip.Addr) (dataplane.HopKey, bool) {
	if dst.Is4() && dst.As4()[0] == real4>>24 || dst.Is6() && dst.As16()[0] == real6>>56 {
		return dataplane.HopKey{Port: 1, Addr: dst}, true
	}
	return dataplane.HopKey{Port: 0, Addr: r.router}, true
}

// newSnapshot makes what the worker reads, as a director would: the same constructors, every hop resolved.
func newSnapshot(o Options, built *lvs.Snapshot) (*dataplane.Snapshot, error) {
	timeouts := conntrack.DefaultTimeouts().With(established, 0, 0)
	s := &dataplane.Snapshot{
		Generation: built.Generation, RouteEpoch: 1, Timeouts: &timeouts, Settings: lvs.DefaultSettings(),
		Services: make([]dataplane.Service, len(built.Services)), Dests: make([]dataplane.Dest, len(built.Destinations)),
		Hops: make([]dataplane.Hop, 1), HopIDs: map[dataplane.HopKey]dataplane.HopID{}, VIPs: map[netip.Addr]bool{},
		Ports: []dataplane.Port{{Name: "c0", MAC: portMAC(0), MTU: mtu}, {Name: "s0", MAC: portMAC(1), MTU: mtu}},
	}
	r := routes{addr4(192<<24 | 2<<8 | 254)}
	if o.V6 {
		r.router = addr6(client6, 254)
	}
	s.Routes = r
	addHop(s, r.router)
	for id, svc := range built.Services {
		if svc == nil {
			continue
		}
		scheduler, err := newScheduler(svc)
		if err != nil {
			return nil, err
		}
		s.Services[id] = dataplane.Service{Config: svc, Scheduler: scheduler}
		s.VIPs[svc.Key.Addr] = true
	}
	source := o.server(maxServers + 1)
	for id, d := range built.Destinations {
		if d != nil {
			s.Dests[id] = dataplane.NewDest(d, source)
			s.Dests[id].Hop = addHop(s, d.Addr)
		}
	}
	s.IndexServices()
	return s, nil
}

func newScheduler(svc *lvs.Service) (*sched.Scheduler, error) {
	s, err := sched.New(svc.Scheduler, svc.SchedFlags, sched.Options{IPv4: svc.Key.Addr.Is4()})
	if err == nil {
		err = s.Update(svc.Destinations)
	}
	if err != nil {
		return nil, fmt.Errorf("pipeline: scheduler %s: %w", svc.Scheduler, err)
	}
	return s, nil
}

func (o *Options) services() []lvs.Service {
	list := make([]lvs.Service, o.Services)
	for i := range list {
		s := &list[i]
		s.Key = lvs.ServiceKey{Addr: o.vip(i), Port: servicePort, Proto: lvs.ProtoTCP}
		s.Scheduler = o.Scheduler
		for k := range o.Servers {
			s.Destinations = append(s.Destinations, lvs.Destination{
				Addr: o.server(i*o.Servers + k), Port: servicePort, Method: o.Method, Weight: 1,
			})
		}
	}
	return list
}

// addHop makes the neighbour that packets for dst go to.
func addHop(s *dataplane.Snapshot, dst netip.Addr) dataplane.HopID {
	key, _ := s.Routes.NextHop(dst)
	id := dataplane.HopID(len(s.Hops))
	mac := packet.MAC{2, 0, 1, byte(id >> 16), byte(id >> 8), byte(id)}
	s.Hops = append(s.Hops, dataplane.NewHop(key, mac, portMAC(int(key.Port)), mtu))
	s.HopIDs[key] = id
	return id
}
