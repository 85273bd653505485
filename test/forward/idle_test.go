package forward

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ulvs/lvs"
	"ulvs/test/lab"
)

// idlePeriod is how long an idle director is watched; a tick of the kernel's accounting is
// half a percent of it.
const idlePeriod = 2 * time.Second

// quietShare of one CPU is what a quiet director may use.
const quietShare = 0.02

// userHZ is the unit of /proc's times, fixed for amd64 (asm/param.h).
const userHZ = 100

// cpuSeconds is what a process has used, user and system time.
func cpuSeconds(tb testing.TB, pid int) float64 {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name in parentheses may hold anything
	f := strings.Fields(rest)                  // f[0] is field 3 of proc(5)
	user, err := strconv.Atoi(f[14-3])
	if err != nil {
		tb.Fatal(err)
	}
	system, err := strconv.Atoi(f[15-3])
	if err != nil {
		tb.Fatal(err)
	}
	return float64(user+system) / userHZ
}

func TestIdleModes(t *testing.T) {
	for _, c := range []struct {
		idle  string
		quiet bool // uses no CPU without traffic
	}{{"", true}, {"poll", true}, {"spin", false}} {
		name, extra := "default", ""
		if c.idle != "" {
			name, extra = c.idle, fmt.Sprintf("idle = %q", c.idle)
		}
		t.Run(name, func(t *testing.T) {
			l := newLab(t, lab.Options{Prefix: "t-idle", Queues: 2})
			d := start(t, l, lab.ConfigOptions{Extra: extra})
			for _, m := range methods {
				load(t, l, m)
			}
			share, slept := d.watchIdle()
			// Others on this machine can only make it look worse, and a sleep of a second counts when it is over.
			for range 4 {
				if c.quiet && (share >= quietShare || slept < 0.9) {
					again, more := d.watchIdle()
					share, slept = min(share, again), max(slept, more)
				}
			}
			t.Logf("%.2f %% CPU without traffic, asleep %.1f %% of the time", share*100, slept*100)
			if c.quiet && (share >= quietShare || slept < 0.9) {
				t.Error("a quiet director uses more than 2 % CPU, or sleeps less than 90 % of the time")
			}
			if !c.quiet && slept != 0 {
				t.Error("a spinning worker slept")
			}
			load(t, l, lvs.MethodDR)
			d.proveCarrier(100)
		})
	}
}

// watchIdle returns the share of one CPU that ulvs uses without traffic, and how much of the time
// its first worker sleeps.
func (d *director) watchIdle() (share, slept float64) {
	d.tb.Helper()
	asleep := func(at time.Time) float64 {
		st := d.status()
		return st.Workers[0].IdleFraction * at.Sub(st.StartedAt).Seconds()
	}
	begin := time.Now()
	slept, used := asleep(begin), cpuSeconds(d.tb, d.cmd.Process.Pid)
	<-time.After(idlePeriod) // there is no event to wait for: that nothing happens is the matter
	end := time.Now()
	used, slept = cpuSeconds(d.tb, d.cmd.Process.Pid)-used, asleep(end)-slept
	return used / end.Sub(begin).Seconds(), slept / end.Sub(begin).Seconds()
}
