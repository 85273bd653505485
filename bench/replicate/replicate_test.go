package replicate

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/internal/testutil"
)

// full measures what the documents say: go test ./bench/replicate -full -v. Without it everything is
// tried with a tenth of the sessions.
var full = flag.Bool("full", false, "1 000 000 sessions, 500 000 deltas a second for 20 s")

// childEnv holds the peer's address in the process that is the standby, profileEnv where it writes its CPU profile.
const (
	childEnv   = "ULVS_REPLICATE_PEER"
	profileEnv = "ULVS_REPLICATE_PROFILE"
)

// report is what the standby says of itself.
type report struct {
	Sessions int
	Sum      uint64
	CPU      time.Duration
	Lost     uint64
	Records  uint64
	Resent   uint64
}

func TestMain(m *testing.M) {
	if peer := os.Getenv(childEnv); peer != "" {
		if err := profiled(func() error { return standby(peer) }); err != nil {
			fmt.Fprintln(os.Stderr, "standby:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// profiled runs f, with a CPU profile if one is wanted.
func profiled(f func() error) error {
	name := os.Getenv(profileEnv)
	if name == "" {
		return f()
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}

// standby answers with a report each line that it reads, until there are no more.
func standby(peer string) error {
	addr, err := netip.ParseAddrPort(peer)
	if err != nil {
		return err
	}
	d, err := Open(Options{Name: "standby", Bits: 20, Peers: []netip.AddrPort{addr}})
	if err != nil {
		return err
	}
	defer d.Close()
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		r := report{CPU: cpu()} // before the sum, which is not replication's
		if in.Text() == "sum" {
			r.Sessions, r.Sum = d.Sum()
		}
		v, _ := d.Node.View()
		r.Lost, r.Records = v.Stats.Lost, v.Stats.GotRecords
		if r.Sessions == 0 && len(v.Peers) > 0 && !v.Peers[0].Syncing {
			r.Sessions = -1 // the snapshot is here
		}
		if err := out.Encode(&r); err != nil {
			return err
		}
	}
	return nil
}

// cpu is the time that this process has computed for.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// child is the standby's process.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *json.Decoder
	out *os.File
}

func startChild(t *testing.T, peer netip.AddrPort) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), childEnv+"="+peer.String())
	if f := flag.Lookup("test.cpuprofile"); f != nil && f.Value.String() != "" {
		name := strings.ReplaceAll(t.Name(), "/", "_") // the standby's profile lies beside our own
		c.cmd.Env = append(c.cmd.Env, profileEnv+"="+f.Value.String()+"."+name)
	}
	c.cmd.Stderr = os.Stderr
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdin, c.out, c.in = r, w, json.NewDecoder(stdout)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	t.Cleanup(func() {
		_ = w.Close()
		_ = c.cmd.Wait()
	})
	return c
}

// synced reports whether the standby's sessions are all here.
func (d *Director) synced() bool {
	v, _ := d.Node.View()
	return len(v.Peers) == 1 && !v.Peers[0].Syncing
}

func (c *child) ask(what string) (r report) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.out, what); err != nil {
		c.t.Fatal(err)
	}
	if err := c.in.Decode(&r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

func open(t *testing.T, o Options) *Director {
	t.Helper()
	o.Name, o.Bits = "owner", 20
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// fill makes sessions that nobody is told of.
func fill(t *testing.T, d *Director, n uint64) {
	for i := range n {
		if !d.Begin(i) {
			t.Fatalf("session %d was not made", i)
		}
		if i%1024 == 0 {
			d.Worker.Quiesce()
			d.Log.Flush()
			for k := 1; k > 0 && d.Node == nil; d.Log.Release(k) {
				k = len(d.Log.Read(1 << 14))
			}
			for d.Node != nil && !d.Log.Sleep() {
				time.Sleep(time.Millisecond)
			}
		}
	}
	d.Log.Flush()
	d.Worker.Quiesce()
}

func TestSnapshotToADirectorThatJoins(t *testing.T) {
	n := uint64(100_000)
	if *full {
		n = 1_000_000
	}
	d := open(t, Options{})
	fill(t, d, n)
	d.Worker.Park()
	before := cpu()
	began := time.Now()
	c := startChild(t, d.Node.Addr())
	for c.ask("state").Sessions != -1 {
		if time.Since(began) > time.Minute {
			t.Fatal("no snapshot within a minute")
		}
		time.Sleep(5 * time.Millisecond)
	}
	took, sender := time.Since(began), cpu()-before
	sum, r := time.Now(), c.ask("sum")
	sessions, own := d.Sum()
	t.Logf("%d sessions joined in %s, process start and handshake included; CPU per session: %s sending, %s receiving",
		n, took.Round(time.Millisecond), sender/time.Duration(n), r.CPU/time.Duration(n))
	t.Logf("summing both tables up took %s", time.Since(sum).Round(time.Millisecond))
	if r.Sessions != int(n) || sessions != int(n) || r.Sum != own {
		t.Errorf("%d sessions here with sum %x, %d there with %x", sessions, own, r.Sessions, r.Sum)
	}
}

func TestDeltasAreReplicatedAsFastAsTheyCome(t *testing.T) {
	rate, seconds := 50_000, 2
	if *full {
		rate, seconds = 500_000, 20
	}
	alone := open(t, Options{Alone: true})
	control := generate(t, alone, rate, min(seconds, 5))
	own := control.cpu / time.Duration(control.deltas)
	for _, lose := range []float64{0, 0.01, 0.1} {
		secs := seconds
		if lose > 0 {
			secs = min(seconds, 5)
		}
		t.Run(fmt.Sprintf("loss=%v", lose), func(t *testing.T) { deltas(t, rate, secs, lose, own) })
	}
}

func deltas(t *testing.T, rate, seconds int, lose float64, own time.Duration) {
	d := open(t, Options{Lose: lose})
	c := startChild(t, d.Node.Addr())
	for began := time.Now(); c.ask("state").Sessions != -1 || !d.synced(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > testutil.AwaitLimit {
			t.Fatal("they did not meet")
		}
	}
	before := c.ask("state")
	g := generate(t, d, rate, seconds)
	ended := time.Now()
	healed := time.Duration(0)
	for {
		v, _ := d.Node.View()
		if len(v.Peers) == 1 && v.Peers[0].Lag == 0 &&
			c.ask("state").Records >= before.Records+uint64(g.deltas)-d.Log.Dropped() {
			healed = time.Since(ended)
			break
		}
		if time.Since(ended) > testutil.AwaitLimit {
			t.Fatalf("the standby has %d of %d records: %+v", c.ask("state").Records-before.Records, g.deltas, v)
		}
		time.Sleep(time.Millisecond)
	}
	r := c.ask("sum")
	sessions, sum := d.Sum()
	// On a machine that is too busy the log dropped some, which digests repair; and what was repaired while it was on its
	// way counts twice above, so that not all of it need be there yet.
	repair := time.Duration(0)
	for r.Sum != sum && repair < 3*testutil.AwaitLimit {
		time.Sleep(20 * time.Millisecond)
		r = c.ask("sum")
		sessions, sum = d.Sum()
		repair = time.Since(ended)
	}
	v, _ := d.Node.View()
	t.Logf("%d deltas in %s (%.0f/s), %d dropped by the log; all there %s after the last; %d datagrams sent, %d again, "+
		"%d lost", g.deltas, g.took.Round(time.Millisecond), float64(g.deltas)/g.took.Seconds(), d.Log.Dropped(),
		healed.Round(time.Millisecond), v.Stats.SentDatagrams, v.Stats.ResentDatagrams, r.Lost)
	t.Logf("CPU per delta: %s sending (without the generator's %s), %s receiving",
		g.cpu/time.Duration(g.deltas)-own, own, (r.CPU-before.CPU)/time.Duration(g.deltas))
	if repair > 0 {
		t.Logf("digests equal %s after the last delta", repair.Round(time.Millisecond))
	}
	if r.Sessions != sessions || r.Sum != sum || sessions != g.living {
		t.Errorf("%d sessions live; %d here with sum %x, %d there with %x", g.living, sessions, sum, r.Sessions, r.Sum)
	}
	if *full && (r.Lost != 0 || d.Log.Dropped() != 0) {
		t.Errorf("%d datagrams lost, %d records dropped: the machine is too busy, or replication too slow", r.Lost,
			d.Log.Dropped())
	}
}

// generated is what a generator did.
type generated struct {
	deltas    int
	living    int // sessions in the end
	took, cpu time.Duration
}

// generate begins and ends sessions at a rate, so that a few hundred thousand live at any time.
func generate(t *testing.T, d *Director, rate, seconds int) (g generated) {
	t.Helper()
	const living = 250_000
	d.Worker.Unpark()
	defer d.Worker.Park()
	before, began := cpu(), time.Now()
	next, last := uint64(1<<24), uint64(1<<24)
	for total := rate * seconds; g.deltas < total; {
		due := min(int(time.Since(began).Seconds()*float64(rate)), total)
		for n := 0; g.deltas < due && n < 256; n++ {
			if next-last > living && g.deltas%2 == 0 {
				d.End(last)
				last++
			} else {
				d.Begin(next)
				next++
			}
			g.deltas++
		}
		d.Log.Flush()
		d.Worker.Quiesce()
		if d.Node == nil {
			d.Log.Release(len(d.Log.Read(1 << 14)))
		}
		if g.deltas >= due {
			time.Sleep(200 * time.Microsecond)
		}
	}
	g.living = int(next - last)
	g.took, g.cpu = time.Since(began), cpu()-before
	return g
}
