package sandbox

import "golang.org/x/sys/unix"

// auditArch is the numbering of this processor's calls.
const auditArch = unix.AUDIT_ARCH_AARCH64

var archDenied = []Call{{unix.SYS_KEXEC_FILE_LOAD, kernelWhy}, {unix.SYS_VHANGUP, otherWhy}}
