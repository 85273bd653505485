package testutil

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
)

func TestANamespaceIsEnteredAndLeft(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns := NewNetNS(t)
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	failure := errors.New("of fn")
	var inside netns.NsHandle
	err = ns.Do(func() error {
		if inside, err = netns.Get(); err != nil {
			t.Fatal(err)
		}
		return failure
	})
	defer inside.Close()
	if !errors.Is(err, failure) {
		t.Errorf("Do returned %v, want fn's error", err)
	}
	if !inside.Equal(ns.Handle()) || inside.Equal(home) {
		t.Error("fn did not run in the namespace")
	}
	after, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if !after.Equal(home) {
		t.Error("the thread did not come back")
	}
}

func TestANamespaceHasNothingButLoopbackUp(t *testing.T) {
	ns := NewNetNS(t)
	_ = ns.Do(func() error {
		links, err := net.Interfaces()
		if err != nil || len(links) == 0 {
			t.Fatalf("interfaces: %v, %v", links, err)
		}
		for _, l := range links {
			if up := l.Flags&net.FlagUp != 0; up != (l.Name == "lo") {
				t.Errorf("%s: up = %v", l.Name, up)
			}
		}
		return nil
	})
}

func TestDoComesBackWhenTheTestEndsInside(t *testing.T) {
	ns := NewNetNS(t)
	t.Run("skips inside", func(t *testing.T) {
		_ = ns.Do(func() error { t.SkipNow(); return nil })
	})
	if err := ns.Do(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// recorder is a testing.TB that remembers how it was ended first; unlike a real one it
// goes on after Fatalf.
type recorder struct {
	testing.TB
	ended string
}

func (r *recorder) Helper()               {}
func (r *recorder) Skipf(string, ...any)  { r.end("skipped") }
func (r *recorder) Fatalf(string, ...any) { r.end("failed") }
func (r *recorder) Errorf(string, ...any) { r.end("error") }

func (r *recorder) end(how string) {
	if r.ended == "" {
		r.ended = how
	}
}

func TestRequireSkipsOrFails(t *testing.T) {
	for _, c := range []struct{ env, need, reason, want string }{
		{"", NeedNetNS, "not root", "skipped"},
		{"afxdp", NeedNetNS, "not root", "skipped"},
		{"netns,afxdp", NeedNetNS, "not root", "failed"},
		{"netns afxdp", NeedAFXDP, "no AF_XDP", "failed"},
		{"netns,afxdp", NeedNetNS, "", ""},
		{"netns2", NeedNetNS, "not root", "skipped"},
	} {
		t.Setenv("ULVS_REQUIRE", c.env)
		r := &recorder{TB: t}
		Require(r, c.need, c.reason)
		if r.ended != c.want {
			t.Errorf("ULVS_REQUIRE=%q, %s missing %q: %q, want %q", c.env, c.need, c.reason, r.ended, c.want)
		}
	}
}

func TestASeedIsGivenBack(t *testing.T) {
	t.Setenv("ULVS_SEED", "42")
	if Seed(t) != 42 || Rand(t).Uint64() != Rand(t).Uint64() {
		t.Error("the same ULVS_SEED gave something else")
	}
	_ = os.Unsetenv("ULVS_SEED")
	if Seed(t) == 42 {
		t.Error("a seed of its own, 42")
	}
}

var sink []byte // keeps the allocation below from being optimised away

func TestAllocFreeSeesAnAllocation(t *testing.T) {
	if RaceEnabled {
		t.Skip("allocations are not counted under the race detector")
	}
	r := &recorder{TB: t}
	AllocFree(r, func() { sink = make([]byte, 64) })
	if r.ended != "error" {
		t.Error("an allocation was not reported")
	}
	AllocFree(t, func() { sink = sink[:0] })
}

func TestAwaitReturnsOnceTheConditionHolds(t *testing.T) {
	looks := 0
	Await(t, "three looks", func() bool { looks++; return looks == 3 })
	if looks != 3 {
		t.Errorf("looked %d times", looks)
	}
}
