package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"ulvs/conntrack"
)

// Idling: a worker that finds nothing spins for a while, because the next frame is
// often near, and then sleeps in its queue until one comes.
const (
	// SpinDefault is how long a worker spins at most after its last frame: about what a
	// sleep and its wake-up cost on a busy machine.
	SpinDefault = 50 * time.Microsecond
	// spinLeast is how long it spins when that has not paid lately: about what the system calls of a sleep cost.
	spinLeast = 3 * time.Microsecond
	// yieldLong is how long somebody else has the core until it counts as shared.
	yieldLong = 500 * time.Microsecond
	// shyLeast and shyMost bound how long a worker on a shared core does not spin.
	shyLeast, shyMost = 5 * time.Millisecond, time.Second
	// sleepMax bounds a sleep so that expiry and new snapshots are not missed.
	sleepMax = time.Second
)

// RunOptions are how a Worker's loop idles.
type RunOptions struct {
	Spin  time.Duration // how long to spin at most when idle; negative: for ever
	Clock func() time.Duration
	Yield func() // offers the core to whoever waits for it, between turns of a spin; nil: never
}

type idleState struct {
	sleeps   uint64
	sleepNS  uint64
	pubSleep atomic.Uint64
	pubNS    atomic.Uint64
	stopped  atomic.Bool
}

// Sleeps returns how often the worker went to sleep and for how long in all.
func (w *Worker) Sleeps() (times uint64, total time.Duration) {
	return w.idle.pubSleep.Load(), time.Duration(w.idle.pubNS.Load())
}

// Stop makes Run return after the batch at hand.
func (w *Worker) Stop() { w.idle.stopped.Store(true) }

// SetQueue gives a worker that does not run another queue. Frames held for the old one
// are its memory and gone with it; they count as drop_neighbour.
func (w *Worker) SetQueue(q Queue) {
	w.queue = q
	w.stats.verdicts[DropNeighbour] += uint64(w.nHeld)
	w.nHeld = 0
	w.idle.stopped.Store(false)
}

// Run handles frames until Stop, ctx or the queue's end. The calling goroutine should be
// locked to a thread that is pinned to the core of the queue's interrupt. Clock must not
// go backwards; it is read once per batch. The error is nil after Stop, or the queue's.
func (w *Worker) Run(ctx context.Context, o RunOptions) error {
	stop := context.AfterFunc(ctx, w.Stop)
	defer stop()
	w.conns.Unpark()
	defer w.conns.Park()
	quiet, spin := o.Clock(), newSpinner(o.Spin)
	for !w.idle.stopped.Load() {
		now := o.Clock()
		w.clock = now
		spin.regained(now)
		if w.RunOnce(TickOf(now)) > 0 {
			spin.frames(now - quiet)
			quiet = now
			continue
		}
		if spin.on(now, now-quiet) {
			spin.offer(now, o.Yield)
			continue
		}
		spin.slept = true
		if err := w.sleep(o.Clock, now); err != nil {
			return err
		}
	}
	return nil
}

// spinner finds out how long to spin: as long as Spin allows while that would have caught the next frame, hardly at all
// while frames, or bursts of them, lie farther apart. Spinning in vain burns 50 us of a core for each burst, several
// times what forwarding it costs.
//
// A spinning worker is in the way of whoever wants its core: the kernel sees a busy one, and a process that was put
// there meanwhile waits for milliseconds. So it offers its core at every turn. Where somebody keeps it for long, it
// does not spin for a while: asleep it gets its core back at once when a frame comes, which who offered it does not.
type spinner struct {
	least, most, window time.Duration
	slept               bool          // since the last frame
	offered             bool          // the core, at
	at                  time.Duration // which time
	shy, until          time.Duration // for how long, and until when it does not spin
}

func newSpinner(most time.Duration) spinner {
	return spinner{least: min(spinLeast, most), most: most, window: most}
}

// on reports whether to spin on at time now, so long after the last frame.
func (s *spinner) on(now, idle time.Duration) bool {
	return s.most < 0 || idle < s.window && now >= s.until
}

// offer offers the core by yield; nil: it is ours alone.
func (s *spinner) offer(now time.Duration, yield func()) {
	if yield != nil {
		s.offered, s.at = true, now
		yield()
	}
}

// regained learns from how long somebody else had the core.
func (s *spinner) regained(now time.Duration) {
	if !s.offered {
		return
	}
	s.offered = false
	switch {
	case now-s.at >= yieldLong:
		s.shy = min(max(2*s.shy, shyLeast), shyMost)
		s.until = now + s.shy
	case now-s.until > s.shy:
		s.shy = 0
	}
}

// frames learns from frames that came so long after the ones before. What came while it spun changes nothing.
func (s *spinner) frames(gap time.Duration) {
	switch {
	case !s.slept:
		return
	case gap <= s.most:
		s.window = min(2*s.window, s.most)
	default:
		s.window = max(s.window/2, s.least)
	}
	s.slept = false
}

// TickOf converts a time since the table's start.
func TickOf(d time.Duration) conntrack.Tick {
	return conntrack.Tick(d / (time.Second / conntrack.TicksPerSecond))
}

func (w *Worker) sleep(clock func() time.Duration, since time.Duration) error {
	if w.sweepDebt > 0 {
		return nil // expiry uses the quiet time first
	}
	w.conns.Park()
	err := w.queue.Wait(w.sleepTime())
	w.conns.Unpark()
	w.idle.sleeps++
	w.idle.sleepNS += uint64(clock() - since)
	w.idle.pubSleep.Store(w.idle.sleeps)
	w.idle.pubNS.Store(w.idle.sleepNS)
	if errors.Is(err, net.ErrClosed) {
		w.Stop()
		return nil
	}
	if err != nil {
		return fmt.Errorf("worker %d: wait for frames: %w", w.id, err)
	}
	return nil
}

func (w *Worker) sleepTime() time.Duration {
	if w.nHeld > 0 || w.stack != nil && w.stack.FromStack.Len() > 0 {
		return 5 * time.Millisecond // a next hop is being resolved, or the queue lends no frame
	}
	return sleepMax
}
