package dataplane

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/dataplane/memqueue"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// running is a worker whose Run is under way.
type running struct {
	*bed
	ended chan error
}

func (b *bed) start(ctx context.Context, o RunOptions) *running {
	r := &running{b, make(chan error, 1)}
	begin := time.Now()
	if o.Clock == nil {
		o.Clock = func() time.Duration { return time.Since(begin) }
	}
	go func() { r.ended <- b.worker.Run(ctx, o) }()
	return r
}

// wait returns Run's error.
func (r *running) wait() error {
	r.tb.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(testutil.AwaitLimit):
		r.tb.Fatal("Run did not return")
		return nil
	}
}

func (r *running) asleep() {
	r.tb.Helper()
	was, _ := r.worker.Sleeps()
	testutil.Await(r.tb, "the worker to sleep", func() bool {
		n, _ := r.worker.Sleeps()
		return n > was
	})
}

func drBed(t *testing.T) *bed {
	return newBed(t, bedOptions{heap: true}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
}

func TestRunForwardsSleepsAndWakesForAFrame(t *testing.T) {
	r := drBed(t).start(context.Background(), RunOptions{Spin: time.Microsecond})
	for range 5 {
		r.asleep()
		r.queue.Inject(0, syn4(t))
		var out []memqueue.Sent
		testutil.Await(t, "the frame to leave", func() bool {
			out = append(out, r.queue.Take()...)
			return len(out) == 1
		})
	}
	r.worker.Stop()
	r.queue.Wake()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if n, total := r.worker.Sleeps(); n == 0 || total <= 0 {
		t.Errorf("slept %d times, %v", n, total)
	}
	r.check()
}

func TestRunEndsWhenItsContextDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := drBed(t).start(ctx, RunOptions{Spin: time.Microsecond})
	r.asleep()
	cancel()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestRunEndsWithItsQueueAndGoesOnWithAnother(t *testing.T) {
	r := drBed(t).start(context.Background(), RunOptions{})
	_ = r.queue.Close()
	if err := r.wait(); err != nil {
		t.Errorf("a closed queue is no failure: %v", err)
	}
	r.queue = memqueue.New(16)
	r.worker.SetQueue(r.queue)
	r = r.bed.start(context.Background(), RunOptions{})
	r.queue.Inject(0, syn4(t))
	testutil.Await(t, "a frame to leave by the new queue", func() bool { return len(r.queue.Take()) == 1 })
	_ = r.queue.Close()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

// deadQueue fails to wait.
type deadQueue struct{ *memqueue.Queue }

var errDead = errors.New("the port is gone")

func (deadQueue) Wait(time.Duration) error { return errDead }

func TestRunReturnsWhatAilsItsQueue(t *testing.T) {
	b := drBed(t)
	b.worker.SetQueue(deadQueue{b.queue})
	err := b.start(context.Background(), RunOptions{}).wait()
	if !errors.Is(err, errDead) || !strings.Contains(err.Error(), "worker 0") {
		t.Errorf("the error is %v", err)
	}
}

func TestASpinningWorkerNeverSleeps(t *testing.T) {
	r := drBed(t).start(context.Background(), RunOptions{Spin: -1})
	testutil.Await(t, "the worker to look for frames", func() bool { return r.worker.Stats().Batches() > 1000 })
	r.worker.Stop()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if n, _ := r.worker.Sleeps(); n != 0 {
		t.Errorf("it slept %d times", n)
	}
}

func TestAWorkerThatHoldsFramesSleepsShortly(t *testing.T) {
	b := drBed(t)
	id := b.hopOf("10.0.0.21")
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopUnresolved })
	still := func() time.Duration { return 10 * time.Second } // however long the test takes, the frame is not given up
	r := b.start(context.Background(), RunOptions{Clock: still})
	r.queue.Inject(0, syn4(t))
	testutil.Await(t, "the director to be asked", func() bool { return len(b.notices) > 0 })
	b.edited(func(s *Snapshot) { s.Hops[id].State = HopReady })
	testutil.Await(t, "the held frame to leave", func() bool { return len(r.queue.Take()) == 1 })
	r.worker.Stop()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	b.check()
}

func TestRunExpiresSessionsWithoutAnyFrames(t *testing.T) {
	b := drBed(t)
	b.now = 1
	b.one(0, syn4(t), 1)
	begin := time.Now()
	hurry := func() time.Duration { return 10*time.Minute + 100*time.Since(begin) }
	r := b.start(context.Background(), RunOptions{Clock: hurry})
	testutil.Await(t, "the session to expire", func() bool { return b.table.Stats().Conns == 0 })
	r.worker.Stop()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	b.wantLoad("in the end", 1, [3]int32{})
}

func TestSpinningIsGivenUpWhereItDoesNotPay(t *testing.T) {
	const most = 50 * time.Microsecond
	for _, c := range []struct {
		name       string
		most, gap  time.Duration
		from, want time.Duration
	}{
		{"frames are far apart", most, 3 * most, most, spinLeast},
		{"frames come soon", most, most / 2, spinLeast, most},
		{"polling never spins", 0, most, 0, 0},
		{"a short spin stays short", 1000, most, 1000, 1000},
	} {
		s := newSpinner(c.most)
		s.window = c.from
		for range 10 {
			before := s.window
			s.frames(c.gap)
			if s.window != before {
				t.Errorf("%s: it learned from a frame that it spun for", c.name)
			}
			s.slept = true
			s.frames(c.gap)
		}
		if s.window != c.want {
			t.Errorf("%s: it spins %v, want %v", c.name, s.window, c.want)
		}
	}
}

func TestAWorkerWhoseCoreOthersUseDoesNotSpinForAWhile(t *testing.T) {
	yields := 0
	s := newSpinner(SpinDefault)
	now := time.Duration(0)
	offer := func(took time.Duration) {
		s.offer(now, func() { yields++; now += took })
		s.regained(now)
	}
	for range 100 {
		offer(yieldLong - 1)
	}
	if !s.on(now, 0) || yields != 100 {
		t.Error("others that take the core for short are no reason to sleep")
	}
	for want := shyLeast; want < 2*shyMost; want *= 2 {
		want := min(want, shyMost)
		offer(yieldLong)
		if s.on(now+want-1, 0) || !s.on(now+want, 0) || s.on(now+want, SpinDefault) {
			t.Fatalf("it does not sleep for %v after somebody had its core", want)
		}
		now += want
		offer(0)
	}
	now += shyMost + 1
	s.regained(now) // nothing was offered: it was forwarding
	if !s.on(now, 0) {
		t.Error("it counts time that it took itself")
	}
	offer(0)
	offer(yieldLong)
	if now += shyLeast; !s.on(now, 0) {
		t.Error("it did not forget what it learned")
	}
	s.offer(now, nil)
	if s.regained(now + time.Second); !s.on(now+time.Second, 0) {
		t.Error("it lost a core that it does not offer")
	}
}

func TestASpinningWorkerOffersItsCore(t *testing.T) {
	var yields atomic.Int64
	r := drBed(t).start(context.Background(), RunOptions{Spin: -1, Yield: func() { yields.Add(1) }})
	testutil.Await(t, "the worker to offer its core", func() bool { return yields.Load() > 1000 })
	r.worker.Stop()
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestTicksCountFromTheTablesStart(t *testing.T) {
	ticks := map[time.Duration]uint32{0: 0, 124 * time.Millisecond: 0, 125 * time.Millisecond: 1, time.Hour: 28800}
	for d, want := range ticks {
		if got := TickOf(d); uint32(got) != want {
			t.Errorf("%v is tick %d, want %d", d, got, want)
		}
	}
}

func TestFramesThatTheRingsRefuseAreCounted(t *testing.T) {
	b := drBed(t)
	b.queue.LimitTx(2)
	for range 5 {
		b.queue.Inject(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn}.bytes(t))
	}
	if out := b.send(0); len(out) != 2 {
		t.Errorf("%d frames came out, want 2", len(out))
	}
	if got := b.worker.Stats().TxFull(); got != 3 || b.verdict(TxDR) != 5 {
		t.Errorf("%d frames were refused, want 3 of %d", got, b.verdict(TxDR))
	}
	b.check()
}
