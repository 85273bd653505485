package lab_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

func TestMain(m *testing.M) {
	lab.RunHelper()
	os.Exit(m.Run())
}

// inodes identifies the namespaces of a lab by their names.
func inodes(t *testing.T, prefix string) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{}
	paths, err := filepath.Glob("/run/netns/" + prefix + "-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(path)] = st.Ino
	}
	return found
}

func equal(a, b map[string]uint64) bool {
	for name, ino := range a {
		if b[name] != ino {
			return false
		}
	}
	return len(a) == len(b)
}

func TestUpTwiceIsOneLab(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-twice"})
	first := inodes(t, "t-twice")
	if _, err := lab.Up(t.Context(), lab.Options{Prefix: "t-twice"}); err != nil {
		t.Fatal(err)
	}
	if second := inodes(t, "t-twice"); len(first) != 8 || !equal(first, second) {
		t.Errorf("the second Up changed %v to %v, want the same 8", first, second)
	}
	again, err := lab.Open("t-twice")
	if err != nil || again.Options() != l.Options() {
		t.Errorf("Open = %+v, %v; want the options %+v", again, err, l.Options())
	}
}

func TestUpWithOtherOptionsRebuilds(t *testing.T) {
	labtest.Up(t, lab.Options{Prefix: "t-other"})
	if _, err := lab.Up(t.Context(), lab.Options{Prefix: "t-other", RealServers: 1, Directors: 2}); err != nil {
		t.Fatal(err)
	}
	if got := inodes(t, "t-other"); len(got) != 7 || got["t-other-d2"] == 0 || got["t-other-r2"] != 0 {
		t.Errorf("the lab has %v, want c1 sw0 d1 d2 rt sw1 r1", got)
	}
}

func TestUpClearsAwayWhatACrashLeft(t *testing.T) {
	const prefix = "t-crash"
	l := labtest.Up(t, lab.Options{Prefix: prefix})
	before := inodes(t, prefix)
	left := l.Command("r2", "sleep", "1000")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	// A crash in the middle of building: a namespace is missing, of another there is
	// only the file below the mount, and nobody wrote that the lab is complete.
	for _, name := range []string{"r3", "d1"} {
		if err := unix.Unmount("/run/netns/"+l.Netns(name), unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove("/run/netns/"+l.Netns("r3")), os.Remove("/run/ulvs-lab/"+prefix+".json")); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Up(t.Context(), lab.Options{Prefix: prefix}); err != nil {
		t.Fatal(err)
	}
	if err := left.Wait(); err == nil {
		t.Error("the process that the crash left ended by itself, want it ended by a signal")
	}
	after := inodes(t, prefix)
	for name, ino := range before {
		if after[name] == 0 || after[name] == ino {
			t.Errorf("%s: inode %d after %d, want a new one", name, after[name], ino)
		}
	}
}

// Up is killed when a given number of namespaces stand, for every number; the next run
// has to find its way.
func TestDownClearsAwayWhatAKilledUpLeft(t *testing.T) {
	const prefix = "t-kill"
	labtest.Up(t, lab.Options{Prefix: prefix}) // checks for root, cleans up
	for at := range 9 {
		if _, err := lab.Down(t.Context(), prefix); err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		up := exec.Command(self, "lab", "up", "--prefix", prefix)
		up.Env = append(os.Environ(), "ULVS_LAB_HELPER=1")
		if err := up.Start(); err != nil {
			t.Fatal(err)
		}
		testutil.Await(t, "namespaces", func() bool { return len(inodes(t, prefix)) >= at })
		_ = up.Process.Kill()
		_ = up.Wait()
		if _, err := lab.Down(t.Context(), prefix); err != nil {
			t.Fatalf("killed at %d namespaces: %v", at, err)
		}
		if left := inodes(t, prefix); len(left) != 0 {
			t.Fatalf("killed at %d namespaces, left behind: %v", at, left)
		}
	}
}

// makeForeign makes a namespace with a name of the lab's, as "ip netns add" would.
func makeForeign(t *testing.T, name string) {
	t.Helper()
	done := make(chan error)
	go func() {
		done <- onOwnThread(func() error {
			h, err := netns.NewNamed(name)
			if err == nil {
				err = h.Close()
			}
			return err
		})
	}()
	if err := <-done; err != nil {
		testutil.Require(t, testutil.NeedNetNS, "cannot make a namespace: "+err.Error())
	}
	t.Cleanup(func() { _ = netns.DeleteNamed(name) })
}

func TestUpAndDownRefuseToTouchForeignNamespaces(t *testing.T) {
	const prefix = "t-foreign"
	makeForeign(t, prefix+"-r2")
	before := inodes(t, prefix)
	_, err := lab.Up(t.Context(), lab.Options{Prefix: prefix})
	if !errors.Is(err, lab.ErrForeign) || !strings.Contains(err.Error(), prefix+"-r2") {
		t.Errorf("Up = %v, want ErrForeign naming %s-r2", err, prefix)
	}
	if n, err := lab.Down(t.Context(), prefix); n != 0 || err != nil {
		t.Errorf("Down = %d, %v; want nothing removed", n, err)
	}
	if after := inodes(t, prefix); !equal(before, after) {
		t.Errorf("namespaces are %v, want %v untouched", after, before)
	}
}

func TestUpLeavesNothingWhenItIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if os.Geteuid() != 0 {
		testutil.Require(t, testutil.NeedNetNS, "a lab needs root")
	}
	if _, err := lab.Up(ctx, lab.Options{Prefix: "t-stop"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Up = %v, want context.Canceled", err)
	}
	if got := inodes(t, "t-stop"); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestDownLeavesNothing(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-down"})
	if err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := inodes(t, "t-down"); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if _, err := lab.Open("t-down"); !errors.Is(err, lab.ErrNotUp) {
		t.Errorf("Open after Down = %v, want ErrNotUp", err)
	}
	if n, err := lab.Down(t.Context(), "t-down"); n != 0 || err != nil {
		t.Errorf("Down again = %d, %v; want nothing to do", n, err)
	}
}

func TestOptionsThatMakeNoSenseAreAllNamed(t *testing.T) {
	_, err := lab.Up(t.Context(), lab.Options{Prefix: "Not/OK", RealServers: 500, MTU: 9000})
	for _, want := range []string{`prefix "Not/OK"`, "real servers 500: want 1 to 80", "mtu 9000: want 1280 to 3506"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Up = %v, want it to say %q", err, want)
		}
	}
}

func TestDoComesBackAndCommandsRunInside(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-do", RealServers: 1})
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = home.Close() }()
	err = l.Do("c1", func() error {
		_, err := netlink.LinkByName("c0")
		return err
	})
	if err != nil {
		t.Errorf("c1 has no c0: %v", err)
	}
	now, err := netns.Get()
	if err != nil || !now.Equal(home) {
		t.Errorf("after Do the thread is in %v (%v), want %v", now, err, home)
	}
	_ = now.Close()
	out, err := l.Command("r1", "cat", "/proc/self/net/dev").Output()
	if err != nil || !strings.Contains(string(out), "e0:") {
		t.Errorf("in r1: %s, %v; want e0 listed", out, err)
	}
}

func TestStatusShowsEverybody(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-status"})
	labtest.Serve(t, l)
	st, err := l.Status()
	if err != nil {
		t.Fatal(err)
	}
	if !st.Up || len(st.Namespaces) != 8 {
		t.Errorf("status = %+v, want up with 8 namespaces", st)
	}
	for _, ns := range st.Namespaces {
		want := 0
		if ns.Role == "real server" {
			want = 1
		}
		if ns.State != "up" || len(ns.Processes) != want {
			t.Errorf("%s is %s with %v, want up with %d processes", ns.Name, ns.State, ns.Processes, want)
		}
	}
}

func TestRunsOfTheSameLabWaitForEachOther(t *testing.T) {
	labtest.Up(t, lab.Options{Prefix: "t-race"})
	errs := make(chan error)
	for i := range 6 {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var err error
			if i%3 == 2 {
				_, err = lab.Down(ctx, "t-race")
			} else {
				_, err = lab.Up(ctx, lab.Options{Prefix: "t-race", RealServers: 1 + i%3})
			}
			errs <- err
		}()
	}
	for range 6 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
