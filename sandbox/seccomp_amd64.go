package sandbox

import "golang.org/x/sys/unix"

// auditArch is the numbering of this processor's calls.
const auditArch = unix.AUDIT_ARCH_X86_64

var archDenied = []Call{
	{unix.SYS_IOPL, kernelWhy}, {unix.SYS_IOPERM, kernelWhy}, {unix.SYS_MODIFY_LDT, kernelWhy},
	{unix.SYS_KEXEC_FILE_LOAD, kernelWhy}, {unix.SYS_USELIB, otherWhy}, {unix.SYS_VHANGUP, otherWhy},
}
