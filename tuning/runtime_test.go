package tuning

import (
	"errors"
	"math"
	"runtime"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// The collector's share of the processors is a whole number, as nearly as it wants that, and workers leave two.
func TestTheCollectorNeedsNoSliceOfAWorker(t *testing.T) {
	const share, most = 0.25, 0.3 // gcBackgroundUtilization, maxUtilError of runtime/mgcpacer.go
	for cpus := 1; cpus <= 64; cpus++ {
		for workers := 1; workers <= cpus; workers++ {
			n := shieldedProcs(cpus, workers)
			whole := math.Floor(share*float64(n) + 0.5)
			if off := whole/(share*float64(n)) - 1; off < -most || off > most {
				t.Errorf("%d processors for %d cores and %d workers: off by %.2f", n, cpus, workers, off)
			}
			if n < cpus || n < workers+2 || n > max(cpus, workers+2, 4)+1 {
				t.Errorf("%d processors for %d cores and %d workers", n, cpus, workers)
			}
		}
	}
}

func TestTheRuntimesSettingsComeBack(t *testing.T) {
	procs, percent := runtime.GOMAXPROCS(0), debug.SetGCPercent(123)
	defer debug.SetGCPercent(percent)
	undo := ShieldWorkers(1)
	if got := runtime.GOMAXPROCS(0); got < 4 {
		t.Errorf("%d processors, want 4 at least", got)
	}
	undo()
	if got := runtime.GOMAXPROCS(0); got != procs {
		t.Errorf("%d processors afterwards, want %d", got, procs)
	}
	if got := debug.SetGCPercent(123); got != 123 {
		t.Errorf("GC percent %d afterwards, want 123", got)
	}
}

func TestAThreadIsPreferredAndNotAnyMore(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	nice := func() int {
		n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err != nil {
			t.Fatal(err)
		}
		return 20 - n
	}
	before := nice()
	undo, err := PreferThread()
	if err != nil {
		if nice() != before {
			t.Errorf("nice %d after a failure, want %d", nice(), before)
		}
		t.Skip(err)
	}
	if nice() > workerNice {
		t.Errorf("nice %d, want %d at most", nice(), workerNice)
	}
	if undo(); nice() != before {
		t.Errorf("nice %d in the end, want %d", nice(), before)
	}
}

// A director gives CAP_SYS_NICE up, and starts workers afterwards: here, and in an upgrade.
func TestAThreadIsPreferredWithoutTheCapability(t *testing.T) {
	if err := AllowPreference(); err != nil {
		t.Skip(err) // CAP_SYS_RESOURCE, which root in a container may not have
	}
	preferred := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends as it is
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		data[0].Effective &^= 1 << unix.CAP_SYS_NICE
		if err = errors.Join(err, unix.Capset(&header, &data[0])); err == nil {
			_, err = PreferThread()
		}
		preferred <- err
	}()
	if err := <-preferred; err != nil {
		t.Error(err)
	}
}
