package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ulvs/bench/measure"
	"ulvs/lvs"
)

// Plan is which cases are measured: each method with each number of sessions, and the sets of single cases.
type Plan struct {
	Methods    []lvs.Method
	Sessions   []int
	Hot        int      // also with so many of the largest table's sessions drawn; 0: no
	V6         bool     // also IPv6, DR, at every size
	Workers    int      // also with so many workers at the largest size, DR; 0 or 1: no
	Schedulers []string // new sessions by each, of Servers real servers
	Servers    int
	Services   []int // DR with the middle size's sessions spread over so many services
	Still      bool  // the clock stands
}

// Short is measured in less than half a minute on a quiet machine.
func Short() Plan {
	return Plan{
		Methods: []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN}, Sessions: []int{1, 64 << 10, 1 << 20}, Hot: 4096,
		Workers: 2, Schedulers: []string{"rr", "wlc", "mh"}, Servers: 100,
	}
}

// Full is every size and family; it takes some minutes and two gigabytes.
func Full() Plan {
	p := Short()
	p.Sessions, p.V6 = []int{1, 1 << 10, 64 << 10, 512 << 10, 1 << 20, 10 << 20}, true
	p.Schedulers = []string{"rr", "wrr", "lc", "wlc", "sh", "dh", "mh", "sed", "nq", "lblc", "lblcr", "twos"}
	p.Services = Growth().Services
	return p
}

// Growth is how the cost of a packet grows with sessions and services.
func Growth() Plan {
	return Plan{
		Methods:  []lvs.Method{lvs.MethodDR},
		Sessions: []int{1 << 10, 8 << 10, 64 << 10, 512 << 10, 1 << 20, 4 << 20, 10 << 20},
		Services: []int{1, 10, 100, 1000, 10_000},
	}
}

// Case is one row to come.
type Case struct {
	Options
	Hits, New bool
}

// Cases lists the rows of the plan.
func (p *Plan) Cases() (list []Case) {
	add := func(o Options, hits bool) {
		o.Still = p.Still
		list = append(list, Case{o, hits, true})
	}
	largest, middle := slices.Max(p.Sessions), p.Sessions[len(p.Sessions)/2]
	for _, m := range p.Methods {
		for _, n := range p.Sessions {
			add(Options{Method: m, Sessions: n}, true)
		}
		if p.Hot > 0 && p.Hot < largest {
			add(Options{Method: m, Sessions: largest, Hot: p.Hot}, true)
		}
	}
	for _, n := range p.Sessions {
		if p.V6 {
			add(Options{V6: true, Sessions: n}, true)
		}
	}
	if p.Workers > 1 {
		add(Options{Sessions: largest, Workers: p.Workers}, true)
	}
	for _, name := range p.Schedulers {
		add(Options{Scheduler: name, Servers: p.Servers, Sessions: middle}, false)
	}
	for _, n := range p.Services {
		add(Options{Services: n, Sessions: max(middle, n)}, true)
	}
	return list
}

// mostNew is how many sessions are begun before they are removed, off the clock.
const mostNew = 256 << 10

// Measure measures every case of the plan.
func Measure(ctx context.Context, run *measure.Run, p Plan) error {
	run.Result.Plot = measure.Plot{X: "sessions", Metric: "packet"}
	run.Result.Settings["clock"] = "runs"
	if p.Still {
		run.Result.Settings["clock"] = "stands"
	}
	for _, c := range p.Cases() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.measure(run); err != nil {
			return fmt.Errorf("%s with %d sessions: %w", c.Method, c.Sessions, err)
		}
	}
	return note(run)
}

// row names the case: what is not the default stands in its variant.
func (c *Case) row() measure.Row {
	o := c.withDefaults()
	family := "ipv4"
	if o.V6 {
		family = "ipv6"
	}
	var words []string
	if o.Hot < o.Sessions {
		words = append(words, measure.Count(o.Hot)+" of them hot")
	}
	if o.Workers > 1 {
		words = append(words, fmt.Sprint(o.Workers, " workers"))
	}
	if !c.Hits {
		words = append(words, fmt.Sprint(o.Scheduler, " of ", o.Servers))
	}
	if c.Services > 0 {
		words = append(words, fmt.Sprint(o.Services, " services"))
	}
	variant := strings.Join(words, ", ")
	return measure.Row{Case: measure.Case("method", o.Method, "family", family, "variant", variant,
		"sessions", measure.Count(o.Sessions))}
}

func (c *Case) measure(run *measure.Run) error {
	row := c.row()
	run.Say("%s: establishing", row.Name())
	bed, err := New(c.Options)
	if err != nil {
		return err
	}
	err = c.times(run, &row, bed)
	run.Add(row)
	return errors.Join(err, bed.Close())
}

func (c *Case) times(run *measure.Run, row *measure.Row, bed *Bed) error {
	workers := bed.opts.Workers
	run.Threads = workers > 1
	defer func() { run.Threads = false }()
	if c.Hits {
		run.Say("%s: packets", row.Name())
		err := run.Samples(row, "packet", func(n int) error { return bed.Hits(n / workers) }, nil)
		if err != nil {
			return err
		}
	}
	if c.New {
		run.Say("%s: new sessions", row.Name())
		err := run.SamplesUpTo(mostNew, row, "new", func(n int) error { return bed.New(n / workers) }, bed.Forget)
		if err != nil {
			return err
		}
		for _, ns := range row.Metric("new").Samples {
			row.Add("new sessions", "/s", measure.More, 1e9/ns)
		}
	}
	return nil
}

// note tells what of each figure is the generator's.
func note(run *measure.Run) error {
	bed, err := New(Options{})
	if err != nil {
		return err
	}
	defer func() { _ = bed.Close() }()
	var row measure.Row
	if err := run.Samples(&row, "frame", bed.Generate, nil); err != nil {
		return err
	}
	run.Note("packet: a 64-byte TCP frame (74 in IPv6) of a session drawn at random, parsed, looked up, rewritten and\n"+
		"sent in memory, in batches of 64; %.1f ns of its CPU time is this benchmark making the frame. new: a SYN that\n"+
		"is scheduled to a real server. nat: half of the packets are replies. With several workers figures are of all\n"+
		"together. Interfaces cost extra: ulvs bench forward.", row.Metric("frame cpu").Median())
	return nil
}
