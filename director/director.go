// Package director is the only assembler: it turns a configuration into running
// workers and keeps them supplied with snapshots.
//
// It owns the order in which things start and stop, the loop that follows the
// kernel's links, routes and neighbours, and the answers to the control socket. It
// does not forward (dataplane does), parse (config does) or decide who holds a VIP.
package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ulvs/config"
	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/events"
	"ulvs/health"
	"ulvs/internal/sdnotify"
	"ulvs/route"
	"ulvs/sandbox"
	"ulvs/tuning"
	"ulvs/userstack"
)

// Options are what Run needs.
type Options struct {
	Config     *config.Config
	ConfigPath string
	Log        *slog.Logger
	Version    string
	// Load reads the configuration anew, with the same checks as at the start. Nil: Reload refuses.
	Load func() (*config.Config, error)
	// Reloads asks for a Reload with every value that it delivers. May be nil.
	Reloads <-chan struct{}
	// Manager is told when the director serves, lives and ends. Nil: there is none.
	Manager *sdnotify.Notifier
	// Inherited are the descriptors that the manager kept for this process, by name.
	Inherited map[string][]*os.File
	// Keeper is the command that keeps sessions where no manager does ([restart]), without its socket. Empty: none.
	Keeper []string
	// Confine takes privileges from the process that are needed no more once it forwards, and returns which; before is
	// what the process that this one goes on for had let go. Nil: they stay.
	Confine func(before sandbox.Limits) sandbox.Limits
	// Self is the command that runs this very director, for an upgrade. Empty: there is none.
	Self []string
	// Upgrades asks for an Upgrade with every value that it delivers. May be nil.
	Upgrades <-chan struct{}
	// Handover is the channel to the process that this one goes on for. Nil: it starts on its own.
	Handover *os.File
}

// ratePeriod is IPVS's: the estimator's formula is made for it.
const ratePeriod = 2 * time.Second

// noticeQueue bounds what workers ask at once; what does not fit is asked again.
const noticeQueue = 1024

// director is one running node.
type director struct {
	opt     Options
	log     *slog.Logger
	started time.Time

	*Node
	journal  *events.Journal // also the Node's
	sight    *sight
	checks   *checks
	stack    *userstack.Stack
	path     *pathDialer
	table    *conntrack.Table
	memory   *memory
	ahead    time.Duration // of the data plane's time when the director started
	routes   *route.Watcher
	steering *afxdp.Steering
	notices  chan dataplane.Notice
	failures chan error // a worker's queue failed
	workers  []*worker

	gathering *dataplane.Reassembly
	changed   chan struct{} // services may be others: the loop brings the kernel up to date
	touched   chan struct{} // conditions of real servers are to be published
	expire    chan struct{} // sessions of failed real servers are to end
	reloading sync.Mutex    // one reload at a time
	drops     dataplane.PacketDrops
	captures  captures

	ioMu    sync.RWMutex // guards what follows: the loop writes, the control socket reads
	network *kernelNetwork
	attach  []*afxdp.Attachment
	copies  bool // zero-copy failed its test
	added   []addedVIP

	forwarding int64 // boot time at which workers began

	replication *replication // nil without [sync]
	kernels     *kernelSync
	takeover    atomic.Pointer[takeover] // none without [[vrrp]]

	server    *control.Server
	answered  chan struct{}                  // closed when who asked for the upgrade has its answer
	successor *successor                     // nil: this process started on its own
	handovers chan *handing                  // new processes that are prepared
	upgrading sync.Mutex                     // one upgrade at a time
	limits    atomic.Pointer[sandbox.Limits] // let go by Confine; nil: nothing
	handing   atomic.Bool                    // workers stand still for one
	frozen    time.Duration                  // for so long
	handed    bool                           // another process goes on: nothing is undone

	missing []string // interfaces that the journal said are gone; the loop's
}

// Run runs a director until ctx ends. Before it returns everything it changed on the machine
// is undone. An error before forwarding began leaves nothing behind either.
func Run(ctx context.Context, opt Options) (err error) {
	d := &director{
		opt: opt, log: opt.Log, started: time.Now(), journal: events.New(events.Options{}),
		gathering: dataplane.NewReassembly(), notices: make(chan dataplane.Notice, noticeQueue),
		failures: make(chan error, 64), changed: make(chan struct{}, 1), touched: make(chan struct{}, 1),
		expire: make(chan struct{}, 1), handovers: make(chan *handing),
		answered: make(chan struct{}),
	}
	stopLog := d.startJournalLog()
	defer stopLog()
	d.openSight()
	defer d.closeNotifier()
	if d.successor, err = openSuccessor(opt.Handover); err != nil {
		return err
	}
	defer func() { d.successor.refuse(err) }()
	defer func() { err = errors.Join(err, d.close()) }()
	defer d.sight.close()
	d.path = newPathDialer()
	d.checks = newChecks(d.journal, d.log, health.SplitDialer{Path: d.path, Address: health.AddressDialer{}})
	d.server = control.NewServer(d, d.log)
	if d.successor != nil {
		if err := d.open(); err != nil {
			return err
		}
	}
	listener, sight, err := d.openAddresses()
	if err != nil {
		return err
	}
	defer listener.Close() // only if open fails: server closes it
	defer d.closeServer()
	d.sight.notifier.Set(sight.targets) // of what happens while it starts, too
	if d.successor == nil {
		if err := d.open(); err != nil {
			sight.cancel()
			return err
		}
	}
	d.applySight(sight)
	defer d.startChecks()()
	go func() {
		if err := d.server.Serve(listener); err != nil {
			d.log.Error("control socket failed", "err", err)
		}
	}()
	d.journal.Add(events.Event{Kind: events.Started, Count: int64(len(opt.Config.Services()))})
	d.log.Info("forwarding", "name", opt.Config.Node.Name, "workers", len(d.workers),
		"services", len(opt.Config.Services()), "interfaces", opt.Config.Node.Interfaces)
	d.confine()
	defer d.tellManager()()
	return d.loop(ctx)
}

// openAddresses listens on what operators and their tools talk to. A process that goes on for another one does so when
// that one has let go.
func (d *director) openAddresses() (listener net.Listener, sight *sightChange, err error) {
	err = d.successor.retried(func() (err error) {
		listener, err = control.Listen(d.opt.Config.Node.ControlSocket)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	err = d.successor.retried(func() (err error) { sight, err = d.prepareSight(d.opt.Config); return err })
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	return listener, sight, nil
}

// open starts everything, in the order in which each step needs the one before.
func (d *director) open() error {
	node := &d.opt.Config.Node
	var err error
	if d.routes, err = route.Open(route.Options{Log: d.log}); err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	if err := d.openSteering(); err != nil {
		return err
	}
	queues, err := queueCount(node, d.routes.State())
	if err != nil {
		return err
	}
	tuning.ShieldWorkers(queues)
	d.prepareSync(queues)
	if err := d.openTable(queues); err != nil {
		return err
	}
	d.kernels = newKernelSync(d, queues)
	if err := d.openStack(queues); err != nil {
		return err
	}
	if err := d.openNode(); err != nil {
		return err
	}
	if err := d.openTakeover(); err != nil {
		return err
	}
	if err := d.openSync(); err != nil {
		return err
	}
	d.kernels.open()
	d.makeWorkers(queues)
	if err := d.inherit(); err != nil {
		return err
	}
	d.recoverSessions()
	if err := d.beginIO(); err != nil {
		return err
	}
	if missing := missingPorts(node.Interfaces, d.network.ports); len(missing) > 0 {
		return fmt.Errorf("interface %s is gone", missing[0])
	}
	d.served()
	if err := d.succeed(); err != nil {
		return err
	}
	if err := d.successor.retried(d.startSync); err != nil {
		return err
	}
	if err := d.kernels.start(); err != nil {
		return err
	}
	d.startTakeover(true)
	return nil
}

// openSteering loads the program and attaches it; attaching it in place of another process's is left to adoptIO.
func (d *director) openSteering() (err error) {
	o := afxdp.SteeringOptions{ProbePorts: d.opt.Config.Node.ProbePorts}
	if s := d.successor; s != nil {
		d.steering, err = afxdp.AdoptSteering(s.hello.Steering, s.programs, o)
		return err
	}
	if d.steering, err = afxdp.LoadSteering(o); err != nil {
		return err
	}
	return d.attachFirst()
}

// beginIO begins to forward.
func (d *director) beginIO() error {
	if d.successor != nil {
		return d.adoptIO()
	}
	if err := d.addVIPs(); err != nil {
		return err
	}
	return d.startIO()
}

func (d *director) openNode() (err error) {
	state := d.routes.State()
	d.network = newKernelNetwork(present(d.opt.Config.Node.Interfaces, state), state)
	d.Node, err = NewNode(NodeOptions{
		Table: d.table, Network: d.network, Timeouts: d.opt.Config.Timeouts, Published: d.published, Journal: d.journal,
		KernelVIPs: d.opt.Config.Node.VIPMode == config.VIPNetlink, Probes: true, Later: func() { wakeUp(d.touched) },
		Replicated: d.replication != nil,
		Expire:     func() { wakeUp(d.expire) },
		Configured: d.checks.configured,
		Daemons:    d.kernels,
	})
	if err != nil {
		return err
	}
	d.checks.node = d.Node
	d.path.node, d.path.stack = d.Node, d.stack
	if _, err = d.Load(d.opt.Config); err != nil {
		return err
	}
	d.checks.follow() // what begins down is down before the first packet
	d.Flush()
	return nil
}

// published follows a new snapshot: what is steered to us, and workers that sleep although
// they may hold frames for it.
func (d *director) published(steering bool) {
	if steering && d.Node != nil && (d.successor == nil || d.successor.rules) {
		if err := d.steering.Set(d.rules()); err != nil {
			d.log.Error("cannot change what is steered to us", "err", err)
		}
		wakeUp(d.changed)
	}
	if d.replication != nil {
		wakeUp(d.replication.changed)
	}
	for _, w := range d.workers {
		w.wake()
	}
}

// runExpiry ends sessions beside the loop: looking at the whole table takes a while.
func (d *director) runExpiry(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.expire:
			if n := d.EndSessions(dataplane.TickOf(d.clock())); n > 0 {
				d.log.Info("sessions of failed real servers ended", "sessions", n)
			}
		}
	}
}

// wakeUp has the loop look at what c is about, once for all that come before it does.
func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // the loop has not seen the last one yet
	}
}

// close undoes open, whatever of it was done.
func (d *director) close() error {
	if d.handed {
		d.added = nil // the other process has them
	}
	errs := []error{d.takeover.Load().close(), d.closeSync(), d.kernels.close(), d.stopIO(), d.removeVIPs()}
	d.closeStack()
	if d.steering != nil {
		errs = append(errs, d.steering.Close())
	}
	if d.routes != nil {
		errs = append(errs, d.routes.Close())
	}
	d.memory.stopBeats()
	if d.table != nil {
		errs = append(errs, d.table.Close())
	}
	return errors.Join(append(errs, d.memory.leave())...)
}

// loop follows the kernel and the workers' wishes until ctx ends.
func (d *director) loop(ctx context.Context) error {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	rates := time.NewTicker(ratePeriod)
	defer rates.Stop()
	go d.runExpiry(ctx)
	for {
		select {
		case <-ctx.Done():
			d.journal.Add(events.Event{Kind: events.Stopping})
			return nil
		case c := <-d.routes.Changes():
			d.kernelChanged(c)
		case <-d.changed:
			d.followServices()
		case <-d.touched:
			d.Flush()
		case <-d.opt.Upgrades:
			go d.upgradeBySignal()
		case h := <-d.handovers:
			err := d.handOver(h)
			h.answer <- err
			if err == nil {
				return nil
			}
		case <-d.opt.Reloads:
			d.reloadBySignal()
		case n := <-d.notices:
			d.handle(n)
		case err := <-d.failures:
			d.journal.Add(events.Event{Kind: events.WorkersRestarted, Reason: err.Error()})
			d.restartIO()
		case <-retry.C:
			d.retry()
			d.Follow()
		case <-rates.C:
			d.TickRates()
		}
	}
}

// kernelChanged brings the workers up to date with links, routes and neighbours.
func (d *director) kernelChanged(c route.Change) {
	state := d.routes.State()
	if c.Links {
		d.takeover.Load().links(state)
	}
	ports := present(d.opt.Config.Node.Interfaces, state)
	if c.Links && d.portsMoved(ports) {
		d.restartIO()
		return
	}
	if c.Links {
		if err := d.followBonds(ports); err != nil {
			d.log.Warn("cannot follow a bond's members, starting anew", "err", err)
			d.restartIO()
			return
		}
	}
	d.setNetwork(newKernelNetwork(ports, state), c.Links || c.Routes)
}

func (d *director) setNetwork(network *kernelNetwork, all bool) {
	d.ioMu.Lock()
	d.network = network
	d.ioMu.Unlock()
	d.SetNetwork(network, all, false)
	if all {
		d.askHops()
	}
}
