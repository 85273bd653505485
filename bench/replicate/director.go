// Package replicate measures how sessions get from one director to another: real tables, logs, sealed
// sockets on loopback, each director a process of its own, so that the CPU time of both sides is known.
package replicate

import (
	"net/netip"
	"sync/atomic"
	"time"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/ha/gossip"
	"ulvs/lvs"
	"ulvs/packet"
)

// Director is what of a director replicates: a table, one worker's log, the replica and the node.
type Director struct {
	Table   *conntrack.Table
	Worker  *conntrack.Handle
	Log     *conntrack.Log
	Replica *dataplane.Replica
	Node    *gossip.Node
	begin   time.Time
	load    *lvs.Load
	service uint64
	real    [2]uint64
}

// Options of Open.
type Options struct {
	Name  string
	Bits  uint8
	Peers []netip.AddrPort
	Lose  float64 // share of datagrams that are dropped on purpose
	Alone bool    // no node: the generator's own cost
}

// clusterKey is for measurements only.
const clusterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// start is far from time 0: what was seen before a director began lies in its past.
const start = 400 * 24 * time.Hour

// Clock returns the data plane's time.
func (d *Director) Clock() time.Duration { return time.Since(d.begin) + start }

// Open makes a director with one service of one real server.
func Open(o Options) (*Director, error) {
	d := &Director{begin: time.Now(), load: new(lvs.Load)}
	var err error
	if d.Table, err = conntrack.New(conntrack.Options{Bits: o.Bits, Workers: 2, HugePages: true}); err != nil {
		return nil, err
	}
	keys, err := gossip.ParseKeys(clusterKey)
	if err != nil {
		return nil, err
	}
	term, snapshots := new(atomic.Uint32), new(atomic.Pointer[dataplane.Snapshot])
	snapshots.Store(d.snapshot())
	wake := make(chan struct{}, 1)
	d.Worker = d.Table.Worker(0)
	d.Log = conntrack.NewLog(conntrack.LogOptions{
		Digest: keys.DigestKey(), Term: term, Epoch: time.Now().UnixNano() - int64(start), Wake: wake,
	})
	d.Replica = dataplane.NewReplica(dataplane.ReplicaOptions{
		Table: d.Table, Handle: 1, Snapshots: snapshots, Term: term, Digest: keys.DigestKey(),
	})
	if o.Alone {
		return d, nil
	}
	d.Node, err = gossip.Start(gossip.NodeOptions{
		Name: o.Name, Addr: netip.MustParseAddrPort("127.0.0.1:0"), Peers: o.Peers, Keys: keys, Lose: o.Lose,
		Table: table{d}, Logs: []*conntrack.Log{d.Log}, Wake: wake,
	})
	return d, err
}

type table struct{ d *Director }

func (t table) Begin()                                           { t.d.Replica.Begin(dataplane.TickOf(t.d.Clock())) }
func (t table) End()                                             { t.d.Replica.End() }
func (t table) Apply(r *conntrack.Record) conntrack.Applied      { return t.d.Replica.Apply(r) }
func (t table) Warm(rs []conntrack.Record)                       { t.d.Replica.Warm(rs) }
func (t table) Gone(rs []conntrack.Record)                       { t.d.Replica.Gone(rs) }
func (t table) Known(k *conntrack.Key) bool                      { return t.d.Replica.Known(k) }
func (t table) Reap(k *conntrack.Key, since conntrack.Tick) bool { return t.d.Replica.Reap(k, since) }

func (t table) Scan(at uint64, n int, fn func(r *conntrack.Record, own bool)) uint64 {
	return t.d.Replica.Scan(at, n, fn)
}

func (d *Director) snapshot() *dataplane.Snapshot {
	key := lvs.ServiceKey{Addr: netip.MustParseAddr("198.18.0.100"), Port: 80, Proto: lvs.ProtoTCP}
	d.service = key.Identity()
	dest := lvs.Destination{ID: 1, Service: 1, Addr: netip.MustParseAddr("10.0.0.21"), Port: 80, Load: d.load, Weight: 1}
	timeouts := conntrack.DefaultTimeouts()
	s := &dataplane.Snapshot{
		Services: make([]dataplane.Service, 2), Dests: make([]dataplane.Dest, 2), Timeouts: &timeouts, Replicated: true,
	}
	s.Services[1].Config = &lvs.Service{ID: 1, Key: key, Scheduler: "rr"}
	s.Dests[1] = dataplane.NewDest(&dest, netip.Addr{})
	d.real = s.Dests[1].Addr
	s.IndexServices()
	return s
}

// spec is session n.
func (d *Director) spec(n uint64) conntrack.Spec {
	vip := uint64(packet.WireV4(netip.MustParseAddr("198.18.0.100")))
	return conntrack.Spec{
		Key: conntrack.Key{
			Addr: [4]uint64{n>>12&0xffffffff | vip<<32},
			L4:   n&0xfff<<4 | uint64(packet.WirePort(80))<<16 | packet.ProtoTCP<<32,
		},
		DestAddr: d.real, DestPort: packet.WirePort(80), Dest: 1, Service: 1, State: conntrack.TCPEstablished,
		Timeout: 900 * conntrack.TicksPerSecond,
	}
}

// Begin makes session n, as a worker does when it is established, and logs it; false if the log has no room.
func (d *Director) Begin(n uint64) bool {
	s := d.spec(n)
	clock := d.Clock()
	now := dataplane.TickOf(clock)
	s.Version = d.Log.FirstVersion(clock)
	ref, result := d.Worker.Insert(&s, now)
	if result != conntrack.Inserted {
		return false
	}
	d.load.Bind(true)
	r := d.Log.Next()
	if r == nil {
		d.Log.Drop(&s.Key)
		return false
	}
	d.Table.Entry(ref).Describe(r, now)
	r.Service = d.service
	return true
}

// End ends session n likewise.
func (d *Director) End(n uint64) bool {
	s := d.spec(n)
	ref := d.Worker.FindKey(&s.Key)
	if ref == 0 || !d.Worker.Delete(ref) {
		return false
	}
	d.load.Unbind(true)
	r := d.Log.Next()
	if r == nil {
		d.Log.Drop(&s.Key)
		return false
	}
	d.Table.Entry(ref).DescribeGone(r, d.Worker.GoneVersion().Next(0), dataplane.TickOf(d.Clock()))
	r.Service = d.service
	return true
}

// Sum returns the number of shared sessions and a sum of all that must be equal on two directors.
func (d *Director) Sum() (sessions int, sum uint64) {
	digest := &conntrack.Digest{Key: conntrack.DigestKey{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 1}}
	count := func() {
		for at := uint64(0); ; {
			at = d.Replica.Scan(at, 1<<16, func(r *conntrack.Record, _ bool) {
				digest.Add(r)
				sessions++
			})
			if at == 0 {
				return
			}
		}
	}
	if d.Node != nil {
		d.Node.Round(count)
	} else {
		d.Replica.Begin(dataplane.TickOf(d.Clock()))
		count()
		d.Replica.End()
	}
	for i := range conntrack.DigestSlots {
		sum = sum*31 + digest.Slot(i)
	}
	return sessions, sum
}

// Close gives everything back.
func (d *Director) Close() {
	if d.Node != nil {
		_ = d.Node.Close()
	}
	_ = d.Table.Close()
}
