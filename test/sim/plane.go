package sim

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/dataplane/memqueue"
	"ulvs/ha"
	"ulvs/ha/gossip"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/sched"
)

// plane is what of a director forwards and replicates: pipeline, table, replica and core as they are. It lives until
// the director crashes, and a new one begins with nothing.
type plane struct {
	table     *conntrack.Table
	queue     *memqueue.Queue
	worker    *dataplane.Worker
	log       *conntrack.Log
	term      atomic.Uint32
	snapshots atomic.Pointer[dataplane.Snapshot]
	replica   *dataplane.Replica
	core      *gossip.Core
	box       *gossip.Box
	id        gossip.NodeID
	epoch     gossip.Epoch
	began     ha.Time
	active    ha.Time      // something happened
	linger    ha.Time      // it goes on forwarding until then
	known     map[int]int  // the boots of others that its core knows, by node
	told      []*session   // that began here and are not acknowledged yet
	kept      []sealed     // datagrams that were opened here, for the forger
	flush     *handingOver // nil: no handover is under way
}

// handingOver is a planned handover that waits until others have everything.
type handingOver struct {
	to    string
	until ha.Time
}

// planeStart is far from time 0: what was seen before a director began lies in its past.
const planeStart = 366 * 24 * time.Hour

// wallStart is the wall clock, Unix nanoseconds, when the world begins.
const wallStart = 1_000_000_000_000_000_000

const (
	services  = 2
	reals     = 3
	persist   = 10 * time.Second
	portPlain = 80
	portSaved = 443 // persistent
)

var (
	clusterKeys = mustKeys("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	foreignKeys = mustKeys("HxwdHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=")
	planeMACs   = []packet.MAC{{2, 0, 0, 0, 1, 1}, {2, 0, 0, 0, 1, 2}}
	routerMAC   = packet.MAC{2, 0, 0, 0, 0, 1}
)

func mustKeys(text string) gossip.Keys {
	k, err := gossip.ParseKeys(text)
	if err != nil {
		panic(err)
	}
	return k
}

func realAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(20 + i)}) }

// newPlane makes the data plane of a node that boots at time now, whose wall clock is off by so much.
func newPlane(w *World, n *Node, now ha.Time, wall time.Duration) *plane {
	p := &plane{
		id: gossip.IDOf(n.Name), began: now, known: map[int]int{}, queue: memqueue.New(4),
	}
	binary.BigEndian.PutUint64(p.epoch[:], w.rng.Uint64())
	p.box = gossip.NewBox(clusterKeys, p.id, p.epoch)
	var err error
	if p.table, err = conntrack.New(conntrack.Options{Bits: 8, Workers: 2, Heap: true, Seed: w.rng.Uint64()}); err != nil {
		panic(err)
	}
	digest := clusterKeys.DigestKey()
	p.log = conntrack.NewLog(conntrack.LogOptions{
		Size: 256, Digest: digest, Term: &p.term, Epoch: wallStart + int64(now+wall-planeStart),
	})
	p.publish()
	p.worker = dataplane.NewWorker(dataplane.Options{
		Workers: 2, Queue: p.queue, Table: p.table, Snapshots: &p.snapshots, Destinations: 2 + services*reals, Log: p.log,
		Seed: w.rng.Uint64(),
	})
	p.replica = dataplane.NewReplica(dataplane.ReplicaOptions{
		Table: p.table, Handle: 1, Snapshots: &p.snapshots, Term: &p.term, Digest: digest,
	})
	p.core = gossip.NewCore(gossip.CoreOptions{ID: p.id, Epoch: p.epoch, Lanes: 2, Store: p.replica, Digest: digest})
	return p
}

// clock is the data plane's.
func (p *plane) clock(now ha.Time) time.Duration { return now - p.began + planeStart }

func (p *plane) tick(now ha.Time) conntrack.Tick { return dataplane.TickOf(p.clock(now)) }

// NextHop implements dataplane.Routes.
func (p *plane) NextHop(dst netip.Addr) (dataplane.HopKey, bool) {
	if dst.As4()[0] == 10 {
		return dataplane.HopKey{Port: 1, Addr: dst}, true
	}
	return dataplane.HopKey{Port: 0, Addr: netip.AddrFrom4([4]byte{198, 18, 0, 254})}, true
}

// publish makes the snapshot that all directors have: one service without persistence and one with it.
func (p *plane) publish() {
	var list []lvs.Service
	for _, port := range []uint16{portPlain, portSaved} {
		s := lvs.Service{Key: lvs.ServiceKey{Addr: vip, Port: port, Proto: lvs.ProtoTCP}, Scheduler: "rr"}
		if port == portSaved {
			s.Persistence = persist
		}
		for i := range reals {
			s.Destinations = append(s.Destinations, lvs.Destination{Addr: realAddr(i), Port: port, Weight: 1})
		}
		list = append(list, s)
	}
	built, err := lvs.Build(nil, list)
	if err != nil {
		panic(err)
	}
	s := &dataplane.Snapshot{
		Generation: built.Generation, Services: make([]dataplane.Service, len(built.Services)), Routes: p,
		Dests: make([]dataplane.Dest, len(built.Destinations)), VIPs: map[netip.Addr]bool{vip: true}, Replicated: true,
		Ports: []dataplane.Port{{Name: "c0", MAC: planeMACs[0], MTU: 1500}, {Name: "s0", MAC: planeMACs[1], MTU: 1500}},
	}
	timeouts := conntrack.DefaultTimeouts()
	s.Timeouts, s.Settings = &timeouts, lvs.DefaultSettings()
	hops, ids := []dataplane.Hop{{}}, map[dataplane.HopKey]dataplane.HopID{}
	hop := func(dst netip.Addr, mac packet.MAC) dataplane.HopID {
		key, _ := p.NextHop(dst)
		if ids[key] == 0 {
			ids[key] = dataplane.HopID(len(hops))
			hops = append(hops, dataplane.NewHop(key, mac, planeMACs[key.Port], 1500))
		}
		return ids[key]
	}
	hop(netip.AddrFrom4([4]byte{198, 18, 0, 10}), routerMAC)
	for id, svc := range built.Services {
		if svc != nil {
			persist := dataplane.TickOf(svc.Persistence)
			s.Services[id] = dataplane.Service{Config: svc, Scheduler: scheduler(svc), Persist: persist}
		}
	}
	for id, d := range built.Destinations {
		if d != nil {
			s.Dests[id] = dataplane.NewDest(d, netip.AddrFrom4([4]byte{10, 0, 0, 10}))
			s.Dests[id].Hop = hop(d.Addr, packet.MAC{2, 0, 0, 0, 2, d.Addr.As4()[3]})
		}
	}
	s.Hops, s.HopIDs = slices.Clone(hops), maps.Clone(ids)
	s.Locals = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, 10})}
	s.IndexServices()
	p.snapshots.Store(s)
}

func scheduler(svc *lvs.Service) *sched.Scheduler {
	s, err := sched.New(svc.Scheduler, svc.SchedFlags, sched.Options{})
	if err == nil {
		err = s.Update(svc.Destinations)
	}
	if err != nil {
		panic(err)
	}
	return s
}

// forward has a frame of the client's arrive and returns the real server that it went to; false if to none.
func (p *plane) forward(now ha.Time, frame []byte) (real netip.Addr, ok bool) {
	p.queue.Inject(0, frame)
	for p.worker.RunOnce(p.tick(now)) > 0 {
	}
	for _, s := range p.queue.Take() {
		if s.Port == 1 {
			return netip.AddrFrom4([4]byte{10, 0, 0, s.Data[5]}), true
		}
	}
	return netip.Addr{}, false
}

// found is a session or template as a table has it.
type found struct {
	real     netip.Addr
	template bool
}

// sessions reads the table: sessions by client, templates by client with port 0, but for those that another one took
// the place of, and that no new session finds.
func (p *plane) sessions() map[netip.AddrPort]found {
	out := map[netip.AddrPort]found{}
	p.table.Walk(func(_ conntrack.Ref, _ *conntrack.Entry, i conntrack.Info) bool {
		if i.Flags&conntrack.FlagUnlinked == 0 {
			out[i.Client] = found{i.Dest.Addr(), i.Flags&conntrack.FlagTemplate != 0}
		}
		return true
	})
	return out
}

// templates are where the clients' templates point.
func (p *plane) templates() map[netip.Addr]netip.Addr {
	out := map[netip.Addr]netip.Addr{}
	for client, f := range p.sessions() {
		if f.template {
			out[client.Addr()] = f.real
		}
	}
	return out
}

// shared is what directors must agree on: what is told of each session.
func (p *plane) shared(now ha.Time) map[conntrack.Key]conntrack.Record {
	out := map[conntrack.Key]conntrack.Record{}
	p.round(now, func() {
		for at := uint64(0); ; {
			at = p.replica.Scan(at, 1024, func(r *conntrack.Record, _ bool) {
				out[r.Key] = conntrack.Record{Key: r.Key, DestAddr: r.DestAddr, DestPort: r.DestPort, Version: r.Version}
			})
			if at == 0 {
				return
			}
		}
	})
	return out
}

// round runs f in a round of the table.
func (p *plane) round(now ha.Time, f func()) {
	p.replica.Begin(p.tick(now))
	f()
	p.replica.End()
}
