package director

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/events"
	"ulvs/lvs"
	"ulvs/sched"
)

// Network is what a Node knows of links, routes and neighbours at one moment. It is
// immutable.
type Network interface {
	// NextHop returns the neighbour that packets for dst go to, and the address that the kernel
	// would send them from; false without a route through a port of ours.
	NextHop(dst netip.Addr) (key dataplane.HopKey, source netip.Addr, ok bool)
	// Hop returns what is known of a neighbour.
	Hop(key dataplane.HopKey) dataplane.Hop
	// Locals returns the host's own addresses.
	Locals() []netip.Addr
	// Ports returns the interfaces that workers serve.
	Ports() []dataplane.Port
}

// NodeOptions are what a Node is made of.
type NodeOptions struct {
	Table    *conntrack.Table
	Network  Network
	Timeouts config.Timeouts // zero: the kernel's
	// KernelVIPs leaves ARP, echo and closed ports of VIPs to the kernel (vip_mode netlink).
	KernelVIPs bool
	// Replicated says that peers are told of sessions.
	Replicated bool
	// Probes has answers to checks down the real path steered here.
	Probes bool
	// Daemons are started and stopped by edits. Nil: they are a list and nothing else.
	Daemons Daemons
	// Addresses are answered for besides the services'.
	Addresses []netip.Addr
	// Journal hears of edits. May be nil.
	Journal *events.Journal
	// Published is called after each new snapshot with the Node locked: it must not call
	// back. steering tells whether what is to be steered here may have changed, or next hops are new. May
	// be nil.
	Published func(steering bool)
	// Later is called with the Node locked when something is to be published soon: have somebody call Flush.
	// Nil: it is published at once.
	Later func()
	// Expire is called with the Node locked when sessions are to end: have somebody call EndSessions. May be nil.
	Expire func()
	// Configured is called with the Node locked when services are configured in another way: these, or, with
	// none, what the file says of their health, or which VIPs are held here. It must not call back. May be nil.
	Configured func(keys []lvs.ServiceKey)
	// Now is the clock of slow starts. Nil: the system's.
	Now func() time.Time
}

// Node is a director without a machine under it: services and their schedulers, next hops, and
// the snapshots made of them. A running director puts the kernel's routes and real
// queues around one, a replay a recording's.
type Node struct {
	opt       NodeOptions
	journal   *events.Journal
	snapshots atomic.Pointer[dataplane.Snapshot]

	mu         sync.RWMutex
	network    Network
	own        ownership
	macs       virtualMACs
	settling   bool          // peers may be about to tell of sessions
	services   []lvs.Service // as configured and edited; Destinations newest first
	care       []config.Care
	conditions map[lvs.ServiceKey]*serviceCondition // what is laid over services
	dirty      map[lvs.ServiceKey]bool              // their conditions changed since the last snapshot
	rising     bool                                 // slow starts are going on
	steer      bool                                 // what is steered here is to be looked at with the next snapshot
	draining   bool                                 // real servers are being drained
	returns    uint64
	lastAt     atomic.Int64        // where in services something was last looked for; readers move it, too
	over       map[lvs.DestID]bool // their sessions are to end
	byHand     bool                // an edit is being made that a kernel would make
	built      *lvs.Snapshot
	schedulers map[lvs.ServiceKey]*sched.Scheduler
	hops       *hopTable
	timeouts   conntrack.Timeouts
	setSeconds [3]int // what ipvsadm --set shows: tcp, tcpfin, udp
	settings   lvs.Settings
	marks      []dataplane.MarkRule
	daemons    []lvs.SyncDaemon
	generation uint64
	epoch      uint16
	counters   counters
	trash      trash

	fileMarks []config.Mark
	loaded    config.State // what the file said when it was last read or written
	version   uint64       // of what loaded or running state may depend on
	compared  comparison
}

// NewNode makes a Node without services and publishes its first snapshot.
func NewNode(o NodeOptions) (*Node, error) {
	n := &Node{
		opt: o, journal: o.Journal, network: o.Network,
		schedulers: map[lvs.ServiceKey]*sched.Scheduler{}, hops: newHopTable(),
		conditions: map[lvs.ServiceKey]*serviceCondition{}, dirty: map[lvs.ServiceKey]bool{},
		timeouts: conntrack.DefaultTimeouts().With(o.Timeouts.TCP, o.Timeouts.TCPFin, o.Timeouts.UDP),
		settings: lvs.DefaultSettings(),
	}
	for i, s := range []conntrack.State{conntrack.TCPEstablished, conntrack.TCPFinWait, conntrack.UDPNormal} {
		n.setSeconds[i] = int(n.timeouts.Of(s) / conntrack.TicksPerSecond)
	}
	if n.opt.Now == nil {
		n.opt.Now = time.Now
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loaded = n.state()
	var err error
	n.built, err = lvs.Build(nil, nil)
	n.publish()
	return n, err
}

// Snapshots returns where the current snapshot is found. Workers read it.
func (n *Node) Snapshots() *atomic.Pointer[dataplane.Snapshot] { return &n.snapshots }

// Serve tells the node of a worker, whose counters become part of its own. Call it before the
// worker runs.
func (n *Node) Serve(w *dataplane.Worker) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counters.workers = append(n.counters.workers, w.Stats())
}

// Replace makes services the running ones. Counters, scheduler positions and sessions of what
// stays are kept. On error nothing has changed.
func (n *Node) Replace(services []lvs.Service) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.replace(services)
}

// SetNetwork brings the snapshot up to date with links, routes and neighbours. all is false if
// only neighbours changed; renumbered is true if ports were numbered anew.
func (n *Node) SetNetwork(network Network, all, renumbered bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.network = network
	if renumbered {
		n.hops = newHopTable()
	}
	if all || renumbered {
		n.publish()
		return
	}
	n.publishHops()
}

// SetMarks replaces the rules that give packets a firewall mark.
func (n *Node) SetMarks(rules []dataplane.MarkRule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.marks = rules
	n.publish()
}

// addHop gives a next hop a number; false if there are too many.
func (n *Node) addHop(key dataplane.HopKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hops.id(key) != 0
}

// AddHop gives a next hop that a worker asked for a number and publishes it; false if there are too many.
func (n *Node) AddHop(key dataplane.HopKey) bool {
	ok := n.addHop(key)
	n.refresh()
	return ok
}

// refresh publishes the hops as they are now.
func (n *Node) refresh() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.publishHops()
}

// publish assembles everything anew.
func (n *Node) publish() {
	n.epoch++
	n.store(n.snapshot(), true)
}

// publishHops publishes the snapshot with other hops and nothing else changed.
func (n *Node) publishHops() {
	s := *n.snapshots.Load()
	s.Hops, s.HopIDs = n.hops.render(n.network)
	n.store(&s, false)
}

// publishSettings publishes the snapshot with other timeouts and settings and nothing else changed.
func (n *Node) publishSettings() {
	s := *n.snapshots.Load()
	timeouts := n.timeouts
	s.Timeouts, s.Settings = &timeouts, n.settings
	n.version++
	n.store(&s, false)
}

// store makes s the snapshot that workers read next.
func (n *Node) store(s *dataplane.Snapshot, steering bool) {
	n.generation++
	s.Generation = n.generation
	n.snapshots.Store(s)
	if n.opt.Published != nil {
		n.opt.Published(steering)
	}
}
