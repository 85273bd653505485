// Package tuning reads the machine for the data plane (cores, NUMA nodes, NICs with their queues, interrupts and
// offloads), plans which core serves which queue and what has to change for it, changes that, and puts
// back exactly what was there.
//
// It owns the knowledge of where the kernel keeps such things, the plan with its reasons, and the journal of what was
// changed. All it knows of a machine it reads below one root folder and through one [Tool], so that it plans for
// recorded machines as for this one. It knows no service, and it starts no worker.
//
// Sources: Linux Documentation/core-api/irq/irq-affinity.rst, Documentation/networking/scaling.rst,
// Documentation/ABI/testing/sysfs-class-net-queues, include/uapi/linux/ethtool.h.
package tuning

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"
)

// CPUs returns the numbers of the cores that this process may run on, ascending.
func CPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read the CPU affinity: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// PinThread binds the calling thread to one core. The caller has locked its goroutine
// to the thread.
func PinThread(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin the thread to CPU %d: %w", cpu, err)
	}
	return nil
}

// Queues returns how many receive queues the interface uses, by ETHTOOL_GCHANNELS; 1 for
// drivers that do not know the call.
func Queues(name string) (int, error) {
	if len(name) >= unix.IFNAMSIZ {
		return 0, fmt.Errorf("interface name %q is longer than %d bytes", name, unix.IFNAMSIZ-1)
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return 0, fmt.Errorf("read queues of %s: %w", name, err)
	}
	defer e.Close()
	ch, err := e.GetChannels(name)
	switch {
	case err == nil:
		return max(int(ch.CombinedCount+ch.RxCount), 1), nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return 1, nil
	}
	return 0, fmt.Errorf("read queues of %s: %w", name, err)
}

// SendQueues returns how many queues the interface sends on, as the kernel has it. It can be less than it receives on:
// the spare pairs that virtio_net opens for XDP send for XDP only, and what an AF_XDP socket gives them stays there.
// It is 0 where /sys is not this namespace's.
func SendQueues(name string) int {
	queues, _ := filepath.Glob(filepath.Join("/sys/class/net", name, "queues", "tx-*"))
	return len(queues)
}
