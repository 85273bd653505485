package failover

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// site is two directors in the lab under traffic; d1 is the better one.
type site struct {
	t      *testing.T // of the fault under way
	root   *testing.T // of the whole: what is started lives that long
	l      *lab.Lab
	d1, d2 *peer
	probe  *lab.Probe
	flows  *traffic // nil beside keepalived: nothing forwards there
	table  *outcomes
}

// fault is something that happens to d1, and how it ends. Each half returns when one director serves again.
type fault struct {
	name, mended string
	strike, mend func(s *site)
}

var faults = []fault{
	{"kill -9", "started again, takes back", func(s *site) {
		s.d1.end(syscall.SIGKILL)
		s.d2.await("MASTER")
	}, func(s *site) {
		s.d1 = startULVS(s.root, s.l, "d1", quickly(s.root, s.l, "d1", 200))
		s.back()
	}},
	{"SIGSTOP", "SIGCONT, takes back", func(s *site) {
		s.signal(syscall.SIGSTOP)
		s.d2.await("MASTER")
	}, func(s *site) {
		s.signal(syscall.SIGCONT)
		s.gaveUp()
		s.back()
	}},
	{"cut off both networks", "plugged in, takes back", func(s *site) {
		unplug(s)
		s.d2.await("MASTER")
	}, func(s *site) {
		plug(s)
		s.back()
	}},
	{"link down and up 3 times", "up, takes back", func(s *site) {
		for i := range 3 {
			shell(s.t, s.l, "sw0", "ip", "link", "set", "d1-c0", "down")
			s.d2.await("MASTER")
			if i < 2 {
				shell(s.t, s.l, "sw0", "ip", "link", "set", "d1-c0", "up")
			}
		}
	}, func(s *site) {
		shell(s.t, s.l, "sw0", "ip", "link", "set", "d1-c0", "up")
		s.back()
	}},
	{"planned handover", "planned failback", func(s *site) {
		s.release(false)
		s.d2.await("MASTER")
	}, func(s *site) {
		s.release(true)
		s.back()
	}},
}

// back waits until d1 serves again and goes on doing so: two halves of a split first agree who does.
func (s *site) back() {
	since := time.Time{}
	testutil.Await(s.t, "d1 to serve and go on", func() bool {
		if s.d1.state() != "MASTER" || s.d2.state() != "BACKUP" {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
		}
		return !since.IsZero() && time.Since(since) > 300*time.Millisecond
	})
}

func (p *peer) instance() (in control.VRRPInstance) {
	if v, err := p.client.VRRP(context.Background()); err == nil && len(v.Instances) > 0 {
		in = v.Instances[0]
	}
	return in
}

func (s *site) signal(sig syscall.Signal) {
	if err := s.d1.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) release(resume bool) {
	if err := s.d1.client.Release(s.t.Context(), "VI_1", resume); err != nil {
		s.t.Fatal(err)
	}
}

// gaveUp waits until d1 is no more what it was when it was stopped: it knows of the term that d2 took meanwhile, and
// may be MASTER of a later one only.
func (s *site) gaveUp() {
	taken := s.d2.instance().Term
	testutil.Await(s.t, "d1 to give up what it held when it was stopped", func() bool {
		in := s.d1.instance()
		return in.Term > taken || in.Term == taken && in.State != "MASTER"
	})
}

func unplug(s *site) {
	shell(s.t, s.l, "sw0", "ip", "link", "set", "d1-c0", "nomaster")
	shell(s.t, s.l, "sw1", "ip", "link", "set", "d1-s0", "nomaster")
}

func plug(s *site) {
	shell(s.t, s.l, "sw1", "ip", "link", "set", "d1-s0", "master", "br0")
	shell(s.t, s.l, "sw0", "ip", "link", "set", "d1-c0", "master", "br0")
}

// told returns when d1 had told d2 of all sessions that there were: a moment ago, or longer ago on a busy machine.
func (s *site) told() (at time.Time) {
	if s.flows == nil {
		return time.Now()
	}
	testutil.Await(s.t, "d2 to be less than a second behind", func() bool {
		at = time.Now()
		v := s.d1.sync()
		if len(v.Peers) != 1 {
			return false
		}
		lag := time.Duration(v.Peers[0].LagMS * float64(time.Millisecond))
		at = at.Add(-lag)
		return lag < time.Second
	})
	return at
}

// do makes one half of a fault and notes what it cost. Until then, all sessions were told to the other director.
func (s *site) do(name string, told time.Time, half func(*site)) {
	began := time.Now()
	half(s)
	awaitAnswers(s.t, s.probe, 50)
	gap := s.probe.Gap(began)
	var c count
	if s.flows != nil {
		c = s.flows.judge(began, told)
	}
	s.table.add(name, gap, c)
	for _, why := range c.why {
		s.t.Logf("%s at %v: lost: %s", name, began.UTC(), why)
	}
	if c.oldLost > 0 {
		s.t.Errorf("%s: %d of %d sessions lost that began more than %v before", name, c.oldLost, c.old, margin)
	}
}

// outcomes are the rows of the report, in the order they came.
type outcomes struct {
	names []string
	gaps  map[string][]time.Duration
	sum   map[string]count
}

func newOutcomes() *outcomes {
	return &outcomes{gaps: map[string][]time.Duration{}, sum: map[string]count{}}
}

func (o *outcomes) add(name string, gap time.Duration, c count) {
	if o.gaps[name] == nil {
		o.names = append(o.names, name)
	}
	o.gaps[name] = append(o.gaps[name], gap)
	n := o.sum[name]
	n.old, n.oldLost, n.young, n.youngLost = n.old+c.old, n.oldLost+c.oldLost, n.young+c.young, n.youngLost+c.youngLost
	n.newLost += c.newLost
	o.sum[name] = n
}

// quantile of a row's gaps in milliseconds; with fewer than a hundred p99 is the longest.
func (o *outcomes) quantile(name string, q float64) float64 {
	g := slices.Sorted(slices.Values(o.gaps[name]))
	if len(g) == 0 {
		return 0
	}
	return float64(g[min(len(g)-1, int(q*float64(len(g))))]) / float64(time.Millisecond)
}

// text is the table, with keepalived's gaps and the ratio where it was tried.
func (o *outcomes) text(theirs *outcomes) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "fault\ttimes\tsessions\tlost\tyoung\tlost\tnew lost\tgap ms p50\tp99\tkeepalived p50\tp99\tratio\t")
	for _, name := range o.names {
		c := o.sum[name]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t", name, len(o.gaps[name]), c.old, c.oldLost,
			c.young, c.youngLost, c.newLost, o.quantile(name, 0.5), o.quantile(name, 0.99))
		if len(theirs.gaps[name]) == 0 {
			fmt.Fprintln(w, "-\t-\t-\t")
			continue
		}
		fmt.Fprintf(w, "%.1f\t%.1f\t%.1f\t\n", theirs.quantile(name, 0.5), theirs.quantile(name, 0.99),
			theirs.quantile(name, 0.5)/max(o.quantile(name, 0.5), 0.1))
	}
	_ = w.Flush()
	return b.String()
}

// quickly are options with [sync] and the adverts that the matrix is made with, as docs/failover.md tells.
func quickly(t *testing.T, l *lab.Lab, ns string, priority int) options {
	t.Helper()
	o := synced(t, l, ns, priority)
	o.advert = matrixAdvert
	return o
}

const matrixAdvert = "30ms"

// matrixRounds is how often the matrix makes each fault: ULVS_ROUNDS, else once.
func matrixRounds() int {
	if os.Getenv("ULVS_ROUNDS") == "" {
		return 1
	}
	return rounds()
}

// TestEveryFaultUnderTraffic makes every fault while sessions of three kinds go on, and none of them may be lost; then
// the same to a pair of Debian's keepalived, of which only the gap can be told: ulvs forwards, keepalived would
// have the kernel do it, which is not here. Times are reported, not judged.
func TestEveryFaultUnderTraffic(t *testing.T) {
	l := twoDirectors(t)
	s := &site{t: t, root: t, l: l, table: newOutcomes()}
	s.d2 = startULVS(t, l, "d2", quickly(t, l, "d2", 100))
	s.d1 = startULVS(t, l, "d1", quickly(t, l, "d1", 200))
	s.d1.await("MASTER")
	s.probe, s.flows = startProbe(t, l), startTraffic(t, l)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			s.t, s.d1.t, s.d2.t = t, t, t
			for range matrixRounds() {
				s.flows.ready(t)
				s.d1.awaitReady()
				s.d2.awaitReady()
				s.do(f.name, s.told(), f.strike)
				s.do(f.mended, time.Now(), f.mend) // who comes back gets them all before it takes over
			}
		})
	}
	s.t, s.d1.t, s.d2.t = t, t, t
	s.flows.cancel()
	s.flows.wg.Wait()
	s.probe.Close()
	s.d1.end(syscall.SIGTERM)
	s.d2.end(syscall.SIGTERM)
	theirs := newOutcomes()
	t.Run("keepalived", func(t *testing.T) { keepalivedMatrix(t, l, theirs) })
	t.Logf("adverts every %s; a session is promised %v after its first answer\n%s", matrixAdvert, margin,
		s.table.text(theirs))
}
