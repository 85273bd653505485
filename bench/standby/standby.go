// Package standby measures how sessions get to another director: in full to one that joins, and one by one as they
// begin and end. Two processes on loopback with real tables, logs and sealed sockets (bench/replicate); it needs
// no root.
//
// It owns the second process and what the two say to each other. Replication itself is ha/gossip's.
package standby

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"ulvs/bench/measure"
	"ulvs/bench/replicate"
)

// Plan is what is measured.
type Plan struct {
	Sessions int           // that a director who joins is told of
	Rates    []int         // changes per second: sessions that begin or end
	Duration time.Duration // of each rate
	Command  []string      // runs Serve with the peer's address added; empty: this executable's
}

// Short is measured in less than half a minute.
func Short() Plan { return Plan{Sessions: 100_000, Rates: []int{100_000}, Duration: 2 * time.Second} }

// Full is a million sessions, and up to half a million changes a second.
func Full() Plan {
	return Plan{Sessions: 1_000_000, Rates: []int{50_000, 100_000, 250_000, 500_000}, Duration: 5 * time.Second}
}

// Cases is how many rows there will be.
func (p *Plan) Cases() int { return 1 + len(p.Rates) }

// limit is far longer than anything takes.
const limit = time.Minute

// Answer is what the second process says of itself.
type Answer struct {
	Sessions int
	Sum      uint64
	CPU      float64 // seconds
	Lost     uint64
	Records  uint64
	Joined   bool // it has all sessions there were
}

// Serve is the second process: a director that joins peer, and answers each line that it reads.
func Serve(peer netip.AddrPort, in io.Reader, out io.Writer) error {
	d, err := replicate.Open(replicate.Options{Name: "standby", Bits: tableBits, Peers: []netip.AddrPort{peer}})
	if err != nil {
		return err
	}
	defer d.Close()
	lines, enc := bufio.NewScanner(in), json.NewEncoder(out)
	for lines.Scan() {
		a := Answer{CPU: processCPU()} // before the sum, which is not replication's
		if lines.Text() == "sum" {
			a.Sessions, a.Sum = d.Sum()
		}
		v, _ := d.Node.View()
		a.Lost, a.Records = v.Stats.Lost, v.Stats.GotRecords
		a.Joined = len(v.Peers) > 0 && !v.Peers[0].Syncing
		if err := enc.Encode(&a); err != nil {
			return err
		}
	}
	return lines.Err()
}

const tableBits = 20

func processCPU() float64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// second is the second process.
type second struct {
	cmd *exec.Cmd
	to  io.WriteCloser
	in  *json.Decoder
}

func (p *Plan) second(peer netip.AddrPort) (*second, error) {
	argv := p.Command
	if len(argv) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		argv = []string{self, "bench", "load", "standby"}
	}
	s := &second{cmd: exec.Command(argv[0], append(argv[1:], peer.String())...)}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.to, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	s.in = json.NewDecoder(out)
	return s, s.cmd.Start()
}

func (s *second) ask(what string) (a Answer, err error) {
	if _, err := fmt.Fprintln(s.to, what); err != nil {
		return a, fmt.Errorf("the second director: %w", err)
	}
	if err := s.in.Decode(&a); err != nil {
		return a, fmt.Errorf("the second director: %w", err)
	}
	return a, nil
}

func (s *second) close() error {
	_ = s.to.Close()
	return s.cmd.Wait()
}

// until asks until what it wants is so.
func (s *second) until(ctx context.Context, what string, done func(*Answer) bool) (a Answer, err error) {
	for end := time.Now().Add(limit); ; {
		if a, err = s.ask("state"); err != nil || done(&a) {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(end) {
			return a, fmt.Errorf("waited %s for %s", limit, what)
		}
	}
}

// Measure measures every case of the plan.
func Measure(ctx context.Context, run *measure.Run, p Plan) error {
	run.Result.Plot = measure.Plot{X: "rate", Metric: "receive"}
	if err := p.join(ctx, run); err != nil {
		return err
	}
	for _, rate := range p.Rates {
		if err := p.changes(ctx, run, rate); err != nil {
			return fmt.Errorf("%d changes a second: %w", rate, err)
		}
	}
	run.Note("join: a director that comes is told of all sessions. changes: sessions begin and end at a rate. send and\n" +
		"receive: CPU time of either process for a session or a change, its worker's own not counted. settle: from the\n" +
		"last change until the other director has all. Both tables are summed up afterwards and have to be equal.")
	return nil
}

// join has a director join one with sessions.
func (p *Plan) join(ctx context.Context, run *measure.Run) error {
	row := measure.Row{Case: measure.Case("what", "join", "rate", measure.Format(float64(p.Sessions))+" sessions")}
	for round := range min(run.Rounds, 3) {
		run.Say("%s: round %d", row.Name(), round+1)
		err := p.with(replicate.Options{}, func(d *replicate.Director) error {
			if err := fill(ctx, d, uint64(p.Sessions)); err != nil {
				return err
			}
			d.Worker.Park()
			return p.joins(ctx, &row, d)
		})
		if err != nil {
			return err
		}
	}
	run.Add(row)
	return nil
}

func (p *Plan) joins(ctx context.Context, row *measure.Row, d *replicate.Director) (err error) {
	cpu, began := processCPU(), time.Now()
	s, err := p.second(d.Node.Addr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	a, err := s.until(ctx, "the sessions", func(a *Answer) bool { return a.Joined })
	if err != nil {
		return err
	}
	took, sent := time.Since(began), processCPU()-cpu
	row.Add("took", "ms", measure.Less, float64(took.Microseconds())/1000)
	row.Add("send", "ns", measure.Less, sent*1e9/float64(p.Sessions))
	row.Add("receive", "ns", measure.Less, a.CPU*1e9/float64(p.Sessions))
	return equal(s, d)
}

// equal compares the tables; what a busy machine's log dropped is repaired within some rounds of digests.
func equal(s *second, d *replicate.Director) error {
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		sessions, sum := d.Sum()
		a, err := s.ask("sum")
		if err != nil || a.Sum == sum && a.Sessions == sessions {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d sessions here, %d there, and they differ", sessions, a.Sessions)
		}
	}
}

func (p *Plan) with(o replicate.Options, fn func(*replicate.Director) error) error {
	o.Name, o.Bits = "owner", tableBits
	d, err := replicate.Open(o)
	if err != nil {
		return err
	}
	defer d.Close()
	return fn(d)
}

// fill makes sessions of which nobody is there to be told.
func fill(ctx context.Context, d *replicate.Director, n uint64) error {
	for i := range n {
		if !d.Begin(i) {
			return fmt.Errorf("session %d was not made", i)
		}
		if i%1024 == 0 {
			d.Worker.Quiesce()
			d.Log.Flush()
			for !d.Log.Sleep() && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
		}
	}
	d.Log.Flush()
	d.Worker.Quiesce()
	return ctx.Err()
}

// changes measures one rate.
func (p *Plan) changes(ctx context.Context, run *measure.Run, rate int) error {
	row := measure.Row{Case: measure.Case("what", "changes", "rate", rate)}
	var own float64
	err := p.with(replicate.Options{Alone: true}, func(d *replicate.Director) error {
		n, cpu := generate(d, rate, p.Duration/2)
		own = cpu / float64(max(n, 1))
		return nil
	})
	if err != nil {
		return err
	}
	for round := range min(run.Rounds, 3) {
		run.Say("%s: round %d", row.Name(), round+1)
		err := p.with(replicate.Options{}, func(d *replicate.Director) (err error) {
			s, err := p.second(d.Node.Addr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.close()) }()
			return p.changed(ctx, &row, d, s, load{rate, own})
		})
		if err != nil {
			return err
		}
	}
	run.Add(row)
	return nil
}

// load is a rate of changes, and the CPU seconds of one that are the generator's own.
type load struct {
	rate int
	own  float64
}

func (p *Plan) changed(ctx context.Context, row *measure.Row, d *replicate.Director, s *second, l load) error {
	before, err := s.until(ctx, "the two to meet", func(a *Answer) bool { return a.Joined })
	if err != nil {
		return err
	}
	began := time.Now()
	n, cpu := generate(d, l.rate, p.Duration)
	ended := time.Now()
	want := before.Records + uint64(n) - d.Log.Dropped()
	a, err := s.until(ctx, "every change", func(a *Answer) bool { return a.Records >= want })
	if err != nil {
		return err
	}
	row.Add("changes", "/s", measure.More, float64(n)/ended.Sub(began).Seconds())
	row.Add("send", "ns", measure.Less, max(cpu/float64(n)-l.own, 0)*1e9)
	row.Add("receive", "ns", measure.Less, (a.CPU-before.CPU)*1e9/float64(n))
	row.Add("settle", "ms", measure.Less, float64(time.Since(ended).Microseconds())/1000)
	row.Add("dropped", "", measure.Less, float64(d.Log.Dropped()))
	return equal(s, d)
}

// living is how many sessions there are at a time.
const living = 250_000

// generate is Churn for a time; it returns the CPU time, too.
func generate(d *replicate.Director, rate int, duration time.Duration) (changes int, cpu float64) {
	before, end := processCPU(), time.Now().Add(duration)
	changes = Churn(d, rate, func() bool { return !time.Now().Before(end) })
	return changes, processCPU() - before
}

// Churn begins and ends sessions at a rate until it is done, and returns how many changes that were.
func Churn(d *replicate.Director, rate int, done func() bool) (changes int) {
	d.Worker.Unpark()
	defer d.Worker.Park()
	next, last, began := uint64(1<<24), uint64(1<<24), time.Now()
	for !done() {
		due := int(time.Since(began).Seconds() * float64(rate))
		for n := 0; changes < due && n < 256; n++ {
			if next-last > living && changes%2 == 0 {
				d.End(last)
				last++
			} else {
				d.Begin(next)
				next++
			}
			changes++
		}
		d.Log.Flush()
		d.Worker.Quiesce()
		if d.Node == nil {
			d.Log.Release(len(d.Log.Read(1 << 14)))
		}
		if changes >= due {
			time.Sleep(200 * time.Microsecond)
		}
	}
	return changes
}

// Pair makes two directors of this process that know each other.
func Pair() (from, to *replicate.Director, err error) {
	if from, err = replicate.Open(replicate.Options{Name: "from", Bits: tableBits}); err != nil {
		return nil, nil, err
	}
	to, err = replicate.Open(replicate.Options{
		Name: "to", Bits: tableBits, Peers: []netip.AddrPort{from.Node.Addr()},
	})
	if err != nil {
		from.Close()
		return nil, nil, err
	}
	from.Worker.Park()
	to.Worker.Park()
	return from, to, nil
}
