package director

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/events"
	"ulvs/ha/gossip"
)

// replication shares this director's sessions with others: [sync].
type replication struct {
	d       *director
	conf    *config.Sync
	node    *gossip.Node
	replica *dataplane.Replica
	term    atomic.Uint32 // of the workers' logs
	logs    []*conntrack.Log
	wake    chan struct{}
	changed chan struct{} // services may be others
	stop    chan struct{}
	done    chan struct{}
	members atomic.Int32
	isReady atomic.Bool
	peers   atomic.Pointer[[]netip.AddrPort] // the others, as configured now
	rates   rateBook
	states  stateBook
	telling sync.WaitGroup
}

// syncClock is ahead of the workers' first second: what a peer saw before this director started lies in its past.
const syncClock = 366 * 24 * time.Hour

// replicaTable is the table as gossip.Core wants it.
type replicaTable struct {
	*dataplane.Replica
	clock func() time.Duration
}

var _ gossip.Table = replicaTable{}

// Begin implements gossip.Table.
func (t replicaTable) Begin() { t.Replica.Begin(dataplane.TickOf(t.clock())) }

// prepareSync makes what workers write to. It is called before they are made.
func (d *director) prepareSync(workers int) {
	if !d.opt.Config.Sync.On() {
		return
	}
	r := &replication{
		d: d, conf: &d.opt.Config.Sync, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	peers := r.conf.PeerAddrs()
	r.peers.Store(&peers)
	d.replication = r
	for range workers {
		r.logs = append(r.logs, nil)
	}
}

// openSync reads the key and makes the logs and the replica.
func (d *director) openSync() error {
	r := d.replication
	if r == nil {
		return nil
	}
	keys, err := r.keys()
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	epoch := time.Now().UnixNano() - int64(d.clock())
	for i := range r.logs {
		r.logs[i] = conntrack.NewLog(conntrack.LogOptions{
			Digest: keys.DigestKey(), Term: &r.term, Epoch: epoch, Wake: r.wake,
		})
	}
	r.replica = dataplane.NewReplica(dataplane.ReplicaOptions{
		Table: d.table, Handle: len(r.logs), Snapshots: d.Snapshots(), Term: &r.term, Digest: keys.DigestKey(),
	})
	return nil
}

// log is what worker i writes to; nil without [sync].
func (r *replication) log(i int) *conntrack.Log {
	if r == nil {
		return nil
	}
	return r.logs[i]
}

func (r *replication) keys() (gossip.Keys, error) {
	if r.conf.Insecure {
		return gossip.InsecureKeys(), nil
	}
	return gossip.LoadKeys(r.conf.KeyFile)
}

// startSync begins to talk to the others.
func (d *director) startSync() error {
	r := d.replication
	if r == nil {
		return nil
	}
	keys, err := r.keys()
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	addr, err := syncAddress(r.conf)
	if err != nil {
		return err
	}
	r.node, err = gossip.Start(gossip.NodeOptions{
		Name: d.opt.Config.Node.Name, Addr: netip.AddrPortFrom(addr, r.conf.Port), Peers: *r.peers.Load(), Keys: keys,
		Table: replicaTable{r.replica, d.clock}, Logs: r.logs, Wake: r.wake, Gossip: r.conf.Mode == config.SyncGossip,
		Log: d.log, Notify: r.notice, Heard: r.heard, Told: d.kernels.told,
	})
	if err != nil {
		return err
	}
	if keys.Insecure() {
		d.log.Warn("sync without a key: anybody on that network can make sessions up", "interface", r.conf.Interface)
	}
	go r.run()
	r.telling.Go(r.runState)
	return nil
}

// closeSync leaves the others.
func (d *director) closeSync() error {
	r := d.replication
	if r == nil || r.node == nil {
		return nil
	}
	close(r.stop)
	err := r.node.Close()
	<-r.done
	r.telling.Wait()
	return err
}

// syncAddress returns the address to listen on: the configured one if the interface has it, else its first.
func syncAddress(c *config.Sync) (netip.Addr, error) {
	link, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("sync: interface %s: %w", c.Interface, err)
	}
	addrs, err := link.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("sync: addresses of %s: %w", c.Interface, err)
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if addr := p.Addr().Unmap(); !c.Address.IsValid() || addr == c.Address {
			return addr, nil
		}
	}
	if c.Address.IsValid() {
		return netip.Addr{}, fmt.Errorf("sync: %s is not an address of %s", c.Address, c.Interface)
	}
	return netip.Addr{}, fmt.Errorf("sync: %s has no address", c.Interface)
}

// notice tells the journal and the takeover what happened to peers. It runs on the node's loop.
func (r *replication) notice(n gossip.Notice) {
	ev := events.Event{Instance: n.Peer, Count: n.Count}
	switch n.Kind {
	case gossip.NoticeUp:
		ev.Kind = events.PeerJoined
		r.members.Add(1)
		r.tellMembers("")
	case gossip.NoticeDown:
		ev.Kind = events.PeerLeft
		r.members.Add(-1)
		r.tellMembers(n.Peer)
	case gossip.NoticeSynced:
		ev.Kind = events.SyncReady
	case gossip.NoticeLost:
		ev.Kind, ev.Reason = events.SyncLag, "datagrams lost for good; digests repair what was in them"
	case gossip.NoticeLag:
		ev.Kind, ev.Reason = events.SyncLag, "the peer is behind by so many milliseconds"
	case gossip.NoticeCaughtUp:
		ev.Kind, ev.Reason = events.SyncReady, "caught up"
	case gossip.NoticeDropped:
		ev.Kind, ev.Reason = events.SyncLag, "workers are faster than replication; digests repair"
	case gossip.NoticeConflict:
		ev.Kind, ev.Reason = events.SyncLag, "another director has the same name: rename one"
	}
	r.d.journal.Add(ev)
}

// run follows what changes slowly: whether this director is ready, and services.
func (r *replication) run() {
	defer close(r.done)
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-r.changed:
			r.exceptions()
		case <-tick.C:
			r.rates.note(r.node)
			ready := r.ready()
			r.isReady.Store(ready)
			r.tellReady(ready) // always: a machine that stood still has forgotten it
		}
	}
}

// ready reports whether this director has all that the others have. Where none of them is there yet, they get their
// time to answer.
func (r *replication) ready() bool {
	alone := r.members.Load() == 0 && len(*r.peers.Load()) > 0 && time.Since(r.d.started) < aloneWait
	return !alone && r.node.Ready()
}

const aloneWait = 5 * time.Second

const (
	readyEvery = 100 * time.Millisecond
	// stateEvery is how often is looked whether the others are to be told of something.
	stateEvery = 2 * time.Second
)

// exceptions tells peers of sessions whose real server does not follow from their addresses any more.
func (r *replication) exceptions() {
	var records []conntrack.Record
	r.node.Round(func() {
		first := r.logs[0].FirstVersion(r.d.clock())
		r.replica.Exceptions(first, func(rec *conntrack.Record) { records = append(records, *rec) })
	})
	if len(records) > 0 {
		r.node.Share(records)
	}
}

// takes is told that this director became an owner. It does not wait.
func (r *replication) takes(term uint32) {
	if r != nil && r.node != nil {
		go r.took(term)
	}
}

// took stamps sessions with the term of a claim, and makes the templates that are missing, as the owner of VIPs.
func (r *replication) took(term uint32) {
	r.term.Store(term & 0xff)
	r.node.SetTerm(uint8(term))
	linked := 0
	r.node.Round(func() { linked = r.replica.Relink() })
	if linked > 0 {
		r.d.journal.Add(events.Event{Kind: events.TemplateRebuilt, Count: int64(linked)})
	}
}

// drain waits until the peers have every session, the one that asked among them; it gives up when a handover may wait
// no longer.
func (r *replication) drain(to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	return r.node.Drain(ctx, to)
}

const drainLimit = 2 * time.Second
