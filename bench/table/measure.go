package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ulvs/bench/measure"
)

// Plan is which tables are measured.
type Plan struct {
	Kinds    []Kind
	Sessions []int
	Grow     int // inserts that are timed one by one while the index doubles from its smallest size
}

// Short takes a few seconds.
func Short() Plan {
	return Plan{Kinds: Kinds[:2], Sessions: []int{1 << 10, 64 << 10, 1 << 20}, Grow: 1 << 20}
}

// Full is every kind and size up to 16 Mi; it takes minutes and up to four gigabytes.
func Full() Plan {
	sizes := []int{1 << 10, 64 << 10, 512 << 10, 1 << 20, 4 << 20, 10 << 20, 16 << 20}
	return Plan{Kinds: Kinds, Sessions: sizes, Grow: 4 << 20}
}

// Cases is how many rows there will be.
func (p *Plan) Cases() int { return len(p.Kinds)*(len(p.Sessions)+1) + 1 }

// Measure measures every case of the plan.
func Measure(ctx context.Context, run *measure.Run, p Plan) error {
	run.Result.Plot = measure.Plot{X: "sessions", Metric: "find"}
	for _, k := range p.Kinds {
		for _, n := range p.Sessions {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := measureSize(run, k, n); err != nil {
				return fmt.Errorf("%s, %d sessions: %w", k.Name, n, err)
			}
		}
		if err := measureMemory(run, k, slices.Max(p.Sessions)); err != nil {
			return fmt.Errorf("%s, memory: %w", k.Name, err)
		}
	}
	run.Note("insert, remove: one at a time. find: in batches of 64, as packets are looked up; one: each by itself, to\n" +
		"see what batching saves. sweep: to look at an entry for its expiry. A NAT session is in the index twice.\n" +
		"memory: at the load that is shown, index and entries together.")
	return measureGrowth(run, p.Grow)
}

// bitsFor sizes a table as conn_tab_bits would be chosen, at most 8 Mi: more has to grow into it.
func bitsFor(n int) uint8 {
	bits := uint8(10)
	for 1<<bits < n && bits < 23 {
		bits++
	}
	return bits
}

func measureSize(run *measure.Run, k Kind, n int) error {
	row := measure.Row{Case: measure.Case("kind", k.Name, "sessions", measure.Count(n))}
	run.Say("%s: filling", row.Name())
	b, err := New(k, bitsFor(n))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	if err := b.Insert(n); err != nil {
		return err
	}
	err = errors.Join(
		run.Samples(&row, "find", func(n int) error { return b.Find(n, batch) }, nil),
		run.Samples(&row, "one", func(n int) error { return b.Find(n, 1) }, nil),
		churn(run, &row, b, min(n/2, 64<<10)),
	)
	for range run.Rounds {
		begin := time.Now()
		looked := b.Sweep()
		row.Add("sweep", "ns", measure.Less, float64(time.Since(begin).Nanoseconds())/float64(max(looked, 1)))
	}
	row.Add("memory", "B", measure.Less, b.BytesEach())
	row.Add("load", "%", measure.Less, 100*b.Load())
	run.Add(row)
	return err
}

// churn measures insert and remove in turns of n.
func churn(run *measure.Run, row *measure.Row, b *Bed, n int) error {
	for range run.Rounds {
		out, err := measure.Time(n, b.Remove)
		if err != nil {
			return err
		}
		in, err := measure.Time(n, b.Insert)
		if err != nil {
			return err
		}
		row.Add("insert", "ns", measure.Less, in.Wall)
		row.Add("insert cpu", "ns", measure.Less, in.CPU)
		row.Add("remove", "ns", measure.Less, out.Wall)
	}
	return nil
}

// fullLoad is where memory is stated: three quarters of the index in use.
const fullLoad = 0.75

// measureMemory fills a table that does not grow to three quarters.
func measureMemory(run *measure.Run, k Kind, n int) error {
	row := measure.Row{Case: measure.Case("kind", k.Name, "sessions", "at 75 %")}
	run.Say("%s", row.Name())
	b, err := New(k, min(bitsFor(n), 20))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	for b.Load() < fullLoad && b.count < 16<<20 {
		if err := b.Insert(4096); err != nil {
			return err
		}
	}
	row.Add("memory", "B", measure.Less, b.BytesEach())
	row.Add("load", "%", measure.Less, 100*b.Load())
	run.Add(row)
	return nil
}

// measureGrowth tells what single inserts take while the table grows from its smallest size.
func measureGrowth(run *measure.Run, n int) error {
	row := measure.Row{Case: measure.Case("kind", Kinds[0].Name, "sessions", "0 to "+measure.Count(n))}
	run.Say("%s: growing", row.Name())
	for range min(run.Rounds, 3) {
		took, err := Grow(Kinds[0], n)
		if err != nil {
			return err
		}
		slices.Sort(took)
		for _, q := range []struct {
			name  string
			above int
		}{{"p50", n / 2}, {"p99", n / 100}, {"p99.9", n / 1000}, {"max", 1}} {
			row.Add(q.name, "ns", measure.Less, float64(took[n-max(q.above, 1)]))
		}
	}
	run.Add(row)
	return nil
}
