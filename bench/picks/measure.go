package picks

import (
	"context"

	"ulvs/bench/measure"
)

// Plan is which lists are measured.
type Plan struct {
	Schedulers []string
	Servers    []int
}

// Short takes some seconds.
func Short() Plan { return Plan{Names(), []int{10, 10_000}} }

// Full has every length.
func Full() Plan { return Plan{Names(), []int{10, 100, 1000, 10_000}} }

// Cases is how many rows there will be.
func (p *Plan) Cases() int { return len(p.Schedulers) * len(p.Servers) }

// mostEdits bounds the edits of a sample: some schedulers build a table for each.
const mostEdits = 64

// Measure measures every case of the plan.
func Measure(ctx context.Context, run *measure.Run, p Plan) error {
	run.Result.Plot = measure.Plot{X: "servers", Metric: "session"}
	for _, name := range p.Schedulers {
		for _, n := range p.Servers {
			if err := ctx.Err(); err != nil {
				return err
			}
			row := measure.Row{Case: measure.Case("scheduler", name, "servers", n)}
			run.Say("%s", row.Name())
			bed, err := New(name, n)
			if err != nil {
				return err
			}
			if err := run.Samples(&row, "pick", bed.Pick, nil); err != nil {
				return err
			}
			if err := run.Samples(&row, "session", bed.Sessions, nil); err != nil {
				return err
			}
			if err := edits(run, &row, bed); err != nil {
				return err
			}
			run.Add(row)
		}
	}
	run.Note("pick: to choose among real servers of weights 1 to 8. session: with the counting of one session that\n" +
		"begins and one that ends. edit: one weight changed, off the packets' path.")
	return nil
}

func edits(run *measure.Run, row *measure.Row, bed *Bed) error {
	for n := 1; ; n *= 8 {
		t, err := measure.Time(n, bed.Edit)
		if err != nil {
			return err
		}
		if n >= mostEdits || t.Wall*float64(n) > float64(run.Sample.Nanoseconds())/4 {
			row.Add("edit", "us", measure.Less, t.Wall/1000)
			return nil
		}
	}
}
