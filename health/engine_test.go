package health

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/lvs"
)

// farm answers as many real servers do.
type farm struct {
	mu      sync.Mutex
	dead    map[netip.AddrPort]bool
	asked   map[netip.AddrPort]int
	hang    chan struct{} // not nil: dead ones answer when it is closed
	under   int           // questions at once
	most    int
	changes []Change
	failed  []Change
}

func newFarm() *farm { return &farm{dead: map[netip.AddrPort]bool{}, asked: map[netip.AddrPort]int{}} }

func (f *farm) ask(ctx context.Context, q Probe) Result {
	f.mu.Lock()
	f.asked[q.Target.Real]++
	dead, hang := f.dead[q.Target.Real], f.hang
	f.under++
	f.most = max(f.most, f.under)
	f.mu.Unlock()
	if dead && hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.under--
	if dead {
		return no()
	}
	return yes()
}

func (f *farm) changed(list []Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append(f.changes, list...)
}

func (f *farm) set(a netip.AddrPort, dead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead[a] = dead
}

func (f *farm) count(a netip.AddrPort) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[a]
}

// saw reports whether the farm was told so.
func (f *farm) saw(kind ChangeKind, a netip.AddrPort) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.changes {
		if c.Kind == kind && c.Server == a {
			return true
		}
	}
	return false
}

// start runs an engine until the test ends.
func (f *farm) start(t testing.TB, concurrent int) *Engine {
	e := NewEngine(EngineOptions{Ask: f.ask, Changed: f.changed, Concurrent: concurrent, Failed: func(c Change) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.failed = append(f.failed, c)
	}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return e
}

func quick() *Check { return tcp(every(time.Millisecond, time.Millisecond, 1)) }

func TestTheEngineTellsOfServersThatDieAndReturn(t *testing.T) {
	f := newFarm()
	e := f.start(t, 10)
	servers := serversOf(3, quick())
	victim := servers[1].Address
	e.Change([]Service{{Key: web(), Quorum: 3, Servers: servers}}, nil)
	testutil.Await(t, "three answers", func() bool { return f.count(victim) > 3 })
	f.set(victim, true)
	testutil.Await(t, "the end of a server", func() bool { return f.saw(ServerDown, victim) })
	testutil.Await(t, "the loss of the quorum", func() bool { return f.saw(QuorumDown, netip.AddrPort{}) })
	status := e.Status()[0]
	s := status.Servers[1]
	if s.Up || s.Reason != ReasonRefused || s.Checks[0].Failures < 2 || status.Quorum || status.Live != 2 {
		t.Errorf("status %+v", status)
	}
	f.set(victim, false)
	testutil.Await(t, "its return", func() bool { return f.saw(ServerUp, victim) && e.Status()[0].Quorum })
}

func TestInitialStatesAreToldBeforeChangeReturns(t *testing.T) {
	f := newFarm()
	e := NewEngine(EngineOptions{Ask: f.ask, Changed: f.changed})
	alpha := tcp(Common{Alpha: Some(true)})
	e.Change([]Service{{Key: web(), Servers: serversOf(1, alpha)}}, nil)
	if !f.saw(ServerDown, serversOf(1)[0].Address) || !f.saw(QuorumDown, netip.AddrPort{}) {
		t.Errorf("told %+v", f.changes)
	}
}

func TestReloadsKeepTheStateAndTheTimeOfChecks(t *testing.T) {
	f := newFarm()
	e := f.start(t, 10)
	slow := tcp(Common{DelayLoop: Some(time.Hour), Warmup: Some(time.Duration(0))})
	a := serversOf(1)[0].Address
	f.set(a, true)
	e.Change([]Service{{Key: web(), Servers: serversOf(1, slow)}}, nil)
	testutil.Await(t, "the first answer", func() bool { return f.saw(ServerDown, a) })
	since := e.Status()[0].Servers[0].Since
	other := lvs.ServiceKey{Addr: web().Addr, Port: 81, Proto: lvs.ProtoTCP}
	e.Change([]Service{{Key: web(), Servers: serversOf(2, slow)}, {Key: other, Servers: serversOf(1, slow)}}, nil)
	testutil.Await(t, "the other service's answer", func() bool { return f.count(a) == 2 })
	e.Change([]Service{{Key: web(), Servers: serversOf(1, slow)}}, []lvs.ServiceKey{other})
	status := e.Status()
	if len(status) != 1 || status[0].Servers[0].Up || !status[0].Servers[0].Since.Equal(since) || f.count(a) != 2 {
		t.Errorf("asked %d times, status %+v", f.count(a), status)
	}
}

func TestProbesUnderWayAreBoundedAndDeadServersDelayNobody(t *testing.T) {
	f := newFarm()
	f.hang = make(chan struct{})
	e := f.start(t, 8)
	dead, alive := serversOf(20, quick()), serversOf(25, quick())[20:]
	e.Change([]Service{{Key: web(), Servers: append(dead, alive...)}}, nil)
	last := alive[4].Address
	testutil.Await(t, "first answers", func() bool { return f.count(last) > 0 && f.count(dead[19].Address) > 0 })
	for _, s := range dead {
		f.set(s.Address, true)
	}
	close(f.hang) // they fail at once, until all are known to be dead
	testutil.Await(t, "the end of all", func() bool {
		for _, s := range dead {
			if !f.saw(ServerDown, s.Address) {
				return false
			}
		}
		return true
	})
	f.mu.Lock()
	f.hang = make(chan struct{}) // from now on they hang
	f.mu.Unlock()
	testutil.Await(t, "dead servers that hold all they may", func() bool { return e.Load().Waiting >= 10 })
	before := f.count(last)
	testutil.Await(t, "more answers of the living", func() bool { return f.count(last) > before+10 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most > 8 || e.opt.Concurrent != 8 {
		t.Errorf("%d probes at once", f.most)
	}
}

func TestASuspendedServiceIsNotAsked(t *testing.T) {
	f := newFarm()
	e := f.start(t, 4)
	a := serversOf(1)[0].Address
	e.Change([]Service{{Key: web(), Servers: serversOf(1, quick())}}, nil)
	testutil.Await(t, "an answer", func() bool { return f.count(a) > 0 })
	e.Suspend(map[lvs.ServiceKey]bool{web(): true})
	testutil.Await(t, "the last answer", func() bool { return e.Load() == EngineStatus{Late: e.Load().Late} })
	asked := f.count(a)
	e.Suspend(map[lvs.ServiceKey]bool{web(): true})
	e.Suspend(map[lvs.ServiceKey]bool{web(): false})
	testutil.Await(t, "an answer", func() bool { return f.count(a) > asked })
}

func TestACheckIsNotAskedTwiceAtOnce(t *testing.T) {
	f := newFarm()
	f.hang = make(chan struct{})
	e := f.start(t, 4)
	victim, other := serversOf(2)[0].Address, serversOf(2)[1].Address
	f.set(victim, true)
	e.Change([]Service{{Key: web(), Servers: serversOf(2, quick())}}, nil)
	testutil.Await(t, "a question that hangs", func() bool { return f.count(victim) == 1 })
	e.Suspend(map[lvs.ServiceKey]bool{web(): true})
	e.Suspend(map[lvs.ServiceKey]bool{web(): false}) // it is due again, and still under way
	before := f.count(other)
	testutil.Await(t, "answers of the other", func() bool { return f.count(other) > before+5 })
	if n := f.count(victim); n != 1 {
		t.Errorf("asked %d times", n)
	}
	close(f.hang)
	testutil.Await(t, "the next question", func() bool { return f.count(victim) > 1 })
}

func TestTheEndIsToldForOmega(t *testing.T) {
	f := newFarm()
	e := f.start(t, 4)
	e.Change([]Service{{Key: web(), Omega: true, Servers: serversOf(1, quick())}}, nil)
	e.Stop()
	if a := serversOf(1)[0].Address; !f.saw(ServerDown, a) || !f.saw(QuorumDown, netip.AddrPort{}) {
		t.Errorf("told %+v", f.changes)
	}
}

func TestFailuresThatChangeNothingAreToldToThoseWhoAsk(t *testing.T) {
	f := newFarm()
	e := f.start(t, 4)
	check := mustCheck(Spec{Kind: KindTCP, LogAllFailures: true, Common: every(time.Millisecond, 0, 1)})
	a := serversOf(1)[0].Address
	f.set(a, true)
	e.Change([]Service{{Key: web(), Servers: serversOf(1, check)}}, nil)
	testutil.Await(t, "failures", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.failed) > 2 && f.failed[0].Server == a && f.failed[0].Reason == ReasonRefused
	})
}

func TestAnIdleCheckHasNoGoroutineAndNoTimer(t *testing.T) {
	f := newFarm()
	e := f.start(t, 10)
	slow := tcp(Common{DelayLoop: Some(time.Hour), Warmup: Some(24 * time.Hour)})
	before := runtime.NumGoroutine()
	services := []Service{}
	for i := range 100 {
		key := lvs.ServiceKey{Addr: web().Addr, Port: uint16(i + 1), Proto: lvs.ProtoTCP}
		services = append(services, Service{Key: key, Servers: serversOf(100, slow)})
	}
	e.Change(services, nil)
	// One that happens to be due already has a goroutine for a second.
	testutil.Await(t, "hardly any goroutine", func() bool { return runtime.NumGoroutine()-before <= 2 })
	if e.Load().Checks < 9900 {
		t.Errorf("%d checks wait for their time", e.Load().Checks)
	}
}

func TestTimersComeInOrder(t *testing.T) {
	rng := testutil.Rand(t)
	var h timers
	list := make([]*checker, 500)
	for i := range list {
		list[i] = &checker{timer: timer{slot: notQueued}}
	}
	for range 5000 {
		c := list[rng.IntN(len(list))]
		if rng.IntN(3) == 0 {
			h.remove(c)
		} else {
			h.set(c, rng.Int64N(1000))
		}
	}
	queued := len(h)
	for last := int64(0); len(h) > 0; queued-- {
		c := h.next()
		if c.due < last {
			t.Fatalf("%d after %d", c.due, last)
		}
		last = c.due
		h.remove(c)
	}
	if queued != 0 {
		t.Errorf("%d were lost", queued)
	}
}
