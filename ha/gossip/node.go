package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"ulvs/conntrack"
)

// Table is a Store that is used in rounds: between Begin and End what the store hands out stays.
type Table interface {
	Store
	Begin()
	End()
}

// NoticeKind says what a Node noticed.
type NoticeKind uint8

// Notices.
const (
	NoticeUp       NoticeKind = iota // Peer is there
	NoticeDown                       // Peer is gone
	NoticeSynced                     // all Count sessions of Peer are here
	NoticeLost                       // Count datagrams of Peer are lost for good; digests repair
	NoticeLag                        // Peer is behind by more than a tenth of a second, Count milliseconds
	NoticeCaughtUp                   // Peer is behind no more
	NoticeDropped                    // workers had no room for Count records; they are sent again
	NoticeConflict                   // another director has the name Peer
)

// Notice is something that an operator or the takeover should know.
type Notice struct {
	Kind  NoticeKind
	Peer  string
	Count int64
}

// NodeOptions are what a Node is made of.
type NodeOptions struct {
	Name   string
	Addr   netip.AddrPort   // of the sync interface
	Peers  []netip.AddrPort // where to look for others
	Keys   Keys
	Table  Table
	Logs   []*conntrack.Log // of the workers
	Wake   <-chan struct{}  // that the logs were told to wake us by
	Gossip bool             // sessions as memberlist's user messages, not in the lane
	Meta   uint64           // told to peers: generation of the configuration
	Log    *slog.Logger
	Notify func(Notice)                       // must not wait; may be nil
	Heard  func(from, topic string, b []byte) // a broadcast or a message of a peer; must not wait; may be nil
	// Told is shown what workers wrote, before peers are. It runs on the node's loop; the records are borrowed. May be
	// nil.
	Told    func(records []conntrack.Record)
	Timings Timings
	// Lose drops this share of the datagrams sent, for tests of repair.
	Lose float64
}

// Timings of failure detection. The zero value is the default: a death is noticed after half a second.
type Timings struct {
	Probe, Timeout, Gossip time.Duration
}

func (t *Timings) normalize() {
	if t.Probe == 0 {
		*t = Timings{100 * time.Millisecond, 50 * time.Millisecond, 20 * time.Millisecond}
	}
}

const (
	inboxSlabs  = 8192 // datagrams of the lane that wait for the loop
	roundMax    = 256  // datagrams and records/35 that one round takes
	tickBusy    = time.Millisecond
	tickIdle    = 20 * time.Millisecond
	busyFor     = 250 * time.Millisecond // after the last thing that happened
	rejoinEvery = 2 * time.Second
	watchEvery  = 100 * time.Millisecond
	leaveWait   = 300 * time.Millisecond
	streamWait  = 2 * time.Second
)

// Node is a director among others: Core's hands. It has one goroutine that owns the Core.
type Node struct {
	opt       NodeOptions
	id        NodeID
	epoch     Epoch
	core      *Core
	transport *Transport
	ml        *memberlist.Memberlist
	delegate  *delegate

	begin    time.Time
	inbox    chan *slab
	free     chan *slab
	events   chan nodeEvent
	asks     chan func()
	stop     chan struct{}
	done     chan struct{}
	workers  sync.WaitGroup
	sentFail atomic.Uint64

	// the loop's
	peers   map[NodeID]*nodePeer
	seeds   atomic.Pointer[[]netip.AddrPort] // NodeOptions.Peers, or what SetPeers said
	active  time.Time
	watched time.Time
	dropped uint64
	dirty   conntrack.LeafSet
	random  uint64
}

type nodePeer struct {
	node    *memberlist.Node
	addr    netip.AddrPort
	lagging bool

	generation uint64
}

// slab is a datagram of the lane on its way to the loop.
type slab struct {
	from NodeID
	n    int
	buf  [slabSize]byte
}

// nodeEvent is what another goroutine tells the loop.
type nodeEvent struct {
	kind EventKind
	id   NodeID
	meta meta
	node *memberlist.Node
	data []byte
}

// Start opens the sockets, joins whoever is there, and goes on in the background until Close.
func Start(o NodeOptions) (*Node, error) {
	o.Timings.normalize()
	n := &Node{
		opt: o, id: IDOf(o.Name), epoch: NewEpoch(), begin: time.Now(), peers: map[NodeID]*nodePeer{},
		inbox: make(chan *slab, inboxSlabs), free: make(chan *slab, inboxSlabs), events: make(chan nodeEvent, 64),
		asks: make(chan func()), stop: make(chan struct{}), done: make(chan struct{}),
		random: uint64(time.Now().UnixNano()) | 1,
	}
	payload := maxPayload
	if o.Gossip {
		payload -= gossipOverhead
	}
	n.seeds.Store(&o.Peers)
	n.core = NewCore(CoreOptions{
		ID: n.id, Epoch: n.epoch, Lanes: len(o.Logs) + 1, Store: o.Table, Digest: o.Keys.DigestKey(), Payload: payload,
	})
	n.delegate = newDelegate(n)
	var err error
	n.transport, err = NewTransport(TransportOptions{
		Addr: o.Addr, Keys: o.Keys, Node: n.id, Epoch: n.epoch, Lane: n.receive, Challenge: n.configured,
	})
	if err != nil {
		return nil, err
	}
	if n.ml, err = memberlist.Create(n.config()); err != nil {
		return nil, errors.Join(fmt.Errorf("sync: %w", err), n.transport.Shutdown())
	}
	n.delegate.ready(n.ml)
	go n.run()
	n.workers.Go(n.runJoin)
	return n, nil
}

// configured reports whether an address is one that peers are configured at, or have.
func (n *Node) configured(a netip.Addr) bool {
	return slices.ContainsFunc(*n.seeds.Load(), func(p netip.AddrPort) bool { return p.Addr() == a })
}

// SetPeers changes where other directors are looked for. Those that are there stay as long as they are.
func (n *Node) SetPeers(peers []netip.AddrPort) { n.seeds.Store(&peers) }

// Addr returns where this director listens.
func (n *Node) Addr() netip.AddrPort { return n.transport.Addr() }

// Rejects returns the counters of what was refused.
func (n *Node) Rejects() *Rejects { return n.transport.Rejects() }

// now is the core's time.
func (n *Node) now() time.Duration { return time.Since(n.begin) }

// receive takes a datagram of the lane from the transport.
func (n *Node) receive(from NodeID, _ netip.AddrPort, payload []byte) {
	var s *slab
	select {
	case s = <-n.free:
	default:
		s = new(slab)
	}
	s.from, s.n = from, copy(s.buf[:], payload)
	select {
	case n.inbox <- s:
	default:
		n.transport.reject(RejectLaneFull)
	}
}

// run is the loop that owns the core.
func (n *Node) run() {
	defer close(n.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(n.nap())
		var first *slab
		select {
		case <-n.stop:
			return
		case first = <-n.inbox:
		case ev := <-n.events:
			n.round(func() { n.happen(&ev) })
			continue
		case f := <-n.asks:
			n.round(f)
			continue
		case <-n.opt.Wake:
			n.active = time.Now()
		case <-timer.C:
		}
		n.round(func() { n.work(first) })
	}
}

// nap is how long the loop may sleep; short naps follow whatever happened for a while.
func (n *Node) nap() time.Duration {
	if time.Since(n.active) < busyFor {
		return tickBusy
	}
	for _, l := range n.opt.Logs {
		if !l.Sleep() {
			return 0
		}
	}
	return tickIdle
}

// round runs f in a round of the table.
func (n *Node) round(f func()) {
	n.opt.Table.Begin()
	f()
	n.opt.Table.End()
}

// work takes what waits: datagrams, records, time.
func (n *Node) work(first *slab) {
	for i := 0; first != nil; i++ {
		n.active = time.Now()
		n.step(&Event{Kind: EventDatagram, Peer: first.from, Data: first.buf[:first.n]})
		select {
		case n.free <- first:
		default:
		}
		if first = nil; i < roundMax {
			select {
			case first = <-n.inbox:
			default:
			}
		}
	}
	n.readLogs()
	n.step(&Event{Kind: EventTick})
	n.watch()
}

// readLogs tells peers what workers wrote.
func (n *Node) readLogs() {
	for lane, l := range n.opt.Logs {
		for range roundMax / 8 {
			if n.core.Congested(lane) {
				n.active = time.Now()
				break
			}
			records := l.Read(4 * recordsMax)
			if len(records) == 0 {
				break
			}
			n.active = time.Now()
			if n.opt.Told != nil {
				n.opt.Told(records)
			}
			n.step(&Event{Kind: EventRecords, Lane: lane, Records: records})
			l.Release(len(records))
		}
	}
}

// step gives the core an event and does what it wants.
func (n *Node) step(ev *Event) {
	n.act(n.core.Step(n.now(), ev))
}

func (n *Node) act(actions []Action) {
	for i := range actions {
		a := &actions[i]
		switch a.Kind {
		case ActionDatagram:
			n.send(a)
		case ActionMessage:
			n.deliver(a)
		case ActionReject:
			n.transport.reject(RejectRecord)
		case ActionSynced:
			n.notify(NoticeSynced, n.name(a.Peer), int64(a.Count))
		case ActionLost:
			n.notify(NoticeLost, n.name(a.Peer), int64(a.Count))
		}
	}
}

func (n *Node) send(a *Action) {
	if a.Peer != 0 {
		if p := n.peers[a.Peer]; p != nil {
			n.sendTo(p, a.Data)
		}
		return
	}
	for _, p := range n.peers {
		n.sendTo(p, a.Data)
	}
}

func (n *Node) sendTo(p *nodePeer, b []byte) {
	if n.opt.Lose > 0 && n.lost() {
		return
	}
	var err error
	if n.opt.Gossip {
		err = n.ml.SendBestEffort(p.node, n.delegate.wrapLane(b))
	} else {
		err = n.transport.SendLane(b, p.addr)
	}
	if err != nil {
		n.sentFail.Add(1)
	}
}

// lost draws whether a datagram is dropped on purpose.
func (n *Node) lost() bool {
	n.random ^= n.random << 13
	n.random ^= n.random >> 7
	n.random ^= n.random << 17
	return float64(n.random>>11)/(1<<53) < n.opt.Lose
}

// deliver sends a message over a stream of its own; the core bounds how many are under way.
func (n *Node) deliver(a *Action) {
	p := n.peers[a.Peer]
	if p == nil {
		return
	}
	id, node, data := a.Peer, p.node, a.Data
	n.workers.Go(func() {
		if err := n.ml.SendReliable(node, data); err != nil {
			n.sentFail.Add(1)
		}
		n.tell(nodeEvent{kind: EventSent, id: id})
	})
}

// tell gives the loop an event, unless it has ended.
func (n *Node) tell(ev nodeEvent) {
	select {
	case n.events <- ev:
	case <-n.stop:
	}
}

// happen takes what another goroutine told.
func (n *Node) happen(ev *nodeEvent) {
	n.active = time.Now()
	switch ev.kind {
	case EventPeerUp:
		n.peerUp(ev)
	case EventPeerDown:
		if n.peers[ev.id] != nil {
			n.notify(NoticeDown, n.name(ev.id), 0)
			n.step(&Event{Kind: EventPeerDown, Peer: ev.id})
			delete(n.peers, ev.id)
		}
	case EventSent:
		n.step(&Event{Kind: EventSent, Peer: ev.id})
	case EventMessage:
		n.step(&Event{Kind: EventMessage, Data: ev.data})
	case EventDatagram:
		n.step(&Event{Kind: EventDatagram, Peer: ev.id, Data: ev.data})
	}
}

func (n *Node) peerUp(ev *nodeEvent) {
	addr, ok := netip.AddrFromSlice(ev.node.Addr)
	if !ok || ev.id == n.id {
		return
	}
	_, known := n.peers[ev.id]
	n.peers[ev.id] = &nodePeer{node: ev.node, addr: netip.AddrPortFrom(addr.Unmap(), ev.node.Port),
		generation: ev.meta.generation}
	if !known {
		n.notify(NoticeUp, ev.node.Name, 0)
	}
	if ev.meta.digest == n.opt.Keys.DigestID() {
		n.step(&Event{Kind: EventPeerUp, Peer: ev.id, Epoch: ev.meta.epoch})
	}
}

func (n *Node) name(id NodeID) string {
	if p := n.peers[id]; p != nil {
		return p.node.Name
	}
	return id.String()
}

func (n *Node) notify(kind NoticeKind, peer string, count int64) {
	if n.opt.Notify != nil {
		n.opt.Notify(Notice{kind, peer, count})
	}
}

// ask runs f in the loop, in a round of the table. false: the loop has ended.
func (n *Node) ask(f func()) bool {
	ran := make(chan struct{})
	select {
	case n.asks <- func() { f(); close(ran) }:
		<-ran
		return true
	case <-n.done:
		return false
	}
}

// Close leaves the others and gives everything back.
func (n *Node) Close() error {
	select {
	case <-n.stop:
		return nil
	default:
	}
	_ = n.ml.Leave(leaveWait) // who does not hear of it notices
	return n.Abandon()
}

// Abandon ends the node without a word, for another process that goes on under its name and address.
func (n *Node) Abandon() error {
	close(n.stop)
	<-n.done
	err := n.ml.Shutdown() // and the transport with it
	n.workers.Wait()
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}
