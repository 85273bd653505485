package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How long a process in a namespace has to end after SIGTERM and after SIGKILL.
const (
	termGrace = 10 * time.Second
	killGrace = 30 * time.Second
)

// Process is one that runs in a namespace of the lab.
type Process struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
}

// inode identifies the namespace below a path such as /proc/1/ns/net.
func inode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

func processNS(pid int) (uint64, error) { return inode(fmt.Sprintf("/proc/%d/ns/net", pid)) }

// mounted tells whether a namespace, and not only a file, has the name.
func (n namespace) mounted() bool {
	var fs unix.Statfs_t
	return unix.Statfs(n.path(), &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// processes lists who is in the namespaces, by the inode of the namespace; this
// process is left out: a thread of it may just be visiting.
func processes(list []namespace) map[uint64][]Process {
	wanted := map[uint64]bool{}
	for _, ns := range list {
		if ino, err := inode(ns.path()); err == nil && ns.mounted() {
			wanted[ino] = true
		}
	}
	found := map[uint64][]Process{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if ino, err := processNS(pid); err == nil && wanted[ino] {
			found[ino] = append(found[ino], Process{pid, commandLine(pid)})
		}
	}
	return found
}

func commandLine(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
}

// endProcesses ends everything in the namespaces, politely first. The namespaces are
// the lab's own, so whoever is inside was started there for it.
func endProcesses(list []namespace) error {
	for _, try := range []struct {
		signal unix.Signal
		grace  time.Duration
	}{{unix.SIGTERM, termGrace}, {unix.SIGKILL, killGrace}} {
		var ended []*victim
		for ino, procs := range processes(list) {
			for _, p := range procs {
				if v := openVictim(p, ino); v != nil {
					_ = unix.PidfdSendSignal(v.fd, try.signal, nil, 0)
					ended = append(ended, v)
				}
			}
		}
		awaitEnd(ended, time.Now().Add(try.grace))
	}
	var left []string
	for _, procs := range processes(list) {
		for _, p := range procs {
			left = append(left, fmt.Sprintf("%d (%s)", p.PID, p.Command))
		}
	}
	if len(left) > 0 {
		return errors.New("processes do not end: " + strings.Join(left, ", "))
	}
	return nil
}

// victim is a process held by descriptor: a number that the kernel reuses meanwhile
// cannot be hit.
type victim struct{ fd int }

// openVictim returns nil for a process that is gone or left the namespace.
func openVictim(p Process, ino uint64) *victim {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return nil
	}
	if now, err := processNS(p.PID); err != nil || now != ino {
		_ = unix.Close(fd)
		return nil
	}
	return &victim{fd}
}

// awaitEnd waits until all are gone or the time is over, and lets go of them.
func awaitEnd(list []*victim, end time.Time) {
	for _, v := range list {
		for {
			left := max(time.Until(end), 0)
			fds := []unix.PollFd{{Fd: int32(v.fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, int(left.Milliseconds())); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		_ = unix.Close(v.fd)
	}
}
