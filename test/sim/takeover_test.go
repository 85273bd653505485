package sim

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// env reads a number from the environment.
func env(t *testing.T, name string, def uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// everySeed runs a test for the seeds that make sim asks for, on all cores: run shares nothing but what it guards. The
// first seed that fails says how to see it again.
func everySeed(t *testing.T, run func(seed uint64) (broken []string, trace []string)) {
	t.Helper()
	usual := uint64(200)
	if testing.Short() {
		usual = 20
	}
	first, count := env(t, "SEED0", 1), env(t, "SEEDS", usual)
	var next, held atomic.Uint64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for n := next.Add(1) - 1; n < count && !failed.Load(); n = next.Add(1) - 1 {
				broken, trace := run(first + n)
				switch {
				case len(broken) == 0:
					held.Add(1)
				case failed.CompareAndSwap(false, true):
					t.Errorf("seed %d: %s\n%s\nsee it again with: make sim SEEDS=1 SEED0=%d", first+n,
						strings.Join(broken, "; "), strings.Join(trace, "\n"), first+n)
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d of %d seeds from %d held; the first that does not ends the run", held.Load(), count, first)
}

// optionsOf varies the world with the seed.
func optionsOf(seed uint64, quorum bool) Options {
	o := Options{Seed: seed, Nodes: 2 + int(seed%2), Quorum: quorum, Advert: []time.Duration{30 * time.Millisecond,
		100 * time.Millisecond, time.Second}[seed%3]}
	if quorum {
		o.Nodes = 3
	}
	return o
}

// After any trouble, directors that can hear each other have one MASTER, and it is the one with the highest priority.
func TestOneMasterIsLeftAfterAnyTrouble(t *testing.T) {
	for _, quorum := range []bool{false, true} {
		t.Run(fmt.Sprintf("quorum %v", quorum), func(t *testing.T) {
			everySeed(t, func(seed uint64) ([]string, []string) {
				w := New(optionsOf(seed, quorum))
				w.Run(10 * time.Second)
				for range 3 {
					w.Faults(20 * time.Second)
					w.Quiet()
					best := w.Nodes[len(w.Nodes)-1].Name
					if m := w.Masters(); len(m) != 1 || m[0] != best {
						w.fail("after quiet MASTER is %v, want %s", m, best)
					}
					if len(w.Broken()) > 0 {
						break
					}
				}
				return w.Broken(), w.Trace
			})
		})
	}
}

// A master that dies alone in a healthy site is replaced within the master down time.
func TestADeadMasterIsReplacedInTime(t *testing.T) {
	everySeed(t, func(seed uint64) ([]string, []string) {
		o := optionsOf(seed, false)
		w := New(o)
		w.Quiet()
		best := w.Nodes[len(w.Nodes)-1]
		w.kill(best)
		died := w.Now
		limit := 4*o.Advert + 50*time.Millisecond
		for len(w.Masters()) == 0 && w.Now-died < 2*limit {
			w.Run(time.Millisecond)
		}
		took := w.Now - died
		w.Run(o.Advert) // two whose timers ran out at once have heard each other
		if took > limit || len(w.Masters()) != 1 {
			w.fail("MASTER is %v %v after the death of %s, want one within %v", w.Masters(), took, best.Name, limit)
		}
		return w.Broken(), w.Trace
	})
}

// A master that stood still finds out by itself that somebody took over: it is never MASTER beside that one.
func TestAStoppedMasterIsNoneAnyMore(t *testing.T) {
	everySeed(t, func(seed uint64) ([]string, []string) {
		o := optionsOf(seed, false)
		w := New(o)
		w.Quiet()
		best := w.Nodes[len(w.Nodes)-1]
		unheard := func(n *Node) bool { // whoever missed its last advert takes over earlier than it can know
			return n != best && n.machine.ViewInstance(0).DownAt < w.Now+3*o.Advert
		}
		for slices.ContainsFunc(w.Nodes, unheard) {
			w.Run(o.Advert / 10)
		}
		stop := 3*o.Advert + time.Duration(w.rng.Int64N(int64(2*o.Advert)))
		w.pause(best, stop)
		w.Run(stop)
		if m := w.Masters(); len(m) > 1 && slices.Contains(m, best.Name) {
			w.fail("MASTER is %v when %s goes on after %v", m, best.Name, stop)
		}
		return w.Broken(), w.Trace
	})
}

// Without a fault nothing changes: no takeover for no reason.
func TestNothingHappensInAHealthySite(t *testing.T) {
	everySeed(t, func(seed uint64) ([]string, []string) {
		w := New(optionsOf(seed, seed%2 == 0))
		w.Quiet()
		w.loss = 0.002 // three adverts in a row are not lost, which would be a reason
		changes, masters := len(w.Trace), fmt.Sprint(w.Masters())
		w.Run(30 * time.Second)
		if len(w.Trace) != changes || fmt.Sprint(w.Masters()) != masters {
			w.fail("MASTER was %s and is %v", masters, w.Masters())
		}
		return w.Broken(), w.Trace
	})
}

// The checks can fail: a second owner of a term is noticed.
func TestTheInvariantsAreChecked(t *testing.T) {
	w := New(Options{Seed: 1, Nodes: 3, Quorum: true, Advert: 100 * time.Millisecond})
	w.owners[1] = true
	w.Run(10 * time.Second)
	if len(w.Broken()) == 0 {
		t.Error("a term with two owners was not noticed")
	}
}
