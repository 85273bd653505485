// Package frames measures frames through a director's real interfaces: how many it forwards without loss, and
// the CPU time of each. A generator and a sink on AF_XDP are at both ends, in a lab of network namespaces that it
// makes itself or on two interfaces that it is given.
package frames

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"ulvs/bench/measure"
	"ulvs/bench/site"
	"ulvs/bench/wire"
	"ulvs/lvs"
	"ulvs/test/lab"
)

// Plan is what is measured.
type Plan struct {
	Given   *Given       // interfaces; nil: the lab
	Methods []lvs.Method // of the lab
	IO      []string     // of the lab
	Sizes   []int        // bytes of a frame
	Flows   int
	Sample  time.Duration
	Steps   int    // of the search for the highest rate without loss
	Binary  string // ulvs, for the lab; empty: this executable
}

// Given is a director between two interfaces of this host.
type Given struct {
	Generate wire.Options
	Sink     wire.SinkOptions
}

// Short is measured in less than half a minute.
func Short() Plan {
	return Plan{
		Methods: []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN}, IO: []string{"afxdp"}, Sizes: []int{60},
		Flows: 1024, Sample: 250 * time.Millisecond, Steps: 5,
	}
}

// Full has both backends and large frames.
func Full() Plan {
	p := Short()
	p.IO, p.Sizes, p.Sample, p.Steps = []string{"afxdp", "asavie"}, []int{60, 1400}, time.Second, 8
	return p
}

// Cases is how many rows there will be.
func (p *Plan) Cases() int {
	if p.Given != nil {
		return len(p.Sizes)
	}
	return len(p.Methods) * len(p.IO) * len(p.Sizes)
}

// path is one way through a director.
type path struct {
	generate func(ctx context.Context, o wire.Options) (*wire.Report, error)
	sink     func(ctx context.Context) (stop func() (*wire.Counted, error), err error)
	pid      int // of the director; 0: unknown
	o        wire.Options
}

// Measure measures every case of the plan.
func Measure(ctx context.Context, run *measure.Run, p Plan) error {
	run.Result.Plot = measure.Plot{Metric: "no loss"}
	run.Result.Settings["flows"] = fmt.Sprint(p.Flows)
	run.Note("offered, through: frames sent as fast as can be, and what arrived of them. no loss: the highest rate\n" +
		"found of which at most one frame in a thousand was lost. all: CPU time of this whole machine for a frame at half\n" +
		"of that, ends and soft interrupts included, less what foreign processes used.")
	if p.Given != nil {
		return p.given(ctx, run)
	}
	return p.inLab(ctx, run)
}

func (p *Plan) given(ctx context.Context, run *measure.Run) error {
	g := p.Given
	run.Result.Settings["generator"] = g.Generate.Interface + " " + measure.Driver(g.Generate.Interface)
	run.Result.Settings["sink"] = g.Sink.Interface + " " + measure.Driver(g.Sink.Interface)
	for _, size := range p.Sizes {
		o := g.Generate
		o.Size, o.Flows = size, p.Flows
		row := measure.Row{Case: measure.Case("path", g.Generate.Interface+" to "+g.Sink.Interface, "bytes", size)}
		err := p.row(ctx, run, &row, &path{generate: wire.Generate, sink: here(g.Sink), o: o})
		if err != nil {
			return err
		}
		run.Add(row)
	}
	return nil
}

// here is a sink of this process.
func here(o wire.SinkOptions) func(context.Context) (func() (*wire.Counted, error), error) {
	return func(ctx context.Context) (func() (*wire.Counted, error), error) {
		ctx, cancel := context.WithCancel(ctx)
		type outcome struct {
			c   *wire.Counted
			err error
		}
		ready, done := make(chan struct{}), make(chan outcome, 1)
		go func() {
			c, err := wire.Sink(ctx, o, func() { close(ready) })
			done <- outcome{c, err}
		}()
		select {
		case <-ready:
			return func() (*wire.Counted, error) { cancel(); out := <-done; return out.c, out.err }, nil
		case out := <-done:
			cancel()
			return nil, out.err
		}
	}
}

func (p *Plan) inLab(ctx context.Context, run *measure.Run) (err error) {
	run.Say("building a lab")
	s, err := site.Up(ctx, p.Binary, lab.Options{Prefix: "ulvs-bench", RealServers: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	run.Result.Settings["links"] = "veth, offloads off, XDP copy mode"
	if err := s.Shell("r1", "ip", "link", "set", "e0", "xdp", "off"); err != nil { // the lab's own program
		return err
	}
	for _, io := range p.IO {
		for _, m := range p.Methods {
			if err := p.method(ctx, run, s, m, io); err != nil {
				return fmt.Errorf("%s, %s: %w", m, io, err)
			}
		}
	}
	run.Note("director: CPU time of its process for a frame.\n" +
		"The lab is virtual links on this machine's own cores: generator, director and sink share them.")
	return nil
}

func (p *Plan) method(ctx context.Context, run *measure.Run, s *site.Site, m lvs.Method, io string) (err error) {
	d, err := s.Direct(ctx, "d1", s.Config(lab.ConfigOptions{Methods: []lvs.Method{m}, Family: 4, IO: io}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	a := s.Addresses()
	mac, err := s.MAC("d1", "c0")
	if err != nil {
		return err
	}
	for _, size := range p.Sizes {
		x := &path{pid: d.PID(), sink: sinkOf(s, &a), generate: generatorOf(s), o: wire.Options{
			Interface: "c0", To: netip.AddrPortFrom(a.VIP(m).IPv4, lab.PortEcho), MAC: mac,
			From: a.Clients[0].IPv4, Size: size, Flows: min(p.Flows, 64*len(a.Clients)),
		}}
		row := measure.Row{Case: measure.Case("path", "ulvs "+m.String(), "io", io, "bytes", size)}
		if err := p.row(ctx, run, &row, x); err != nil {
			return err
		}
		run.Add(row)
	}
	_, kernel, err := d.Carried(ctx)
	if err == nil && kernel > 0 {
		err = fmt.Errorf("the kernel forwarded %d packets: the figures are not ulvs's", kernel)
	}
	return err
}

func generatorOf(s *site.Site) func(context.Context, wire.Options) (*wire.Report, error) {
	return func(ctx context.Context, o wire.Options) (*wire.Report, error) {
		r := &wire.Report{}
		return r, s.Run(ctx, "c1", r, "generate", "--interface", o.Interface, "--to", o.To.String(), "--mac",
			o.MAC.String(),
			"--from", o.From.String(), "--flows", fmt.Sprint(o.Flows), "--size", fmt.Sprint(o.Size),
			"--rate", fmt.Sprint(o.Rate), "--time", o.Duration.String())
	}
}

func sinkOf(s *site.Site, a *lab.Addresses) func(context.Context) (func() (*wire.Counted, error), error) {
	return func(context.Context) (func() (*wire.Counted, error), error) {
		p, err := s.Start("r1", "ready", s.Binary, "bench", "load", "sink", "--interface", "e0", "--port",
			fmt.Sprint(lab.PortEcho), "--address", a.DR.IPv4.String(), "--address", a.Reals[0].Addr.IPv4.String())
		if err != nil {
			return nil, err
		}
		return func() (*wire.Counted, error) {
			if err := p.Stop(); err != nil {
				return nil, err
			}
			c := &wire.Counted{}
			if err := json.Unmarshal([]byte(p.Log()), c); err != nil {
				return nil, fmt.Errorf("sink: %w: %s", err, p.Log())
			}
			return c, nil
		}, nil
	}
}

// row takes every sample of one path.
func (p *Plan) row(ctx context.Context, run *measure.Run, row *measure.Row, x *path) error {
	for round := range min(run.Rounds, 3) {
		run.Say("%s: round %d", row.Name(), round+1)
		flood, err := p.flood(ctx, x)
		if err != nil {
			return err
		}
		row.Add("offered", "/s", measure.More, flood.offered)
		row.Add("through", "/s", measure.More, flood.through)
		best, err := p.search(ctx, x, flood)
		if err != nil {
			return err
		}
		row.Add("no loss", "/s", measure.More, best)
		half, err := p.sample(ctx, x, int(max(best/2, 1000)))
		if err != nil {
			return err
		}
		if x.pid > 0 {
			row.Add("director", "ns", measure.Less, half.director)
		}
		row.Add("all", "ns", measure.Less, half.all)
	}
	return nil
}

// tries is how often a flood of which nothing came through is made again: on a busy machine a sample may pass so.
const tries = 5

// flood sends as fast as can be.
func (p *Plan) flood(ctx context.Context, x *path) (s sampled, err error) {
	for range tries {
		if s, err = p.sample(ctx, x, 0); err != nil || s.through > 0 {
			return s, err
		}
	}
	return s, errors.New("nothing came through: is the director there, and the sink where it sends to?")
}

// noLoss is the share of frames that may be lost all the same.
const noLoss = 0.001

// search finds the highest rate without loss, between nothing and what went through a flood.
func (p *Plan) search(ctx context.Context, x *path, flood sampled) (best float64, err error) {
	low, high := 1000.0, max(flood.offered, 2000)
	for range p.Steps {
		rate := math.Sqrt(low * high)
		s, err := p.sample(ctx, x, int(rate))
		if err != nil {
			return 0, err
		}
		if s.offered-s.through <= noLoss*s.offered {
			best, low = max(best, s.through), rate
		} else {
			high = rate
		}
	}
	return best, nil
}

// sampled is one rate's outcome: frames per second, and ns of CPU time for each that came through.
type sampled struct{ offered, through, director, all float64 }

func (p *Plan) sample(ctx context.Context, x *path, rate int) (out sampled, err error) {
	stop, err := x.sink(ctx)
	if err != nil {
		return out, err
	}
	o := x.o
	o.Rate, o.Duration = rate, p.Sample
	cpu, own := measure.Work(), processCPU(x.pid)
	r, err := x.generate(ctx, o)
	cpu, own = measure.Work()-cpu, processCPU(x.pid)-own
	c, stopErr := stop()
	if err := errors.Join(err, stopErr); err != nil {
		return out, err
	}
	got := float64(c.Received + c.Dropped)
	return sampled{
		offered: float64(r.Sent) / r.Seconds, through: got / r.Seconds,
		director: own * 1e9 / max(got, 1), all: cpu * 1e9 / max(got, 1),
	}, nil
}

// processCPU is the CPU time of a process's threads in seconds, as fine as the scheduler counts.
func processCPU(pid int) float64 {
	total := 0.0
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range tasks {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name()))
		word, _, _ := strings.Cut(string(text), " ")
		ns, _ := strconv.ParseFloat(word, 64)
		total += ns / 1e9
	}
	return total
}
