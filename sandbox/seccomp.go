package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Denied are system calls that no director makes and a break-in would. A list of what is allowed would have to follow
// the Go runtime and every library, and a call forgotten there breaks a director at night; systemd keeps such a list
// (@system-service) and the packaged unit has it besides. archDenied has those of this processor.
var Denied = []Call{
	{unix.SYS_INIT_MODULE, kernelWhy}, {unix.SYS_FINIT_MODULE, kernelWhy}, {unix.SYS_DELETE_MODULE, kernelWhy},
	{unix.SYS_KEXEC_LOAD, kernelWhy}, {unix.SYS_REBOOT, kernelWhy}, {unix.SYS_SYSLOG, kernelWhy},
	{unix.SYS_PERF_EVENT_OPEN, kernelWhy}, {unix.SYS_USERFAULTFD, kernelWhy},
	{unix.SYS_IO_URING_SETUP, kernelWhy}, {unix.SYS_IO_URING_ENTER, kernelWhy}, {unix.SYS_IO_URING_REGISTER, kernelWhy},
	{unix.SYS_MOUNT, mountWhy}, {unix.SYS_UMOUNT2, mountWhy}, {unix.SYS_PIVOT_ROOT, mountWhy}, {unix.SYS_CHROOT, mountWhy},
	{unix.SYS_FSOPEN, mountWhy}, {unix.SYS_FSMOUNT, mountWhy}, {unix.SYS_MOVE_MOUNT, mountWhy},
	{unix.SYS_OPEN_TREE, mountWhy}, {unix.SYS_MOUNT_SETATTR, mountWhy},
	{unix.SYS_UNSHARE, mountWhy}, {unix.SYS_SETNS, mountWhy},
	{unix.SYS_PTRACE, otherWhy}, {unix.SYS_PROCESS_VM_READV, otherWhy}, {unix.SYS_PROCESS_VM_WRITEV, otherWhy},
	{unix.SYS_PIDFD_GETFD, otherWhy}, {unix.SYS_KCMP, otherWhy},
	{unix.SYS_OPEN_BY_HANDLE_AT, otherWhy}, {unix.SYS_FANOTIFY_INIT, otherWhy},
	{unix.SYS_ADD_KEY, otherWhy}, {unix.SYS_REQUEST_KEY, otherWhy}, {unix.SYS_KEYCTL, otherWhy},
	{unix.SYS_SETTIMEOFDAY, machineWhy}, {unix.SYS_CLOCK_SETTIME, machineWhy}, {unix.SYS_ADJTIMEX, machineWhy},
	{unix.SYS_CLOCK_ADJTIME, machineWhy}, {unix.SYS_SETHOSTNAME, machineWhy}, {unix.SYS_SETDOMAINNAME, machineWhy},
	{unix.SYS_SWAPON, machineWhy}, {unix.SYS_SWAPOFF, machineWhy}, {unix.SYS_ACCT, machineWhy},
	{unix.SYS_QUOTACTL, machineWhy},
}

const (
	kernelWhy  = "loads code into the kernel, or reaches parts of it where holes are found"
	mountWhy   = "leaves the file system or the namespaces that the process is in"
	otherWhy   = "reaches other processes, their files and their keys"
	machineWhy = "changes the machine's clock, name, swap or accounting"
)

// Call is a system call that is denied, and why.
type Call struct {
	Number uintptr // SYS_* of this processor
	Why    string
}

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	offNumber = 0
	offArch   = 4
)

// x32Bit marks calls of amd64's 32-bit ABI, which are other numbers for the same calls.
const x32Bit = 0x40000000

// program refuses what is denied with EPERM, and calls of another processor's numbering with ENOSYS: they would
// be ways around the list.
func program() ([]unix.SockFilter, error) {
	refuse := func(errno unix.Errno) bpf.Instruction {
		return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)}
	}
	list := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1}, refuse(unix.ENOSYS),
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32Bit, SkipTrue: 1}, refuse(unix.ENOSYS),
	}
	for _, calls := range [][]Call{Denied, archDenied} {
		for _, c := range calls {
			list = append(list, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(c.Number), SkipTrue: 1}, refuse(unix.EPERM))
		}
	}
	raw, err := bpf.Assemble(append(list, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}))
	if err != nil {
		return nil, err
	}
	out := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		out[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return out, nil
}

// errNoFilter is for processors whose numbering nobody has written down here.
var errNoFilter = errors.New("no filter of system calls for this processor")

// denyCalls puts the filter on every thread, which takes the right to new privileges from them as well.
func denyCalls() error {
	if auditArch == 0 {
		return errNoFilter
	}
	filter, err := program()
	if err != nil {
		return fmt.Errorf("assemble the filter of system calls: %w", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_LOG
	// The unsafe here hands the program to the kernel, which copies it during the call.
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	switch {
	case errno != 0:
		return fmt.Errorf("filter system calls: %w", errno)
	case thread != 0:
		return fmt.Errorf("filter system calls: thread %d has a filter of its own", thread)
	}
	return nil
}
