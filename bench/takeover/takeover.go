// Package takeover measures what clients see when a director dies and another takes over, and when it comes back:
// the longest gap of a stream of datagrams, and how many TCP connections did not survive. It builds a lab of two
// directors, and keepalived can be measured in their place.
package takeover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"ulvs/bench/measure"
	"ulvs/bench/site"
	"ulvs/lvs"
	"ulvs/test/lab"
)

// Plan is what is measured.
type Plan struct {
	Adverts     []time.Duration // intervals
	Connections int
	Keepalived  bool   // measure it, too: the VIP alone, echoed by the directors
	Binary      string // ulvs; empty: this executable
}

// Short is measured in less than half a minute.
func Short() Plan { return Plan{Adverts: []time.Duration{100 * time.Millisecond}, Connections: 50} }

// Full has more intervals, and keepalived.
func Full() Plan {
	return Plan{
		Adverts:     []time.Duration{30 * time.Millisecond, 100 * time.Millisecond, time.Second},
		Connections: 200, Keepalived: true,
	}
}

// Cases is how many rows there will be.
func (p *Plan) Cases() int {
	if p.Keepalived {
		return 4 * len(p.Adverts)
	}
	return 2 * len(p.Adverts)
}

// limit is far longer than anything takes.
const limit = time.Minute

// pair is two routers of a kind, the first with the higher priority.
type pair interface {
	name() string
	site() *site.Site
	start(ctx context.Context, name string, priority int, advert time.Duration) (*site.Process, error)
	master(ctx context.Context, name string) bool
	ready(ctx context.Context, name string) bool // to take over
	kill(name string, x *site.Process) error
}

// Measure measures every case of the plan.
func Measure(ctx context.Context, run *measure.Run, p Plan) (err error) {
	run.Result.Plot = measure.Plot{Metric: "gap"}
	run.Result.Settings["connections"] = fmt.Sprint(p.Connections)
	run.Say("building a lab")
	s, err := site.Up(ctx, p.Binary, lab.Options{Prefix: "ulvs-bench", Directors: 2, RealServers: 2})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	stop, err := s.ServeAll(ctx)
	if err != nil {
		return err
	}
	s.AtClose(stop)
	key, err := s.Write("sync.key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
	if err == nil {
		err = os.Chmod(key, 0o600)
	}
	if err != nil {
		return err
	}
	for _, advert := range p.Adverts {
		ulvs := &directors{s, key, map[string]*site.Director{}}
		if err := p.measure(ctx, run, ulvs, advert); err != nil {
			return err
		}
		if p.Keepalived {
			if err := p.measureKeepalived(ctx, run, s, advert); err != nil {
				return err
			}
		}
	}
	run.Note("gap: the longest time without an answer to a stream of 1000 datagrams a second. lost: TCP connections of\n"+
		"%d through the VIP that ended. killed: kill -9 of the master. back: it starts again and takes the VIP back.",
		p.Connections)
	return nil
}

// measure kills the master and has it come back, round after round.
func (p *Plan) measure(ctx context.Context, run *measure.Run, of pair, advert time.Duration) error {
	s, name := of.site(), of.name()
	killed := measure.Row{Case: measure.Case("what", name, "advert", advert, "event", "killed")}
	back := measure.Row{Case: measure.Case("what", name, "advert", advert, "event", "back")}
	second, err := of.start(ctx, "d2", 100, advert)
	if err != nil {
		return err
	}
	defer func() { _ = second.Stop() }()
	first, err := of.start(ctx, "d1", 200, advert)
	if err != nil {
		return err
	}
	defer func() { _ = first.Stop() }()
	if err := await(ctx, "d1 to be master", func() bool { return of.master(ctx, "d1") }); err != nil {
		return err
	}
	connections := p.Connections
	if name != "ulvs" {
		connections = 0
	}
	for round := range min(run.Rounds, 5) {
		run.Say("%s, adverts of %s: round %d", name, advert, round+1)
		x, err := newProbe(s, netip.AddrPortFrom(s.Addresses().DR.IPv4, lab.PortEcho), connections)
		if err != nil {
			return err
		}
		err = await(ctx, "both to be ready", func() bool { return of.ready(ctx, "d1") && of.ready(ctx, "d2") })
		if err == nil {
			err = errors.Join(settle(ctx), p.event(ctx, x, &killed, of, "d2", func() error {
				return errors.Join(of.kill("d1", first), first.Stop())
			}))
		}
		if err == nil {
			err = p.event(ctx, x, &back, of, "d1", func() error {
				first, err = of.start(ctx, "d1", 200, advert)
				return err
			})
		}
		x.close()
		if err != nil {
			return fmt.Errorf("%s, adverts of %s, round %d: %w", name, advert, round+1, err)
		}
	}
	run.Add(killed)
	run.Add(back)
	return nil
}

// settle lets new sessions reach the other director.
func settle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(500 * time.Millisecond):
		return nil
	}
}

// event does something and waits until the director named is master and traffic flows.
func (p *Plan) event(ctx context.Context, x *probe, row *measure.Row, of pair, to string, do func() error) error {
	lost, began := x.ended(), time.Now()
	if err := do(); err != nil {
		return err
	}
	if err := await(ctx, to+" to be master", func() bool { return of.master(ctx, to) }); err != nil {
		return err
	}
	if err := errors.Join(x.await(300), settle(ctx)); err != nil {
		return err
	}
	row.Add("gap", "ms", measure.Less, float64(x.datagrams.Gap(began).Microseconds())/1000)
	row.Add("lost", "", measure.Less, float64(x.ended()-lost))
	return nil
}

func await(ctx context.Context, what string, done func() bool) error {
	for end := time.Now().Add(limit); !done(); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %s for %s", limit, what)
		}
	}
	return nil
}

// directors are two ulvs that tell each other of their sessions.
type directors struct {
	s       *site.Site
	key     string
	running map[string]*site.Director
}

func (d *directors) name() string { return "ulvs" }

func (d *directors) site() *site.Site { return d.s }

func (d *directors) start(ctx context.Context, name string, priority int, advert time.Duration) (*site.Process, error) {
	a := d.s.Addresses()
	peer := a.Directors[0]
	if name == peer.Name {
		peer = a.Directors[1]
	}
	text := d.s.Config(lab.ConfigOptions{Director: name, Methods: []lvs.Method{lvs.MethodDR}, Family: 4})
	text += fmt.Sprintf("\n[[vrrp]]\nname = \"VI_1\"\ninterface = \"c0\"\nvirtual_router_id = 51\npriority = %d\n"+
		"advert_int = %q\nvips = [%q]\n\n[sync]\ninterface = \"s0\"\nkey_file = %q\npeers = [%q]\n",
		priority, advert, a.DR.IPv4, d.key, peer.Server.IPv4)
	x, err := d.s.Direct(ctx, name, text)
	if err != nil {
		return nil, err
	}
	d.running[name] = x
	return x.Process, nil
}

func (d *directors) master(ctx context.Context, name string) bool {
	v, err := d.running[name].VRRP(ctx)
	return err == nil && len(v.Instances) > 0 && v.Instances[0].State == "MASTER"
}

func (d *directors) ready(ctx context.Context, name string) bool {
	v, err := d.running[name].Sync(ctx)
	return err == nil && v.Ready && len(v.Peers) == 1
}

func (d *directors) kill(_ string, x *site.Process) error { return x.Signal(syscall.SIGKILL) }

// measureKeepalived has both directors echo by themselves, at whichever the VIP is.
func (p *Plan) measureKeepalived(ctx context.Context, run *measure.Run, s *site.Site, advert time.Duration) error {
	for _, d := range s.Addresses().Directors {
		echo, err := s.Lab.Serve(ctx, d.Name, lab.ServeOptions{Name: d.Name, UDP: fmt.Sprintf(":%d", lab.PortEcho)})
		if err != nil {
			return err
		}
		defer func() { _ = echo.Stop() }()
	}
	return p.measure(ctx, run, &keepaliveds{s}, advert)
}

type keepaliveds struct{ s *site.Site }

func (k *keepaliveds) name() string { return "keepalived" }

func (k *keepaliveds) site() *site.Site { return k.s }

func (k *keepaliveds) start(_ context.Context, name string, priority int, advert time.Duration) (*site.Process, error) {
	vip := k.s.Addresses().DR.IPv4.String() + "/32"
	_ = k.s.Shell(name, "ip", "addr", "del", vip, "dev", "c0") // what a killed one left
	conf, err := k.s.Write(name+".keepalived.conf", fmt.Sprintf("global_defs {\n vrrp_version 3\n}\n"+
		"vrrp_instance VI_1 {\n state BACKUP\n interface c0\n virtual_router_id 51\n priority %d\n advert_int %g\n"+
		" virtual_ipaddress {\n  %s dev c0\n }\n}\n", priority, advert.Seconds(), vip))
	if err != nil {
		return nil, err
	}
	pid := strings.TrimSuffix(conf, ".conf")
	for _, left := range []string{pid + ".pid", pid + ".vrrp_pid"} { // by a killed one, which would be taken for alive
		if err := os.Remove(left); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return k.s.Start(name, "", "keepalived", "--vrrp", "--dont-fork", "--log-console", "--use-file", conf,
		"--pid", pid+".pid", "--vrrp_pid", pid+".vrrp_pid")
}

func (k *keepaliveds) master(_ context.Context, name string) bool {
	out, err := k.s.Command(name, "ip", "-4", "addr", "show", "dev", "c0").Output()
	return err == nil && strings.Contains(string(out), k.s.Addresses().DR.IPv4.String()+"/32")
}

func (k *keepaliveds) ready(context.Context, string) bool { return true }

// kill ends both of its processes, and takes the VIP away as nobody else would.
func (k *keepaliveds) kill(name string, x *site.Process) error {
	for _, pid := range x.Family() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
	}
	_ = k.s.Shell(name, "ip", "addr", "del", k.s.Addresses().DR.IPv4.String()+"/32", "dev", "c0") // if it had it
	return nil
}
