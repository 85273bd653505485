package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kept are the capabilities that a director needs as long as it runs: those of the packaged unit, too.
var Kept = []Capability{
	{unix.CAP_NET_ADMIN, "addresses of VIPs, neighbours, XDP programs on links that come back"},
	{unix.CAP_NET_RAW, "AF_XDP sockets of links that come back, VRRP, ARP announcements, checks by ping"},
	{unix.CAP_BPF, "steering maps: every change of a service"},
	{unix.CAP_PERFMON, "the steering program, loaded anew for a link of another kind"},
	{unix.CAP_NET_BIND_SERVICE, "metrics or dashboard on a port below 1024, from a reload on"},
	{unix.CAP_IPC_LOCK, "packet memory beyond the limit of locked memory"},
}

// Capability is one that stays, and what for.
type Capability struct {
	Number int // CAP_* of linux/capability.h
	Why    string
}

// Options of Enter.
type Options struct {
	// ReadSearch keeps CAP_DAC_READ_SEARCH: files of other users that are read again on a reload stay readable.
	ReadSearch bool
	// Before is what the process that started this one had let go: its filter, if it is the same, is not put on again.
	// The kernel takes some three hundred of them on top of each other, and then no more.
	Before Limits
}

// Enter takes everything else away from all threads of the process, for good: capabilities (bounding set and
// all), new privileges by set-user-id programs and files' capabilities, and the system calls of Denied, which fail with
// EPERM from then on and are logged by the kernel (audit type 1326). What cannot be taken away is in the error; the
// rest is gone all the same. It needs a program without cgo: ErrCgo. What it returns is for a process that
// goes on for this one.
func Enter(o Options) (Limits, error) {
	kept := uint64(0)
	for _, c := range Kept {
		kept |= 1 << c.Number
	}
	if o.ReadSearch {
		kept |= 1 << unix.CAP_DAC_READ_SEARCH
	}
	var l Limits
	capErr := dropCapabilities(kept)
	if !errors.Is(capErr, ErrCgo) {
		l.Kept = keptNumbers()
	}
	var callErr error
	if !o.Before.filtered() {
		callErr = denyCalls()
	}
	if callErr == nil {
		l.Denied, l.Filters = denied(), filters()
	}
	return l, errors.Join(capErr, callErr)
}

// ErrCgo is returned for a program with cgo (the race detector's): only Go's own threads can all be told.
var ErrCgo = errors.New("a program with cgo cannot drop capabilities on all threads")

// allThreads makes a system call on every thread.
func allThreads(trap, a, b, c uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall(trap, a, b, c)
	switch errno {
	case 0:
		return nil
	case syscall.ENOTSUP:
		return ErrCgo
	}
	return errno
}

// dropCapabilities leaves those in kept that the process has. The bounding set goes first, which needs CAP_SETPCAP;
// a process without it is told, and loses the others all the same.
func dropCapabilities(kept uint64) error {
	var errs []error
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if kept>>c&1 == 1 {
			continue
		}
		bound, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil || bound == 0 { // unknown to this kernel, or gone
			continue
		}
		if err := allThreads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); err != nil {
			errs = append(errs, fmt.Errorf("drop capability %d from the bounding set: %w", c, err))
			break
		}
	}
	errs = append(errs, setCapabilities(kept))
	return errors.Join(errs...)
}

// setCapabilities makes what is kept of the permitted ones the effective ones, and none inheritable; ambient ones go
// with those.
func setCapabilities(kept uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for i := range data {
		left := data[i].Permitted & uint32(kept>>(32*i))
		data[i] = unix.CapUserData{Permitted: left, Effective: left}
	}
	header.Pid = 0 // the calling thread, each in its turn
	// The unsafe here hands both to the kernel, which reads them during the call; both are alive until after it.
	err := allThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}
