package tuning

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

const (
	// gcPercent trades memory for fewer collections, which steal time from workers. The heap is small: sessions live
	// outside of it.
	gcPercent = 400
	// workerNice lets a worker's thread go before others of its core: the collector's threads keep running for a
	// scheduler's slice, some milliseconds, while it waits. Others get a tenth of a core that a worker keeps busy.
	workerNice = -10
)

// ShieldWorkers sets the Go runtime so that its garbage collector stays off the threads of that many workers as far as
// it can, and returns what puts back the settings from before.
func ShieldWorkers(workers int) (undo func()) {
	percent := debug.SetGCPercent(gcPercent)
	procs := runtime.GOMAXPROCS(shieldedProcs(runtime.NumCPU(), workers))
	return func() {
		debug.SetGCPercent(percent)
		runtime.GOMAXPROCS(procs)
	}
}

// shieldedProcs is how many processors the Go runtime should think it has: what workers do not keep busy must be two at
// least, for everything else. The collector takes a quarter of them. Where that is no whole number, nearly, which is so
// with less than four and with six, it takes the rest in slices from every processor, also from one that a worker is on
// (runtime/mgcpacer.go, startCycle): that stopped forwarding for two to four milliseconds.
func shieldedProcs(cpus, workers int) int {
	n := max(cpus, workers+2, 4)
	if n == 6 {
		n++
	}
	return n
}

// Yield offers the calling thread's core to whoever waits for it. It takes 0.2 us where nobody does, a turn of theirs
// where somebody does. The Go scheduler is not told: its processor stays the thread's.
func Yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// AllowPreference has PreferThread work in this process and in those it starts when CAP_SYS_NICE is gone, too. A limit
// that allows it already is left alone; another one needs CAP_SYS_RESOURCE.
func AllowPreference() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NICE, &l); err != nil {
		return fmt.Errorf("read RLIMIT_NICE: %w", err)
	}
	const want = 20 - workerNice // as the limit has it
	if l.Cur >= want {
		return nil
	}
	if err := unix.Setrlimit(unix.RLIMIT_NICE, &unix.Rlimit{Cur: want, Max: max(l.Max, want)}); err != nil {
		return fmt.Errorf("allow threads a nice value of %d: %w", workerNice, err)
	}
	return nil
}

// PreferThread gives the calling thread priority over others of its core, and returns what takes it back. The caller
// has locked its goroutine to the thread. It needs CAP_SYS_NICE, or a limit (RLIMIT_NICE) that allows it.
func PreferThread() (undo func(), err error) {
	before, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return nil, fmt.Errorf("read the thread's priority: %w", err)
	}
	before = 20 - before // as the system call has it
	if before <= workerNice {
		return func() {}, nil
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, workerNice); err != nil {
		return nil, fmt.Errorf("set the thread's nice value to %d: %w", workerNice, err)
	}
	return func() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, before) }, nil
}
