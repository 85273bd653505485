package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ulvs/bench/measure"
	"ulvs/bench/site"
	"ulvs/test/lab"
)

// clients is how many connections are open at a time.
const clients = 32

// options of a race.
type options struct {
	binary string
	rounds int
	quick  bool
	only   string // a contender's name or a part of some; empty: all
	slice  time.Duration
}

// race is all contenders in one lab.
type race struct {
	options
	site *site.Site
	run  *measure.Run
	rows map[string]*measure.Row
}

func sqrt(x float64) float64 { return math.Sqrt(x) }

// hold makes the race. What it returns besides an error is complete as far as it goes.
func hold(ctx context.Context, run *measure.Run, o options) (err error) {
	r := &race{options: o, run: run, rows: map[string]*measure.Row{}}
	run.Say("building the lab")
	if r.site, err = site.Up(ctx, o.binary, lab.Options{Prefix: "ulvs-versus"}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.site.Close()) }()
	if err := r.prepare(); err != nil {
		return err
	}
	list := r.chosen()
	var failed []error // a turn's; the others go on
	for round := range o.rounds {
		for i := range list {
			c := &list[(i+round)%len(list)] // nobody is always first
			if err := ctx.Err(); err != nil {
				return r.finish(list, errors.Join(append(failed, err)...))
			}
			r.run.Say("round %d of %d: %s", round+1, o.rounds, c.name)
			if err := r.turn(ctx, c, round); err != nil {
				failed = append(failed, fmt.Errorf("round %d: %w", round+1, err))
			}
		}
	}
	return r.finish(list, errors.Join(failed...))
}

// prepare starts the servers, and gives the client routes to them through d1 and all ports there are.
func (r *race) prepare() error {
	if err := r.site.Serve(lab.PortEcho, 2); err != nil { // two: 33 000 idle connections each
		return err
	}
	if err := serveBulk(r.site); err != nil {
		return err
	}
	a := r.site.Addresses()
	for _, real := range a.Reals {
		if err := r.site.Shell("c1", "ip", "route", "add", real.Addr.IPv4.String(), "via",
			a.Directors[0].Client.IPv4.String()); err != nil {
			return err
		}
	}
	for _, ns := range []string{"c1", "d1"} {
		if err := r.site.Shell(ns, "sysctl", "-qw", "net.ipv4.ip_local_port_range=2000 61000"); err != nil {
			return err
		}
	}
	return nil
}

func (r *race) chosen() (list []contender) {
	all := contenders()
	exact := slices.ContainsFunc(all, func(c contender) bool { return c.name == r.only })
	for _, c := range all {
		if c.name == kernelForwarding().name || c.name == r.only || !exact && strings.Contains(c.name, r.only) {
			list = append(list, c)
			row := c.row()
			r.rows[c.name] = &row
		}
	}
	return list
}

// turn starts a contender, takes a sample of everything, proves that it was its, and stops it.
func (r *race) turn(ctx context.Context, c *contender, round int) (err error) {
	running, err := c.start(ctx, r.site)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	defer func() { err = errors.Join(err, running.stop()) }()
	before, err := r.site.KernelForwarded("d1")
	if err != nil {
		return err
	}
	v := &visit{race: r, c: c, r: &running, row: r.rows[c.name]}
	if err := v.measure(ctx); err != nil {
		return err
	}
	if round == 0 {
		if err := errors.Join(v.idle(ctx), v.settle(ctx)); err != nil {
			return fmt.Errorf("%s: idle connections: %w", c.name, err)
		}
	}
	return prove(r.site, c, &running, v.ops, before)
}

// finish puts the rows into the result.
func (r *race) finish(list []contender, err error) error {
	for i := range list {
		r.run.Add(*r.rows[list[i].name])
	}
	return err
}

// ratios divides every sample by the control's of the same round.
func ratios(r *measure.Result) *measure.Result {
	out := *r
	out.Rows, out.Notes = nil, nil
	if len(r.Rows) == 0 {
		return &out
	}
	control := &r.Rows[0]
	for i := range r.Rows {
		row := measure.Row{Case: r.Rows[i].Case}
		for k := range r.Rows[i].Metrics {
			m := &r.Rows[i].Metrics[k]
			base := control.Metric(m.Name)
			if base == nil || m.Name == "failed" || m.Unit == "conns" || m.Unit == "B/conn" {
				continue
			}
			for n := range min(len(m.Samples), len(base.Samples)) {
				if base.Samples[n] > 0 {
					row.Add(m.Name, "x", m.Better, m.Samples[n]/base.Samples[n])
				}
			}
		}
		out.Rows = append(out.Rows, row)
	}
	return &out
}
