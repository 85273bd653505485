package afxdp

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// holder describes who has an XDP program on the interface, in words for an
// error message. It asks rtnetlink for the program, the kernel for its name,
// and /proc for the process; what cannot be learnt is left out.
func holder(ifindex int) string {
	id := programOn(ifindex)
	if id == 0 {
		return "a program that cannot be identified"
	}
	text := fmt.Sprintf("program id %d", id)
	if p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id)); err == nil {
		if info, err := p.Info(); err == nil {
			text = fmt.Sprintf("program %s (id %d)", info.Name, id)
		}
		p.Close()
	}
	if pid, comm := processOf(id); pid != "" {
		text += fmt.Sprintf(", held by %s (pid %s)", comm, pid)
	}
	return text
}

// programOn returns the id of the interface's XDP program, 0 when there is none.
func programOn(ifindex int) uint32 {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return 0
	}
	msgs, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return 0
	}
	for i := range msgs {
		m := &msgs[i]
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		if int(int32(binary.NativeEndian.Uint32(m.Data[4:]))) != ifindex {
			continue
		}
		return programIn(m)
	}
	return 0
}

// programIn reads IFLA_XDP of a link message.
func programIn(m *syscall.NetlinkMessage) uint32 {
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return 0
	}
	for _, a := range attrs {
		if a.Attr.Type&^unix.NLA_F_NESTED == unix.IFLA_XDP {
			return programAttr(a.Value)
		}
	}
	return 0
}

// programAttr walks the nested attributes of IFLA_XDP for a program's id.
func programAttr(b []byte) uint32 {
	for len(b) >= unix.SizeofNlAttr {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < unix.SizeofNlAttr || size > len(b) {
			return 0
		}
		isID := kind >= unix.IFLA_XDP_PROG_ID && kind <= unix.IFLA_XDP_HW_PROG_ID
		if isID && size >= unix.SizeofNlAttr+4 {
			return binary.NativeEndian.Uint32(b[unix.SizeofNlAttr:])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return 0
}

// processOf finds a process that holds a link to the program.
func processOf(id uint32) (pid, comm string) {
	want := fmt.Sprintf("prog_id:\t%d\n", id)
	files, err := filepath.Glob("/proc/[0-9]*/fdinfo/*")
	if err != nil {
		return "", ""
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(b), "link_type:") || !strings.Contains(string(b), want) {
			continue
		}
		pid = strings.Split(file, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return pid, strings.TrimSpace(string(name))
	}
	return "", ""
}
