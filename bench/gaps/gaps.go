// Package gaps measures how long a worker's loop is ever away from its queue: the times between batches while it
// forwards as fast as it can, and while the same process reloads services, replicates sessions, or the connection
// table grows. A frame waits that long at most for a worker that is not overloaded.
//
// It owns the histogram and the disturbances. A loop that does nothing is measured beside it: what that misses is
// the machine's doing, not ulvs's.
package gaps

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"

	"ulvs/bench/measure"
	"ulvs/bench/pipeline"
	"ulvs/bench/standby"
	"ulvs/tuning"
)

// Plan is what is measured.
type Plan struct {
	Services int           // that are reloaded
	Rate     int           // replicated changes per second
	Sessions int           // resident
	Duration time.Duration // of each scenario
}

// Short is measured in less than half a minute.
func Short() Plan {
	return Plan{Services: 10_000, Rate: 100_000, Sessions: 256 << 10, Duration: 2 * time.Second}
}

// Full takes longer, which finds rarer gaps.
func Full() Plan {
	p := Short()
	p.Sessions, p.Duration = 1<<20, 20*time.Second
	return p
}

// Histogram counts times by their size, sixteen steps to a doubling: figures are exact to 6 %.
type Histogram struct {
	counts [64 * 16]uint64
	n      uint64
	most   time.Duration
}

// Add counts one.
func (h *Histogram) Add(d time.Duration) {
	v := uint64(max(d, 1))
	top := bits.Len64(v) - 1
	step := v << (63 - top) >> 59 & 15
	h.counts[top*16+int(step)]++
	h.n++
	h.most = max(h.most, d)
}

// Quantile returns the time below which that share of all is, 0 without any.
func (h *Histogram) Quantile(share float64) time.Duration {
	want := uint64(share * float64(h.n))
	for i, n := range h.counts {
		if n == 0 {
			continue
		}
		if want < n {
			top, step := i/16, uint64(i%16)
			return time.Duration(1<<top + step<<top/16)
		}
		want -= n
	}
	return h.most
}

// Over returns the share of all that took longer than d.
func (h *Histogram) Over(d time.Duration) float64 {
	n := uint64(0)
	for i, c := range h.counts {
		if top, step := i/16, uint64(i%16); time.Duration(1<<top+step<<top/16) > d {
			n += c
		}
	}
	return float64(n) / float64(max(h.n, 1))
}

// disturb gets ready, calls going, does something until told to stop, and returns how often or how much.
type disturb func(going func(), stop *atomic.Bool) (done int, err error)

// Measure measures every scenario.
func Measure(ctx context.Context, run *measure.Run, p Plan) (err error) {
	run.Result.Plot = measure.Plot{Metric: "p99.9"}
	run.Say("establishing sessions")
	bed, err := pipeline.New(pipeline.Options{Sessions: p.Sessions, Services: p.Services})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	defer tuning.ShieldWorkers(1)()
	loop := func() error { bed.Batch(); return nil }
	scenarios := []scenario{
		{"a loop that does nothing", func() error { return nil }, nil},
		{"forwarding", loop, nil},
		{"and the table grows", nil, nil},
		{fmt.Sprintf("and %d services reload", p.Services), loop, []disturb{reload(bed)}},
		{fmt.Sprintf("and %d sessions/s replicate", p.Rate), loop, []disturb{replicated(p.Rate)}},
		{"and both", loop, []disturb{reload(bed), replicated(p.Rate)}},
	}
	for _, s := range scenarios {
		row := measure.Row{Case: measure.Case("scenario", s.name)}
		for round := range min(run.Rounds, 3) {
			run.Say("%s: round %d", s.name, round+1)
			if err := p.round(ctx, &row, s); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		run.Add(row)
	}
	run.Note("The time of each turn of a worker's loop, a batch of 64 frames each, and what of it was over a\n" +
		"millisecond, with the Go runtime and the thread's priority set as a director sets them (the latter needs root).\n" +
		"Replication is both ends of it, in this process, on the machine's cores. On a machine that others use the loop\n" +
		"that does nothing is what to compare with.")
	return nil
}

// scenario is a loop and what disturbs it; without a loop, one that makes its table grow.
type scenario struct {
	name string
	loop func() error
	by   []disturb
}

func (p *Plan) round(ctx context.Context, row *measure.Row, s scenario) (err error) {
	if s.loop == nil {
		small, err := pipeline.New(pipeline.Options{Sessions: 1 << 10})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, small.Close()) }()
		s.loop = growing(small)
	}
	return p.sample(ctx, row, s.loop, s.by)
}

func (p *Plan) sample(ctx context.Context, row *measure.Row, loop func() error, by []disturb) error {
	var stop atomic.Bool
	type outcome struct {
		done int
		err  error
	}
	outcomes, going := make(chan outcome, len(by)), make(chan struct{}, 2*len(by))
	ready := func() { going <- struct{}{} }
	for _, d := range by {
		go func() {
			n, err := d(ready, &stop)
			outcomes <- outcome{n, err}
			ready() // also when it failed before
		}()
	}
	for range by {
		<-going
	}
	h, err := turns(ctx, p.Duration, loop)
	stop.Store(true)
	for range by {
		o := <-outcomes
		err = errors.Join(err, o.err)
		if o.err == nil && o.done == 0 {
			err = errors.Join(err, errors.New("nothing disturbed it"))
		}
	}
	if err != nil {
		return err
	}
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	for _, q := range []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}} {
		row.Add(q.name, "us", measure.Less, us(h.Quantile(q.share)))
	}
	row.Add("max", "us", measure.Less, us(h.most))
	row.Add("over 1 ms", "ppm", measure.Less, 1e6*h.Over(time.Millisecond))
	return nil
}

// turns runs the loop on a thread of its own and times each turn.
func turns(ctx context.Context, d time.Duration, loop func() error) (*Histogram, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if undo, err := tuning.PreferThread(); err == nil { // else at the rank that there is, as a director would
		defer undo()
	}
	h := &Histogram{}
	begin := time.Now()
	last := begin
	for last.Sub(begin) < d {
		if err := loop(); err != nil {
			return nil, err
		}
		now := time.Now()
		h.Add(now.Sub(last))
		last = now
		if h.n&1023 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return h, nil
}

// mostNew is how far the table grows.
const mostNew = 4 << 20

// growing starts a batch of sessions in every turn, and goes on with resident ones when there are enough.
func growing(bed *pipeline.Bed) func() error {
	fresh := 0
	return func() error {
		if fresh += 64; fresh > mostNew {
			bed.Batch()
			return nil
		}
		return bed.New(64)
	}
}

// reload changes a weight of every service and stores the new snapshot, over and over.
func reload(bed *pipeline.Bed) disturb {
	return func(going func(), stop *atomic.Bool) (done int, err error) {
		going()
		for !stop.Load() && err == nil {
			err = bed.Reload()
			done++
		}
		return done, err
	}
}

// replicated has two directors of this process tell each other of sessions that begin and end.
func replicated(rate int) disturb {
	return func(going func(), stop *atomic.Bool) (done int, err error) {
		from, to, err := standby.Pair()
		if err != nil {
			return 0, err
		}
		defer to.Close()
		defer from.Close()
		going()
		return standby.Churn(from, rate, stop.Load), nil
	}
}
