package health

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ulvs/lvs"
)

// DefaultConcurrent bounds the probes that are under way at once. A dead server holds one for its
// connect_timeout, so that with keepalived's 5 s three thousand may be dead without a delay.
const DefaultConcurrent = 4096

// Servers that are down get at most half of what may be under way, so that a dead rack does not delay
// the checks of what is alive.
const downShare = 2

// tick is how much later than due a probe may begin: those due within it begin together, and the
// engine wakes up once for them.
const tick = 5 * time.Millisecond

// idleWorker is how long a goroutine waits for another probe before it ends.
const idleWorker = time.Second

// EngineOptions are what an Engine is made of.
type EngineOptions struct {
	// Ask asks a real server, as Prober.Ask does. It is called concurrently.
	Ask func(ctx context.Context, q Probe) Result
	// Changed is told what changed, in order, and everything that changed at one moment at once. It may
	// take locks, but not call the Engine.
	Changed func(changes []Change)
	// Failed, if not nil, is told of failures that change nothing, of checks with
	// LogAllFailures.
	Failed     func(change Change)
	Concurrent int // probes under way; 0: DefaultConcurrent
}

// Engine keeps the checks of many servers running: one goroutine that waits for what is due, and as
// many that ask as probes are under way.
type Engine struct {
	opt   EngineOptions
	epoch time.Time // timers count from here, by the monotonic clock

	telling  sync.Mutex // held from a step until its changes are told: their order is that of the steps
	mu       sync.Mutex // guards what follows
	machines map[lvs.ServiceKey]*machine
	timers   timers
	waiting  [2][]*checker // due, but too many are under way: of servers that are up, and down
	asking   [2]int        // probes under way, likewise
	acts     []action
	failures []Change        // to be told, for checks with LogAllFailures
	running  context.Context // nil: not yet
	late     uint64

	jobs    chan job
	answers chan answer
	wake    chan struct{}
}

type job struct {
	checker *checker
	probe   Probe
	class   int
}

type answer struct {
	checker *checker
	result  Result
	class   int
}

const (
	classUp = iota
	classDown
)

// NewEngine returns an Engine that watches nothing yet.
func NewEngine(o EngineOptions) *Engine {
	if o.Concurrent == 0 {
		o.Concurrent = DefaultConcurrent
	}
	return &Engine{
		opt: o, epoch: time.Now(), machines: map[lvs.ServiceKey]*machine{},
		jobs: make(chan job), answers: make(chan answer, o.Concurrent), wake: make(chan struct{}, 1),
	}
}

// Change watches the services in set from now on as they are there, and no longer those in removed. Checks
// that are the same as before keep their state and their time. Initial states, and what the difference
// changes, are told before it returns; of removed services nothing is.
func (e *Engine) Change(set []Service, removed []lvs.ServiceKey) {
	e.change(func(now time.Time) {
		for _, key := range removed {
			e.drop(key)
		}
		for i := range set {
			e.configure(now, &set[i])
		}
	})
}

// Retell tells once more what is not well with services, and which weights checks have changed, for somebody who may
// have forgotten.
func (e *Engine) Retell(keys []lvs.ServiceKey) {
	e.change(func(now time.Time) {
		for _, key := range keys {
			if m := e.machines[key]; m != nil {
				e.acts = m.step(now, event{kind: evRetell}, e.acts)
			}
		}
	})
}

// Suspend stops the checks of services that are true, and has those of others go on. States stay as they are.
func (e *Engine) Suspend(states map[lvs.ServiceKey]bool) {
	e.change(func(now time.Time) {
		for key, suspend := range states {
			m := e.machines[key]
			if m == nil || m.suspended == suspend {
				continue
			}
			ev := event{kind: evResume}
			if suspend {
				ev.kind = evSuspend
			}
			e.acts = m.step(now, ev, e.acts)
		}
	})
}

// Stop ends all checks, and tells of servers and quorums that go down with the director where omega
// asks for it.
func (e *Engine) Stop() {
	e.change(func(now time.Time) {
		for _, m := range e.machines {
			e.acts = m.step(now, event{kind: evStop}, e.acts)
		}
	})
}

func (e *Engine) configure(now time.Time, s *Service) {
	m := e.machines[s.Key]
	ev := event{kind: evConfigure, service: s}
	if m == nil {
		m = &machine{Service: *s, random: rand.N[time.Duration]}
		e.machines[s.Key] = m
		ev = event{kind: evStart}
	}
	e.acts = m.step(now, ev, e.acts)
}

func (e *Engine) drop(key lvs.ServiceKey) {
	if m := e.machines[key]; m != nil {
		for _, server := range m.servers {
			e.acts = forgetAll(server.checkers, e.acts)
		}
		delete(e.machines, key)
	}
}

// change runs fn, carries out the actions that it collects, and tells what changed.
func (e *Engine) change(fn func(now time.Time)) {
	e.telling.Lock()
	defer e.telling.Unlock()
	e.mu.Lock()
	fn(time.Now())
	changes, failures := e.carryOut(), e.failures
	e.failures = nil
	e.mu.Unlock()
	for i := range failures {
		e.opt.Failed(failures[i])
	}
	if len(changes) > 0 {
		e.opt.Changed(changes)
	}
	select {
	case e.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// carryOut does what the machines want, and returns what is to be told.
func (e *Engine) carryOut() (changes []Change) {
	for i := range e.acts {
		switch a := &e.acts[i]; {
		case a.ask != nil && !a.ask.gone:
			e.timers.set(a.ask, int64(a.at.Sub(e.epoch)))
		case a.forget != nil:
			e.timers.remove(a.forget)
		case a.ask == nil:
			changes = append(changes, a.change)
		}
	}
	clear(e.acts)
	e.acts = e.acts[:0]
	return changes
}

// Run asks until ctx ends, and then returns when no probe is under way any more. Once only.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.running != nil {
		e.mu.Unlock()
		return errors.New("health: the engine has run already")
	}
	e.running = ctx
	e.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(e.begin())
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-e.wake:
		case a := <-e.answers:
			e.take(a)
		}
	}
	close(e.jobs)
	for {
		e.mu.Lock()
		under := e.asking[classUp] + e.asking[classDown]
		e.mu.Unlock()
		if under == 0 {
			return nil
		}
		e.take(<-e.answers)
	}
}

// begin starts what is due, and returns when to look again.
func (e *Engine) begin() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := int64(time.Since(e.epoch))
	for c := e.timers.next(); c != nil && c.due <= now; c = e.timers.next() {
		e.timers.remove(c)
		if !c.busy { // a check that a reload left with a probe under way waits for its answer
			c.busy = true
			class := classOf(c)
			e.waiting[class] = append(e.waiting[class], c)
		}
	}
	e.ask(classUp, e.opt.Concurrent-e.asking[classDown])
	e.ask(classDown, min(e.opt.Concurrent/downShare, e.opt.Concurrent-e.asking[classUp]))
	if c := e.timers.next(); c != nil {
		return time.Duration(c.due-now) + tick
	}
	return time.Hour // something wakes us before
}

func classOf(c *checker) int {
	if c.up {
		return classUp
	}
	return classDown
}

// ask hands waiting checkers of a class to workers, while fewer than limit are under way.
func (e *Engine) ask(class, limit int) {
	list := e.waiting[class]
	n := 0
	for ; n < len(list) && e.asking[class] < limit; n++ {
		c := list[n]
		if c.gone {
			continue
		}
		e.asking[class]++
		e.give(job{c, Probe{Check: c.check, Target: c.target(), URL: c.url, Diagnose: c.decisive()}, class})
	}
	if n < len(list) {
		e.late++
	}
	e.waiting[class] = slices.Delete(list, 0, n)
}

// give hands a job to an idle worker, or to a new one: there are as many as jobs at most.
func (e *Engine) give(j job) {
	select {
	case e.jobs <- j:
	default:
		go e.runWorker(j)
	}
}

// runWorker asks, and waits for another job for a while.
func (e *Engine) runWorker(j job) {
	idle := time.NewTimer(idleWorker)
	defer idle.Stop()
	for ok := true; ok; {
		e.answers <- answer{j.checker, e.opt.Ask(e.running, j.probe), j.class}
		idle.Reset(idleWorker)
		select {
		case j, ok = <-e.jobs:
		case <-idle.C:
			ok = false
		}
	}
}

// take takes in an answer and all others that are there.
func (e *Engine) take(a answer) {
	e.change(func(now time.Time) {
		e.judge(now, a)
		for range len(e.answers) {
			e.judge(now, <-e.answers)
		}
	})
}

func (e *Engine) judge(now time.Time, a answer) {
	c := a.checker
	e.asking[a.class]--
	c.busy = false
	if c.gone {
		return
	}
	wasUp := c.up
	e.acts = c.server.machine.step(now, event{kind: evAnswer, checker: c, result: a.result}, e.acts)
	if !a.result.OK && c.check.LogAllFailures && c.up == wasUp && e.opt.Failed != nil {
		change := c.server.change(ServerDown, now, c)
		change.Reason, change.Detail = a.result.Reason, a.result.Detail
		e.failures = append(e.failures, change)
	}
}
