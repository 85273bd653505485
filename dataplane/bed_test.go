package dataplane

import (
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"ulvs/conntrack"
	"ulvs/dataplane/memqueue"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/sched"
)

// The test network: port 0 towards clients (through a router), port 1 towards real servers.
var (
	routerMAC = packet.MAC{2, 0, 0, 0, 0, 1}
	portMACs  = []packet.MAC{{2, 0, 0, 0, 1, 1}, {2, 0, 0, 0, 1, 2}}
	realMAC   = func(i int) packet.MAC { return packet.MAC{2, 0, 0, 0, 2, byte(i)} }
	clientNet = netip.MustParsePrefix("192.0.2.0/24")
)

// bed is a worker over a memqueue with a static world around it.
type bed struct {
	tb        testing.TB
	queue     *memqueue.Queue
	worker    *Worker
	table     *conntrack.Table
	snapshots atomic.Pointer[Snapshot]
	notices   chan Notice
	gathering *Reassembly
	services  *lvs.Snapshot
	sched     map[lvs.ServiceKey]*sched.Scheduler
	hops      []Hop
	hopIDs    map[HopKey]HopID
	now       conntrack.Tick
	mtu       uint16
	vlan      uint16 // VLAN id of the server side
	log       *conntrack.Log
}

type bedOptions struct {
	log      int // records; 0: no log
	bits     uint8
	heap     bool
	maxConns int
	frames   int
	mtu      uint16
	vlan     uint16
	workers  int
}

func newBed(tb testing.TB, o bedOptions, services ...lvs.Service) *bed {
	tb.Helper()
	if o.bits == 0 {
		o.bits = 10
	}
	if o.frames == 0 {
		o.frames = 256
	}
	if o.mtu == 0 {
		o.mtu = 1500
	}
	table, err := conntrack.New(conntrack.Options{
		Bits: o.bits, Workers: max(o.workers, 1), Heap: o.heap, MaxConns: o.maxConns,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { table.Close() })
	b := &bed{
		tb: tb, queue: memqueue.New(o.frames), table: table, notices: make(chan Notice, 64), mtu: o.mtu, vlan: o.vlan,
		gathering: NewReassembly(),
		sched:     map[lvs.ServiceKey]*sched.Scheduler{}, hops: make([]Hop, 1), hopIDs: map[HopKey]HopID{}, now: 80,
	}
	if o.log != 0 {
		b.log = conntrack.NewLog(conntrack.LogOptions{Size: o.log})
	}
	b.apply(services...)
	b.worker = NewWorker(Options{
		Queue: b.queue, Table: table, Snapshots: &b.snapshots, Notices: b.notices, Seed: 1, Workers: o.workers,
		Gathering: b.gathering, Log: b.log,
	})
	return b
}

// peer is a second worker, number id, in the same world, with a queue of its own.
func (b *bed) peer(id, workers int) *bed {
	p := &bed{
		tb: b.tb, queue: memqueue.New(256), table: b.table, notices: b.notices, services: b.services, now: b.now,
		gathering: b.gathering,
	}
	p.worker = NewWorker(Options{
		ID: id, Workers: workers, Queue: p.queue, Table: b.table, Snapshots: &b.snapshots, Notices: b.notices, Seed: 2,
		Gathering: b.gathering,
	})
	return p
}

// NextHop implements Routes: clients are behind the router, real servers on their own link.
func (b *bed) NextHop(dst netip.Addr) (HopKey, bool) {
	if dst.Is4() && dst.As4()[0] == 10 || dst.Is6() && dst.As16()[0] == 0xfd {
		return HopKey{Port: 1, VLAN: b.vlan, Addr: dst}, true
	}
	if clientNet.Contains(dst) || dst.Is6() {
		return HopKey{Port: 0, Addr: netip.MustParseAddr("192.0.2.254")}, true
	}
	return HopKey{}, false
}

func (b *bed) hop(dst netip.Addr, mac packet.MAC) HopID {
	key, ok := b.NextHop(dst)
	if !ok {
		return 0
	}
	if id := b.hopIDs[key]; id != 0 {
		return id
	}
	b.hopIDs[key] = HopID(len(b.hops))
	b.hops = append(b.hops, NewHop(key, mac, portMACs[key.Port], b.mtu))
	return b.hopIDs[key]
}

// apply makes services the running ones, as the director does.
func (b *bed) apply(services ...lvs.Service) {
	b.tb.Helper()
	next, err := lvs.Build(b.services, services)
	if err != nil {
		b.tb.Fatal(err)
	}
	b.publish(next)
}

// fail makes services the running ones; what they lack failed or was taken out, with that fate.
func (b *bed) fail(fate lvs.OnFailure, services ...lvs.Service) {
	b.tb.Helper()
	next, err := b.services.With(lvs.Changes{
		Set: services, Fate: func(*lvs.Service, *lvs.Destination) lvs.OnFailure { return fate },
	})
	if err != nil {
		b.tb.Fatal(err)
	}
	b.publish(next)
}

func (b *bed) publish(next *lvs.Snapshot) {
	b.tb.Helper()
	b.services = next
	b.hop(netip.MustParseAddr("192.0.2.1"), routerMAC)
	s := &Snapshot{
		Generation: next.Generation, Services: make([]Service, len(next.Services)), Routes: b,
		Dests: make([]Dest, len(next.Destinations)), VIPs: map[netip.Addr]bool{},
		Ports: []Port{{Name: "c0", MAC: portMACs[0], MTU: b.mtu}, {Name: "s0", MAC: portMACs[1], MTU: b.mtu}},
	}
	timeouts := conntrack.DefaultTimeouts()
	s.Timeouts, s.Settings, s.Replicated = &timeouts, lvs.DefaultSettings(), b.log != nil
	for id, svc := range next.Services {
		if svc == nil || next.Service(svc.Key) != svc {
			continue
		}
		s.Services[id] = Service{Config: svc, Scheduler: b.scheduler(svc), Persist: TickOf(svc.Persistence)}
		s.VIPs[svc.Key.Addr] = true
	}
	for id, d := range next.Destinations {
		if d != nil {
			s.Dests[id] = b.dest(d)
		}
	}
	s.Hops, s.HopIDs = slices.Clone(b.hops), maps.Clone(b.hopIDs)
	s.Locals = []netip.Addr{netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("fd00::10")}
	s.IndexServices()
	b.snapshots.Store(s)
}

func (b *bed) scheduler(svc *lvs.Service) *sched.Scheduler {
	sc := b.sched[svc.Key]
	if sc == nil {
		var err error
		if sc, err = sched.New(svc.Scheduler, svc.SchedFlags, sched.Options{}); err != nil {
			b.tb.Fatal(err)
		}
		b.sched[svc.Key] = sc
	}
	if err := sc.Update(svc.Destinations); err != nil {
		b.tb.Fatal(err)
	}
	return sc
}

func (b *bed) dest(d *lvs.Destination) Dest {
	source := netip.MustParseAddr("10.0.0.10")
	if d.Addr.Is6() {
		source = netip.MustParseAddr("fd00::10")
	}
	out := NewDest(d, source)
	out.Hop = b.hop(d.Addr, realMAC(int(d.Addr.AsSlice()[len(d.Addr.AsSlice())-1])))
	return out
}

// send puts frames in at port and returns what came out.
func (b *bed) send(port uint8, frames ...[]byte) []memqueue.Sent {
	b.tb.Helper()
	for _, f := range frames {
		if !b.queue.Inject(port, forPort(port, f)) {
			b.tb.Fatal("the frame pool is empty")
		}
	}
	for b.worker.RunOnce(b.now) > 0 {
	}
	return b.queue.Take()
}

// one sends one frame and expects n out.
func (b *bed) one(port uint8, frame []byte, n int) []memqueue.Sent {
	b.tb.Helper()
	out := b.send(port, frame)
	if len(out) != n {
		b.tb.Fatalf("%d frames came out, want %d; verdicts: %v", len(out), n, b.counted())
	}
	return out
}

// counted returns the non-zero counters by name.
func (b *bed) counted() map[string]uint64 {
	m := map[string]uint64{}
	for v := Verdict(0); int(v) < NumCounters; v++ {
		if n := b.worker.Stats().Verdict(v); n != 0 {
			m[v.String()] = n
		}
	}
	return m
}

// check proves that no frame was lost or invented.
func (b *bed) check() {
	b.tb.Helper()
	sum := uint64(b.worker.nHeld)
	for v := Verdict(0); int(v) < NumCounters; v++ {
		sum += b.worker.Stats().Verdict(v)
	}
	if got := b.worker.Stats().Received() + b.worker.Stats().Own(); got != sum {
		b.tb.Errorf("%d frames to handle, %d have a verdict: %v", got, sum, b.counted())
	}
	if n := b.queue.Lent(); n != b.worker.nHeld {
		b.tb.Errorf("the worker keeps %d frames, it holds %d back", n, b.worker.nHeld)
	}
}

func service(vip string, method lvs.Method, reals ...string) lvs.Service {
	return serviceOf(lvs.ProtoTCP, vip, method, reals...)
}

func serviceOf(proto uint8, vip string, method lvs.Method, reals ...string) lvs.Service {
	ap := netip.MustParseAddrPort(vip)
	s := lvs.Service{Key: lvs.ServiceKey{Addr: ap.Addr(), Port: ap.Port(), Proto: proto}, Scheduler: "rr"}
	for _, r := range reals {
		rp := netip.MustParseAddrPort(r)
		d := lvs.Destination{Addr: rp.Addr(), Port: rp.Port(), Method: method, Weight: 1}
		s.Destinations = append([]lvs.Destination{d}, s.Destinations...)
	}
	return s
}

// forPort addresses a frame that is for one of our ports to the one it arrives on.
func forPort(port uint8, frame []byte) []byte {
	if len(frame) < 6 || int(port) >= len(portMACs) {
		return frame
	}
	for _, mac := range portMACs {
		if [6]byte(frame[:6]) == mac {
			out := append([]byte(nil), frame...)
			copy(out, portMACs[port][:])
			return out
		}
	}
	return frame
}
