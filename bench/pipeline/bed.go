package pipeline

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/lvs"
)

// Options of a Bed. Zero fields take the values in brackets.
type Options struct {
	Method    lvs.Method
	V6        bool
	Scheduler string // [rr]
	Services  int    // [1] sessions are spread over them in turn
	Servers   int    // of each service [1]
	Sessions  int    // resident, established [1]
	Hot       int    // frames are of this many of them [all]
	Workers   int    // [1]
	Still     bool   // the clock stands, so that no session is ever written for its timer
	SmallPage bool   // no huge pages
}

func (o Options) withDefaults() Options {
	for _, f := range []struct {
		v   *int
		def int
	}{{&o.Services, 1}, {&o.Servers, 1}, {&o.Sessions, 1}, {&o.Workers, 1}} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	if o.Hot == 0 {
		o.Hot = o.Sessions
	}
	if o.Scheduler == "" {
		o.Scheduler = "rr"
	}
	return o
}

// Limits of Options.
const (
	maxSessions = 64 << 20
	maxServices = 16 << 10
	maxServers  = 16 << 10
)

func (o Options) validate() error {
	switch {
	case o.Sessions < 1 || o.Sessions > maxSessions:
		return fmt.Errorf("sessions %d: want 1 to %d", o.Sessions, maxSessions)
	case o.Services < 1 || o.Services > maxServices:
		return fmt.Errorf("services %d: want 1 to %d", o.Services, maxServices)
	case o.Servers < 1 || o.Servers > maxServers || o.Servers*o.Services > lvs.MaxDestinations:
		return fmt.Errorf("servers %d: want 1 to %d, and %d of all services", o.Servers, maxServers, lvs.MaxDestinations)
	case o.Hot < 1 || o.Hot > o.Sessions:
		return fmt.Errorf("hot sessions %d: want 1 to %d", o.Hot, o.Sessions)
	case o.Method == lvs.MethodNAT && o.Servers != 1:
		return errors.New("nat wants one server for each service here: replies have to come from the right one")
	}
	return nil
}

// Bed is a director's data plane with its sessions established.
type Bed struct {
	opts    Options
	table   *conntrack.Table
	built   *lvs.Snapshot
	source  atomic.Pointer[dataplane.Snapshot]
	workers []*worker
	start   time.Time
	base    conntrack.Tick // the clock stood here at start
	fresh   uint64         // next session that was never there
}

// worker is one of the data plane's with its queue.
type worker struct {
	*dataplane.Worker
	queue *queue
}

// Times of the bed: established sessions never run out, half open ones do within freshTicks.
const (
	established = 300 * 24 * time.Hour
	freshTicks  = conntrack.Tick(130 * conntrack.TicksPerSecond)
	firstFresh  = 1 << 28 // sessions from here on are never resident
	firstTick   = 80
)

// New makes a bed; sessions are established by a handshake each.
func New(o Options) (*Bed, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	bits := uint8(10)
	for 1<<bits < o.Sessions && bits < 23 {
		bits++
	}
	table, err := conntrack.New(conntrack.Options{Bits: bits, Workers: o.Workers, HugePages: !o.SmallPage, Seed: 1})
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	b := &Bed{opts: o, table: table, base: firstTick, start: time.Now(), fresh: firstFresh}
	if err := b.store(o.services()); err != nil {
		return nil, errors.Join(err, table.Close())
	}
	snap := b.source.Load()
	for id := range o.Workers {
		q := newQueue(o, id)
		b.workers = append(b.workers, &worker{queue: q, Worker: dataplane.NewWorker(dataplane.Options{
			ID: id, Workers: o.Workers, Queue: q, Table: table, Snapshots: &b.source, Seed: uint64(id + 1),
			Destinations: len(snap.Dests) + len(snap.Services),
		})})
	}
	if err := b.fill(); err != nil {
		return nil, errors.Join(err, table.Close())
	}
	return b, nil
}

// store makes services the running ones.
func (b *Bed) store(services []lvs.Service) error {
	built, err := lvs.Build(b.built, services)
	if err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	snap, err := newSnapshot(b.opts, built)
	if err != nil {
		return err
	}
	b.built = built
	b.source.Store(snap)
	return nil
}

// Reload changes a weight of every service and has workers take that, as a director does for a file that changed
// everywhere. It may be called from another goroutine than the others, by one at a time.
func (b *Bed) Reload() error {
	services := b.opts.services()
	for i := range services {
		services[i].Destinations[0].Weight = int32(b.built.Generation%8 + 1)
	}
	return b.store(services)
}

// Batch forwards one batch in the first worker.
func (b *Bed) Batch() { b.workers[0].RunOnce(b.now()) }

// Close gives the memory back.
func (b *Bed) Close() error { return b.table.Close() }

// Table returns the connection table's state.
func (b *Bed) Table() conntrack.Stats { return b.table.Stats() }

// now is the data plane's time.
func (b *Bed) now() conntrack.Tick {
	if b.opts.Still {
		return b.base
	}
	return b.base + dataplane.TickOf(time.Since(b.start))
}

// fill establishes the resident sessions, through the first worker.
func (b *Bed) fill() error {
	w := b.workers[0]
	const chunk = 1 << 16
	for first := uint64(0); first < uint64(b.opts.Sessions); first += chunk {
		last := min(first+chunk, uint64(b.opts.Sessions))
		sides := []side{syn, ack}
		if b.opts.Method == lvs.MethodNAT {
			sides = []side{syn, synAck, ack}
		}
		for _, s := range sides {
			w.queue.play(s, first, last)
			for w.RunOnce(b.now()) > 0 {
			}
		}
	}
	for _, x := range b.workers {
		x.queue.drawHot()
	}
	if n := b.table.Stats().Conns; n != b.opts.Sessions {
		return fmt.Errorf("pipeline: %d sessions are in the table, want %d: %v", n, b.opts.Sessions, b.Verdicts())
	}
	return nil
}

// Verdicts returns what became of all frames so far.
func (b *Bed) Verdicts() map[string]uint64 {
	counts := map[string]uint64{}
	for _, w := range b.workers {
		for v := range dataplane.NumCounters {
			if n := w.Stats().Verdict(dataplane.Verdict(v)); n > 0 {
				counts[dataplane.Verdict(v).String()] += n
			}
		}
	}
	return counts
}

// forwarded counts the frames that reached a real server or a client.
func (w *worker) forwarded() (n uint64) {
	for _, v := range []dataplane.Verdict{dataplane.TxDR, dataplane.TxNAT, dataplane.TxNATReply, dataplane.TxTUN} {
		n += w.Stats().Verdict(v)
	}
	return n
}

// Hits forwards n frames of resident sessions, rounded up to batches, in each worker at once. NAT's are half
// requests and half replies. The error tells of frames that were not forwarded.
func (b *Bed) Hits(n int) error {
	return b.each(func(w *worker) error { return b.forward(w, n) })
}

// New starts n sessions with a SYN each, rounded up to batches. Forget removes them.
func (b *Bed) New(n int) error {
	first := b.fresh
	b.fresh += uint64(b.opts.Workers * n)
	return b.each(func(w *worker) error {
		mine := first + uint64(w.queue.id*n)
		w.queue.play(syn, mine, mine+uint64(n))
		defer w.queue.drawHot()
		return b.forward(w, n)
	})
}

func (b *Bed) forward(w *worker, n int) error {
	lost := w.Stats().Received() - w.forwarded()
	for done := 0; done < n; {
		done += w.RunOnce(b.now())
	}
	if lost = w.Stats().Received() - w.forwarded() - lost; lost > 0 {
		return fmt.Errorf("pipeline: %d of %d frames were not forwarded: %v", lost, n, b.Verdicts())
	}
	return nil
}

// each runs fn for every worker, in parallel if there are several.
func (b *Bed) each(fn func(*worker) error) error {
	if len(b.workers) == 1 {
		return fn(b.workers[0])
	}
	var wg sync.WaitGroup
	errs := make([]error, len(b.workers))
	for i, w := range b.workers {
		wg.Go(func() { errs[i] = fn(w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Forget removes what New started: its time runs out.
func (b *Bed) Forget() error {
	b.base += freshTicks
	b.fresh = firstFresh
	w := b.workers[0]
	w.Sweep(b.now())
	for range 8 { // boundaries after which every worker has let go of what was removed
		for _, x := range b.workers {
			x.queue.play(none, 0, 0)
			x.RunOnce(b.now())
			x.queue.drawHot()
		}
	}
	if n := b.table.Stats().Conns; n != b.opts.Sessions {
		return fmt.Errorf("pipeline: %d sessions are left, want %d", n, b.opts.Sessions)
	}
	return nil
}

// Generate makes n frames and does nothing with them: what the generator costs.
func (b *Bed) Generate(n int) error {
	q := b.workers[0].queue
	for done := 0; done < n; {
		done += q.Recv(q.scratch[:])
	}
	return nil
}
