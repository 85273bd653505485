package director

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/lvs"
	"ulvs/packet"
)

func TestReplaceKeepsIDs(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1, 2, 3), service(443, 1))
	want := map[int]lvs.DestID{1: b.destID(80, 1), 3: b.destID(80, 3)}
	other := b.destID(443, 1)
	b.replace(service(22, 4), service(80, 3, 5, 1), service(443, 1))
	for real, id := range want {
		if got := b.destID(80, real); got != id {
			t.Errorf("real server %d has id %d, had %d", real, got, id)
		}
	}
	if got := b.destID(443, 1); got != other {
		t.Errorf("the other service's has id %d, had %d", got, other)
	}
}

func TestReplaceKeepsCountersOfWhatStays(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1, 2), service(443, 9))
	for range 6 {
		b.syn()
	}
	b.replace(service(80, 1, 3))
	b.TickRates()
	l := b.Listing()
	if got := l.Services[0].Counters.Conns; got != 6 {
		t.Errorf("the service shows %d sessions, want 6", got)
	}
	if got := l.Services[0].Destinations[0].Counters.Conns; got != 3 {
		t.Errorf("the real server that stays shows %d, want 3", got)
	}
	if got := l.Services[0].Destinations[1].Counters.Conns; got != 0 {
		t.Errorf("the new real server shows %d, want 0", got)
	}
}

// A slot that another real server gets starts from nothing, whatever the workers counted there.
func TestASlotsNextOwnerStartsFromZero(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1))
	b.syn()
	old := b.destID(80, 1)
	b.now += conntrack.Tick(time.Hour / (time.Second / conntrack.TicksPerSecond))
	b.worker.Sweep(b.now) // its session is over, so the slot will be free
	b.replace(service(80))
	for range 4 * trashTicks { // four minutes
		b.TickRates()
	}
	b.replace(service(80))
	b.replace(service(80, 2))
	if id := b.destID(80, 2); id != old {
		t.Fatalf("the new real server has slot %d, want the free one, %d", id, old)
	}
	if got := b.Listing().Services[0].Destinations[0].Counters.InPackets; got != 0 {
		t.Errorf("the new real server shows %d packets, want 0", got)
	}
}

// IPVS keeps a removed real server for two to four minutes (its trash list): health checks that remove and add it
// do not lose its counters. What is gone longer starts from nothing.
func TestARealServerThatComesBackHasItsCounters(t *testing.T) {
	for minutes, want := range map[int]uint64{0: 1, 2: 1, 4: 0} {
		b := newBed(t)
		b.replace(service(80, 1))
		b.syn()
		b.now += conntrack.Tick(time.Hour / (time.Second / conntrack.TicksPerSecond))
		b.worker.Sweep(b.now)
		b.replace(service(80))
		for range minutes * trashTicks {
			b.TickRates()
		}
		b.replace(service(80, 1))
		b.TickRates()
		if got := b.Listing().Services[0].Destinations[0].Counters.InPackets; got != want {
			t.Errorf("back after %d minutes it shows %d packets, want %d", minutes, got, want)
		}
	}
}

func TestReplaceKeepsTheSchedulersPosition(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1, 2, 3))
	first := []netip.Addr{b.syn(), b.syn()}
	b.replace(service(80, 1, 2, 3), service(443, 1)) // somebody else's service
	third := b.syn()
	if third == first[0] || third == first[1] || !third.IsValid() {
		t.Errorf("rr went to %v, then after a reload to %s; want the third real server", first, third)
	}
	b.replace(service(80, 1, 2, 3))
	if fourth := b.syn(); fourth != first[0] {
		t.Errorf("rr went on with %s, want %s", fourth, first[0])
	}
}

func TestReplaceKeepsSessions(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1, 2, 3))
	to := b.syn()
	b.replace(service(80, 3, 2, 1))
	for range 3 {
		if got := b.packet(b.port, packet.TCPAck); got != to {
			t.Errorf("a packet of the session went to %s, want %s", got, to)
		}
	}
}

func TestARefusedReplaceChangesNothing(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1))
	before := b.Snapshots().Load()
	unknown := service(81, 1)
	unknown.Scheduler = "nobody"
	twice := service(82, 1, 1)
	for _, bad := range [][]lvs.Service{
		{service(80, 1), service(80, 2)}, {service(80, 1), twice}, {service(80, 2), unknown},
	} {
		if err := b.Replace(bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	if b.Snapshots().Load() != before {
		t.Error("a snapshot was published")
	}
	if to := b.syn(); to != realAddr(1) {
		t.Errorf("a session went to %v, want %s", to, realAddr(1))
	}
}

func TestTheSnapshotHasWhatWorkersRead(t *testing.T) {
	b := newBed(t)
	b.net.unrouted[realAddr(3)] = true
	dns := lvs.Service{
		Key: lvs.ServiceKey{Addr: vip6, Port: 53, Proto: lvs.ProtoUDP}, Scheduler: "wrr", Persistence: time.Minute,
	}
	b.replace(service(80, 1, 2, 3), dns)
	s := b.Snapshots().Load()
	if !s.VIPs[vip] || !s.VIPs[vip6] || len(s.VIPs) != 2 {
		t.Errorf("VIPs %v, want %s and %s", s.VIPs, vip, vip6)
	}
	for i := 1; i <= 2; i++ {
		d := s.Dests[b.destID(80, i)]
		if s.Hops[d.Hop].State != dataplane.HopReady || s.Hops[d.Hop].Port != 1 || s.Hops[d.Hop].DstMAC() != backMAC {
			t.Errorf("real server %d has hop %d: %+v", i, d.Hop, s.Hops[d.Hop])
		}
	}
	if d := s.Dests[b.destID(80, 3)]; d.Hop != 0 {
		t.Errorf("the real server without a route has hop %d", d.Hop)
	}
	svc := s.Services[b.built.Service(dns.Key).ID]
	if svc.Scheduler == nil || svc.Scheduler.Name() != "wrr" || svc.Persist != 60*conntrack.TicksPerSecond {
		t.Errorf("the service is %+v, want wrr and a minute", svc)
	}
	if len(s.Ports) != 2 || s.Ports[1].Name != "s0" {
		t.Errorf("ports %+v", s.Ports)
	}
}

func TestGenerationsRiseAndRoutesHaveEpochs(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1))
	before := *b.Snapshots().Load()
	b.SetNetwork(b.net, false, false)
	neighbours := *b.Snapshots().Load()
	b.SetNetwork(b.net, true, false)
	routes := *b.Snapshots().Load()
	if neighbours.Generation <= before.Generation || routes.Generation <= neighbours.Generation {
		t.Errorf("generations %d, %d, %d", before.Generation, neighbours.Generation, routes.Generation)
	}
	if neighbours.RouteEpoch != before.RouteEpoch || routes.RouteEpoch == before.RouteEpoch {
		t.Errorf("route epochs %d, %d with new neighbours, %d with new routes",
			before.RouteEpoch, neighbours.RouteEpoch, routes.RouteEpoch)
	}
}

func TestHopsKeepTheirNumbersUntilPortsAreNumberedAnew(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1, 2))
	key := dataplane.HopKey{Port: 0, Addr: client}
	if !b.addHop(key) {
		t.Fatal("no room for a hop")
	}
	b.refresh()
	s := b.Snapshots().Load()
	ids := map[dataplane.HopKey]dataplane.HopID{}
	for k, id := range s.HopIDs {
		ids[k] = id
		if got, ok := b.hopKey(id); !ok || got != k {
			t.Errorf("hop %d is %v, want %v", id, got, k)
		}
	}
	if len(ids) != 3 || ids[key] == 0 {
		t.Fatalf("hops %v, want two real servers and %v", ids, key)
	}
	b.replace(service(443, 4), service(80, 2, 1))
	for k, id := range ids {
		if got := b.Snapshots().Load().HopIDs[k]; got != id {
			t.Errorf("hop %v has number %d, had %d", k, got, id)
		}
	}
	b.SetNetwork(b.net, true, true)
	if got := b.Snapshots().Load(); got.HopIDs[key] != 0 || len(got.HopIDs) != 3 || len(got.Hops) != 4 {
		t.Errorf("after ports were numbered anew: %v, want the three real servers only", got.HopIDs)
	}
	if _, ok := b.hopKey(99); ok {
		t.Error("hop 99 has a key")
	}
}

func TestANeighbourThatResolvesBecomesUsable(t *testing.T) {
	b := newBed(t)
	b.net.unknown[realAddr(1)] = true
	b.replace(service(80, 1))
	ready := func() bool {
		s := b.Snapshots().Load()
		return s.Hops[s.Dests[b.destID(80, 1)].Hop].State == dataplane.HopReady
	}
	key := dataplane.HopKey{Port: 1, Addr: realAddr(1)}
	if ready() || b.hopKeys()[key] {
		t.Fatal("a neighbour without a MAC address is ready")
	}
	b.SetNetwork(&staticNetwork{}, false, false)
	if !ready() || !b.hopKeys()[key] {
		t.Error("a resolved neighbour is not ready")
	}
}

func TestRulesSteerServicesVIPsAndNATReplies(t *testing.T) {
	b := newBed(t)
	nat := service(8080, 1)
	nat.Destinations[0] = lvs.Destination{Addr: realAddr(1), Port: 80, Method: lvs.MethodNAT, Weight: 1}
	twin := service(8081, 1)
	twin.Destinations[0] = nat.Destinations[0]
	b.replace(service(80, 1, 2), nat, twin)
	r := b.rules()
	if !slices.Equal(r.VIPs, []netip.Addr{vip}) || !slices.Equal(r.Locals, []netip.Addr{own}) {
		t.Errorf("VIPs %v, local addresses %v", r.VIPs, r.Locals)
	}
	if len(r.Services) != 3 || !slices.Contains(r.Services, afxdp.Rule{Addr: vip, Port: 8080, Proto: lvs.ProtoTCP}) {
		t.Errorf("services %v", r.Services)
	}
	reply := afxdp.Rule{Addr: realAddr(1), Port: 80, Proto: lvs.ProtoTCP}
	if n := len(r.Replies); n != 1 || r.Replies[0] != reply {
		t.Errorf("replies %v, want %v once", r.Replies, reply)
	}
}

func TestVIPsOfTheKernelAreNotAnsweredFor(t *testing.T) {
	b := newBed(t)
	n, err := NewNode(NodeOptions{
		Table: b.opt.Table, Network: b.net, KernelVIPs: true, Timeouts: config.Timeouts{TCP: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Replace([]lvs.Service{service(80, 1)}); err != nil {
		t.Fatal(err)
	}
	if s := n.Snapshots().Load(); len(s.VIPs) != 0 || len(n.rules().VIPs) != 0 {
		t.Errorf("answers for %v", s.VIPs)
	}
	if len(n.rules().Services) != 1 {
		t.Errorf("services %v", n.rules().Services)
	}
	if got := n.Listing().Timeouts; got != [3]int{3600, 120, 300} {
		t.Errorf("timeouts %v, want an hour and the kernel's", got)
	}
}
