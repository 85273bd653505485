package notify

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"time"

	"ulvs/events"
	"ulvs/internal/runner"
)

// Limits.
const (
	// MaxBacklog is how many events may wait for a target. Beyond it the oldest are given up: news of an hour ago
	// helps nobody, and the newest say how things are.
	MaxBacklog = 256
	// maxScripts is how many scripts run at once, of all targets.
	maxScripts = 8
	firstPause = time.Second // before the second attempt; each next one is twice as long
	maxPause   = 30 * time.Second
)

// Options make a Notifier.
type Options struct {
	Journal  *events.Journal
	Director string // the node's name
	Version  string
	Log      *slog.Logger
	// Pause waits before another attempt; the error is ctx's. Nil: a timer. A test's does not wait.
	Pause func(ctx context.Context, d time.Duration) error
}

// Notifier tells targets. Each has a goroutine of its own, which delivers one event after the other, so that
// "up" never overtakes "down".
type Notifier struct {
	opt    Options
	runner *runner.Runner
	client *http.Client

	mu      sync.Mutex
	running []*telling
}

// telling is one target at work.
type telling struct {
	target  Target
	stop    context.CancelFunc // ends what it does at once
	lastOne context.CancelFunc // what happened until now is all that it hears of
	done    chan struct{}

	mu    sync.Mutex
	stats Stats
}

// Stats are one target's figures.
type Stats struct {
	Name      string
	Delivered uint64
	Failed    uint64 // given up after all attempts, or after an answer that no attempt would heal
	Retried   uint64 // attempts after the first
	Lost      uint64 // given up because MaxBacklog waited
	Backlog   int    // events that wait
}

// New makes a Notifier without targets.
func New(o Options) *Notifier {
	if o.Pause == nil {
		o.Pause = pause
	}
	return &Notifier{opt: o, runner: runner.New(maxScripts), client: newClient()}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Set makes targets those that are told. One that was there goes on where it is; a new one
// hears of what happens from now on.
func (n *Notifier) Set(targets []Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := make([]*telling, 0, len(targets))
	for _, t := range targets {
		same := func(k *telling) bool { return reflect.DeepEqual(k.target, t) }
		if i := slices.IndexFunc(n.running, same); i >= 0 {
			next = append(next, n.running[i])
			n.running = slices.Delete(n.running, i, i+1)
			continue
		}
		next = append(next, n.start(t))
	}
	for _, gone := range n.running {
		gone.lastOne()
		gone.stop()
	}
	for _, gone := range n.running {
		<-gone.done
	}
	n.running = next
}

// Close tells what happened until now, for as long as ctx lasts, and stops.
func (n *Notifier) Close(ctx context.Context) {
	n.mu.Lock()
	running := slices.Clone(n.running)
	n.mu.Unlock()
	for _, k := range running {
		k.lastOne()
	}
	for _, k := range running {
		select {
		case <-k.done:
		case <-ctx.Done():
		}
	}
	n.Set(nil)
}

// Stats returns the figures of all targets, in their order.
func (n *Notifier) Stats() []Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]Stats, len(n.running))
	for i, k := range n.running {
		k.mu.Lock()
		out[i] = k.stats
		k.mu.Unlock()
	}
	return out
}

func (n *Notifier) start(t Target) *telling {
	work, stop := context.WithCancel(context.Background())
	hear, lastOne := context.WithCancel(context.Background())
	k := &telling{target: t, stop: stop, lastOne: lastOne, done: make(chan struct{}), stats: Stats{Name: t.Name()}}
	queue := make(chan events.Event, MaxBacklog)
	go n.runQueue(hear, k, n.opt.Journal.Subscribe(n.opt.Journal.Last()), queue)
	go n.runTarget(work, k, queue)
	return k
}

// runQueue moves events from the journal into the queue, and the oldest out of it when it is full. After
// ctx's end it moves what is there.
func (n *Notifier) runQueue(ctx context.Context, k *telling, s *events.Subscription, queue chan events.Event) {
	defer close(queue)
	defer s.Close()
	lost := uint64(0)
	for {
		e, err := s.Next(ctx, &k.target.Filter)
		if err != nil {
			return
		}
		k.count(func(st *Stats) { st.Lost += s.Lost() - lost })
		lost = s.Lost()
		for !k.put(queue, e) {
		}
	}
}

// put adds an event to the queue, or makes room and reports false.
func (k *telling) put(queue chan events.Event, e events.Event) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case queue <- e:
		k.stats.Backlog++
		return true
	default:
	}
	select {
	case <-queue:
		k.stats.Backlog--
		k.stats.Lost++
	default: // the other end was faster
	}
	return false
}

func (k *telling) count(fn func(*Stats)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fn(&k.stats)
}

// runTarget delivers one event after the other until the queue ends; after ctx's end it tries no more.
func (n *Notifier) runTarget(ctx context.Context, k *telling, queue <-chan events.Event) {
	defer close(k.done)
	for e := range queue {
		err := ctx.Err()
		if err == nil {
			err = n.tell(ctx, k, &e)
		}
		k.count(func(st *Stats) {
			st.Backlog--
			if err != nil {
				st.Failed++
			} else {
				st.Delivered++
			}
		})
		if err != nil {
			n.opt.Log.Warn("notification given up", "to", k.target.Name(), "event", e.Kind, "seq", e.Seq, "err", err)
		}
	}
}

// tell delivers an event, in as many attempts as the target allows.
func (n *Notifier) tell(ctx context.Context, k *telling, e *events.Event) (err error) {
	wait := firstPause
	for attempt := 0; ; attempt++ {
		if err = n.deliver(ctx, &k.target, e); err == nil {
			return nil
		}
		if never := (permanent{}); errors.As(err, &never) || attempt >= k.target.Retries {
			return err
		}
		if n.opt.Pause(ctx, wait) != nil {
			return err
		}
		wait = min(2*wait, maxPause)
		k.count(func(st *Stats) { st.Retried++ })
	}
}

// withoutURL takes the URL, whose path may be a secret, out of net/http's errors.
func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
