package main

import (
	"errors"

	"ulvs/bench/measure"
	"ulvs/bench/picks"
	"ulvs/bench/pipeline"
	"ulvs/lvs"
)

// guarded is one case with its control.
type guarded struct {
	name    string
	ops     int // of a sample
	run     func(n int) error
	after   func() error // off the clock
	control *control
	close   func() error
}

// Sizes: one session is all in the nearest cache, a million in none.
const (
	few  = 1
	many = 1 << 20
)

// pipelines are the cases of packets and new sessions.
var pipelines = []struct {
	name string
	o    pipeline.Options
	new  bool
}{
	{"dr, one session", pipeline.Options{Sessions: few}, false},
	{"dr, 1Mi sessions", pipeline.Options{Sessions: many}, false},
	{"dr ipv6, 1Mi sessions", pipeline.Options{Sessions: many, V6: true}, false},
	{"nat, 1Mi sessions", pipeline.Options{Sessions: many, Method: lvs.MethodNAT}, false},
	{"tun, 1Mi sessions", pipeline.Options{Sessions: many, Method: lvs.MethodTUN}, false},
	{"dr, new sessions", pipeline.Options{Sessions: many, Scheduler: "wlc", Servers: 100}, true},
	{"nat, new sessions", pipeline.Options{Sessions: many, Method: lvs.MethodNAT}, true},
}

// makeCases makes them all; together they take about a gigabyte.
func makeCases() (list []*guarded, err error) {
	for i := range pipelines {
		p := &pipelines[i]
		bed, err := pipeline.New(p.o)
		if err != nil {
			return list, err
		}
		g := &guarded{name: p.name, ops: 256 << 10, run: bed.Hits, close: bed.Close}
		if p.new {
			g.ops, g.run, g.after = 64<<10, bed.New, bed.Forget
		}
		if g.control, err = newControl(p.o.Sessions); err != nil {
			return append(list, g), err
		}
		list = append(list, g)
	}
	bed, err := picks.New("wlc", 10_000)
	if err != nil {
		return list, err
	}
	g := &guarded{name: "wlc of 10 000 servers", ops: 64 << 10, run: bed.Sessions, close: func() error { return nil }}
	g.control, err = newControl(10_000)
	return append(list, g), err
}

func closeCases(list []*guarded) error {
	var errs []error
	for _, g := range list {
		errs = append(errs, g.close())
		if g.control != nil {
			errs = append(errs, g.control.close())
		}
	}
	return errors.Join(errs...)
}

// sample takes one of each in turn, the control before and after, and keeps the ratio.
func (g *guarded) sample(row *measure.Row) error {
	before, err := measure.Time(g.ops, g.control.run)
	if err != nil {
		return err
	}
	it, err := measure.Time(g.ops, g.run)
	if err != nil {
		return err
	}
	after, err := measure.Time(g.ops, g.control.run)
	if err != nil {
		return err
	}
	control := (before.CPU + after.CPU) / 2
	row.Add(cpuRatio, "", measure.Less, it.CPU/control)
	row.Add(wallRatio, "", measure.Less, 2*it.Wall/(before.Wall+after.Wall))
	row.Add("it", "ns", measure.Less, it.CPU)
	row.Add("control", "ns", measure.Less, control)
	if g.after != nil {
		return g.after()
	}
	return nil
}
