// Package tuning reads what the machine has for the data plane: cores that may be used,
// queues of an interface; and pins threads.
//
// It owns the knowledge of where the kernel keeps such things. It does not
// decide who runs where, and does not yet change anything but the calling thread.
package tuning

import (
	"fmt"
	"unsafe"

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

// channels is struct ethtool_channels (linux/ethtool.h).
type channels struct {
	cmd                                                uint32
	maxRX, maxTX, maxOther, maxCombined                uint32
	rxCount, txCount, otherCount, combinedCount, spare uint32
}

// ifreq is struct ifreq with a pointer in its union (linux/if.h).
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// Queues returns how many receive queues the interface uses, by ETHTOOL_GCHANNELS; 1 for
// drivers that do not know the call.
func Queues(name string) (int, error) {
	if len(name) >= unix.IFNAMSIZ {
		return 0, fmt.Errorf("interface name %q is longer than %d bytes", name, unix.IFNAMSIZ-1)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("read queues of %s: %w", name, err)
	}
	defer unix.Close(fd)
	ch := channels{cmd: unix.ETHTOOL_GCHANNELS}
	req := ifreq{data: unsafe.Pointer(&ch)} // stays referenced by req during the call
	copy(req.name[:], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	switch errno {
	case 0:
		return max(int(ch.combinedCount+ch.rxCount), 1), nil
	case unix.EOPNOTSUPP:
		return 1, nil
	}
	return 0, fmt.Errorf("read queues of %s: %w", name, errno)
}
