package route

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Limits and intervals.
const (
	// eventBuffer is the event socket's receive buffer in bytes: a burst of some 30 000
	// route changes fits; what does not is made good by a resync.
	eventBuffer = 8 << 20
	// minEvent is less than an event takes of the buffer.
	minEvent = 256
	// maxBatch is how many messages may pass before a State is published.
	maxBatch = 4096
	// quiet ends a batch: this long without an event.
	quiet = time.Millisecond
	// resyncGap is the least time between two dumps, so that a flood of events costs a bounded
	// part of a core (a dump of 100 000 routes takes a few hundred milliseconds).
	resyncGap = time.Second
	// DefaultRefresh is how often neighbours in use are looked at (Options.Refresh).
	DefaultRefresh = time.Second
)

// Options of Open. The zero value watches the caller's namespace and logs nothing.
type Options struct {
	NetNS   netns.NsHandle // watched; 0 or negative: the calling thread's. Borrowed until Close
	Log     *slog.Logger   // nil: no log
	Refresh time.Duration  // see DefaultRefresh; 0: the default

	eventBuffer int // bytes, for tests of overflow
}

// Watcher follows the kernel. Its methods may be called from any goroutine.
type Watcher struct {
	opt     Options
	events  atomic.Pointer[eventSocket]
	dumps   requester // used by Open and run only
	asks    requester // used by everybody: a long dump does not delay an Ask
	state   atomic.Pointer[State]
	changes chan Change
	resyncs atomic.Uint64
	limit   limiter
	used    atomic.Pointer[[]NeighKey]

	warned    bool      // of policy rules
	synced    time.Time // when the last dump ended
	refreshed time.Time
	refreshAt int // where the next Refresh round goes on

	closing   chan struct{}
	closeOnce sync.Once
	done      chan struct{}
}

// Open reads links, addresses, routes and neighbours and starts to follow them.
// It needs no privilege; Ask, Learn and Refresh need CAP_NET_ADMIN.
func Open(opt Options) (*Watcher, error) {
	w := &Watcher{opt: opt.withDefaults(), changes: make(chan Change, 1)}
	w.closing, w.done = make(chan struct{}), make(chan struct{})
	w.limit.last = map[NeighKey]time.Time{}
	events, err := subscribe(w.opt.NetNS, w.opt.eventBuffer)
	if err != nil {
		return nil, fmt.Errorf("subscribe to routes and neighbours: %w", err)
	}
	w.events.Store(events)
	if w.dumps, err = newRequester(w.opt.NetNS); err == nil {
		w.asks, err = newRequester(w.opt.NetNS)
	}
	if err == nil {
		err = w.resync(newDraft(&State{}))
	}
	if err != nil {
		w.closeSockets()
		return nil, fmt.Errorf("read routes and neighbours: %w", err)
	}
	<-w.changes // the first State is not a change
	go w.run()
	return w, nil
}

func (o Options) withDefaults() Options {
	if o.NetNS <= 0 {
		o.NetNS = netns.None()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Refresh <= 0 {
		o.Refresh = DefaultRefresh
	}
	if o.eventBuffer == 0 {
		o.eventBuffer = eventBuffer
	}
	return o
}

// State returns the latest State, never nil. It is current as of the last batch of
// events, a millisecond or two behind the kernel.
func (w *Watcher) State() *State { return w.state.Load() }

// Changes tells that State has changed since the last receive, and in what; changes not received
// yet are merged. It is closed by Close. One goroutine should receive.
func (w *Watcher) Changes() <-chan Change { return w.changes }

// Resyncs counts full dumps: 1 after Open, one more for each time events were lost or
// left a doubt.
func (w *Watcher) Resyncs() uint64 { return w.resyncs.Load() }

// Close stops following; State stays what it was. It may be called twice.
func (w *Watcher) Close() error {
	w.closeOnce.Do(func() {
		close(w.closing)
		w.events.Load().close() // wakes run
	})
	<-w.done
	return nil
}

func (w *Watcher) closeSockets() {
	w.events.Load().close()
	w.dumps.close()
	w.asks.close()
}

// run is the one goroutine that reads events and publishes States.
func (w *Watcher) run() {
	defer close(w.done)
	defer close(w.changes)
	defer w.closeSockets()
	d := newDraft(w.State())
	for {
		err := w.batch(d)
		if w.isClosing() {
			return
		}
		w.publish(d)
		if err != nil {
			w.reopen(err)
			d.unsure = true
		}
		if d.unsure && time.Since(w.synced) > resyncGap {
			d = w.resyncOrLog()
		}
		w.refreshDue()
	}
}

func (w *Watcher) isClosing() bool {
	select {
	case <-w.closing:
		return true
	default:
		return false
	}
}

// batch waits for events and applies them to d until none comes for a moment. An error
// means that events may have been lost and that the socket is of no more use.
func (w *Watcher) batch(d *draft) error {
	wait := min(w.opt.Refresh, resyncGap)
	for seen := 0; seen < maxBatch; seen++ {
		b, err := w.events.Load().receive(wait)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			w.opt.Log.Warn("route events came too fast and were lost, reading everything again")
			d.unsure = true
		case err != nil:
			return err
		}
		w.applyAll(d, b)
		wait = quiet
	}
	return nil
}

// applyAll takes the messages of one datagram into d.
func (w *Watcher) applyAll(d *draft, b []byte) {
	for m, rest, ok := next(b); ok; m, rest, ok = next(rest) {
		if m.typ == unix.RTM_NEWRULE {
			w.checkRule(m.data)
			continue
		}
		d.apply(m)
	}
}

func (w *Watcher) publish(d *draft) {
	if !d.touched {
		return
	}
	change := d.change
	w.state.Store(d.publish())
	w.notify(change)
}

// notify merges c into what was not received yet. It never blocks: run is the only sender.
func (w *Watcher) notify(c Change) {
	if c == (Change{}) {
		return
	}
	select {
	case old := <-w.changes:
		c = c.or(old)
	default:
	}
	w.changes <- c
}

// reopen replaces an event socket that failed, after a pause that keeps it from spinning.
func (w *Watcher) reopen(cause error) {
	w.opt.Log.Warn("the route event socket failed, opening another", "err", cause)
	select {
	case <-w.closing:
		return
	case <-time.After(resyncGap):
	}
	s, err := subscribe(w.opt.NetNS, w.opt.eventBuffer)
	if err != nil {
		w.opt.Log.Error("cannot open a route event socket", "err", err)
		return
	}
	w.events.Swap(s).close()
}

func (w *Watcher) resyncOrLog() *draft {
	w.drain()
	d := newDraft(&State{})
	if err := w.resync(d); err != nil {
		w.opt.Log.Error("cannot read routes and neighbours, will try again", "err", err)
		w.synced = time.Now()
		d = newDraft(w.State())
		d.unsure = true
	}
	return d
}

// drain throws away what the event socket holds: the dump to come knows better. Were it
// applied after the dump, with later events lost, it would bring back what is gone.
func (w *Watcher) drain() {
	for range eventBuffer / minEvent {
		if _, err := w.events.Load().receive(quiet); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
	}
}
