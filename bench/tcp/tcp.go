// Package tcp measures TCP through ulvs: connections and requests per second, what they take, and the CPU time
// of the whole machine for each. It drives an address that it is given, or a lab of its own: a client, a director
// and three real servers in network namespaces, with the kernel's own forwarding beside it to compare with.
package tcp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"ulvs/bench/load"
	"ulvs/bench/measure"
	"ulvs/bench/site"
	"ulvs/lvs"
	"ulvs/test/lab"
)

// Plan is what is measured.
type Plan struct {
	Targets     []netip.AddrPort // given addresses; none: the lab
	HTTP        bool             // they are web servers
	Connections int              // at a time
	Methods     []lvs.Method     // of the lab
	IO          []string         // of the lab: afxdp, asavie
	Sample      time.Duration    // of each sample
	Binary      string           // ulvs, for the lab; empty: this executable
}

// Short is measured in less than half a minute.
func Short() Plan {
	return Plan{
		Connections: 32, Methods: []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN}, IO: []string{"afxdp"},
		Sample: 700 * time.Millisecond,
	}
}

// Full has both I/O backends and longer samples.
func Full() Plan {
	p := Short()
	p.IO, p.Sample = []string{"afxdp", "asavie"}, 2*time.Second
	return p
}

// Cases is how many rows there will be.
func (p *Plan) Cases() int {
	if len(p.Targets) > 0 {
		return 1
	}
	return 1 + len(p.Methods)*len(p.IO)
}

// client runs a load; ns is where.
type client func(ctx context.Context, o load.Options) (*load.Report, error)

// Measure measures every case of the plan.
func Measure(ctx context.Context, run *measure.Run, p Plan) error {
	run.Result.Plot = measure.Plot{Metric: "connections"}
	run.Result.Settings["connections"] = fmt.Sprint(p.Connections)
	run.Result.Settings["sample"] = p.Sample.String()
	run.Note("connections: opened, one 64-byte request answered, closed by the server. requests: on connections that " +
		"stay. p50 to p99.9:\nof a request on one connection alone. cpu: of the whole machine, both ends and soft " +
		"interrupts " +
		"included,\nless what foreign processes used.")
	if len(p.Targets) == 0 {
		return inLab(ctx, run, p)
	}
	row := measure.Row{Case: measure.Case("target", p.Targets[0])}
	_, err := p.row(ctx, run, &row, p.Targets, load.Run)
	run.Add(row)
	return err
}

// inLab measures the methods, and the kernel's forwarding.
func inLab(ctx context.Context, run *measure.Run, p Plan) (err error) {
	run.Say("building a lab")
	s, err := site.Up(ctx, p.Binary, lab.Options{Prefix: "ulvs-bench"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Serve(lab.PortEcho, 1); err != nil {
		return err
	}
	run.Result.Settings["links"] = "veth, offloads off, XDP copy mode"
	row := measure.Row{Case: measure.Case("path", "kernel forwarding", "io", "-")}
	if _, err := p.row(ctx, run, &row, Direct(s), inside(s)); err != nil {
		return err
	}
	run.Add(row)
	for _, io := range p.IO {
		for _, m := range p.Methods {
			if err := p.method(ctx, run, s, m, io); err != nil {
				return fmt.Errorf("%s, %s: %w", m, io, err)
			}
		}
	}
	run.Note("The lab is virtual links on this machine's own cores: client, director and servers share them. Compare " +
		"rows of one run.")
	return nil
}

// Direct is where the real servers are reached through the gateway's kernel, without a director.
func Direct(s *site.Site) (list []netip.AddrPort) {
	for _, r := range s.Addresses().Reals {
		list = append(list, netip.AddrPortFrom(r.Direct.IPv4, lab.PortEcho))
	}
	return list
}

// inside runs clients in the site's client namespace, with all its addresses.
func inside(s *site.Site) client {
	return func(ctx context.Context, o load.Options) (*load.Report, error) {
		r := &load.Report{}
		return r, s.Run(ctx, "c1", r, ClientArgs(s, o)...)
	}
}

// ClientArgs is the command line of a client in the site.
func ClientArgs(s *site.Site, o load.Options) []string {
	args := []string{
		"client", "--mode", string(o.Mode), "--connections", fmt.Sprint(o.Parallel), "--time", o.Duration.String(),
	}
	for _, c := range s.Addresses().Clients {
		args = append(args, "--source", c.IPv4.String())
	}
	for _, t := range o.Targets {
		args = append(args, t.String())
	}
	return args
}

func (p *Plan) method(ctx context.Context, run *measure.Run, s *site.Site, m lvs.Method, io string) error {
	d, err := s.Direct(ctx, "d1", s.Config(lab.ConfigOptions{Methods: []lvs.Method{m}, Family: 4, IO: io}))
	if err != nil {
		return err
	}
	row := measure.Row{Case: measure.Case("path", "ulvs "+m.String(), "io", io)}
	addrs := s.Addresses()
	target := []netip.AddrPort{netip.AddrPortFrom(addrs.VIP(m).IPv4, lab.PortEcho)}
	ops, err := p.row(ctx, run, &row, target, inside(s))
	if err != nil {
		return errors.Join(err, d.Stop())
	}
	ulvs, kernel, err := d.Carried(ctx)
	if err == nil && (ulvs < uint64(ops) || kernel > 0) {
		err = fmt.Errorf("ulvs sent %d frames for %d operations and the kernel forwarded %d: these figures are not ulvs's",
			ulvs, ops, kernel)
	}
	run.Add(row)
	return errors.Join(err, d.Stop())
}

// row takes every sample of one path, and returns how many operations these were.
func (p *Plan) row(ctx context.Context, run *measure.Run, row *measure.Row, to []netip.AddrPort, c client) (ops int,
	err error) {
	for round := range min(run.Rounds, 3) {
		run.Say("%s: round %d", row.Name(), round+1)
		for _, sample := range []struct {
			name     string
			mode     load.Mode
			parallel int
		}{{"connections", load.Connect, p.Connections}, {"requests", load.Request, p.Connections}, {"", load.Request, 1}} {
			o := load.Options{
				Targets: to, Mode: sample.mode, Parallel: sample.parallel, Duration: p.Sample, HTTP: p.HTTP,
			}
			r, used, err := answered(ctx, c, o)
			if err != nil {
				return ops, err
			}
			ops += r.Ops
			add(row, sample.name, r, used)
		}
	}
	return ops, nil
}

// tries is how often a client that got no answer at all is run again: on a busy machine a sample may pass so.
const tries = 5

// answered runs a client, and returns the CPU seconds that it took.
func answered(ctx context.Context, c client, o load.Options) (r *load.Report, used float64, err error) {
	for range tries {
		cpu := measure.Work()
		r, err = c(ctx, o)
		if used = measure.Work() - cpu; err != nil || r.Ops > 0 {
			return r, used, err
		}
	}
	return r, used, fmt.Errorf("%s answers nothing: %d failed: %v", o.Targets[0], r.Failed, r.Errors)
}

func add(row *measure.Row, name string, r *load.Report, used float64) {
	if name == "" {
		row.Add("p50", "us", measure.Less, r.Latency.P50)
		row.Add("p99", "us", measure.Less, r.Latency.P99)
		row.Add("p99.9", "us", measure.Less, r.Latency.P999)
		return
	}
	row.Add(name, "/s", measure.More, float64(r.Ops)/r.Seconds)
	row.Add("cpu/"+name[:len(name)-1], "us", measure.Less, used*1e6/float64(r.Ops))
	row.Add("failed "+name, "", measure.Less, float64(r.Failed))
}
