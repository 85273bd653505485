package tuning

import (
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// PickCPUs returns the cores for n workers that serve interfaces of this machine, of those that this process may run
// on, best first: fewer if there are fewer. Plans choose the same ones.
func PickCPUs(interfaces []string, n int) []int {
	allowed, err := CPUs()
	if err != nil {
		return nil
	}
	m := Read("", KernelTool{})
	m.CPUs = slices.DeleteFunc(m.CPUs, func(c CPU) bool { return !slices.Contains(allowed, c.ID) })
	if len(m.CPUs) == 0 {
		return allowed
	}
	return WorkerCPUs(m, m.Ports(interfaces), n)
}

// UnlimitMemlock lets this process lock as much memory as it asks for: frames are locked.
func UnlimitMemlock() error {
	none := uint64(math.MaxUint64) // RLIM_INFINITY
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: none, Max: none}); err != nil {
		return fmt.Errorf("lift the limit of locked memory: %w", err)
	}
	return nil
}
