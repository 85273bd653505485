// Package sdnotify speaks systemd's notification protocol: READY=1 and its relatives, the watchdog, and the file
// descriptors that the manager keeps while the service is down (sd_notify(3), sd_pid_notify_with_fds(3),
// sd_listen_fds(3)).
//
// It owns datagrams and environment variables. It does not decide when a service is ready or alive, and what the
// kept descriptors mean. Without systemd every method does nothing.
package sdnotify

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxFDs is what one datagram carries (SCM_MAX_FD is 253).
	maxFDs = 253
	// firstFD is where inherited descriptors begin (SD_LISTEN_FDS_START).
	firstFD = 3
	// maxInherited bounds LISTEN_FDS: more than FileDescriptorStoreMax= that anybody sets.
	maxInherited = 4096
)

// Notifier tells the service manager about this service. Nil is one without a manager. Its methods are for any
// goroutine.
type Notifier struct {
	path     string
	stores   int
	interval time.Duration
}

// Env looks a variable of the environment up, as os.Getenv does.
type Env func(name string) string

// Open reads where the manager listens. Nil without an error: there is none, or it wants to hear nothing.
// pid is this process's, for which the watchdog is meant.
func Open(env Env, pid int) (*Notifier, error) {
	path := env("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil
	}
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET=%q is neither a path nor an abstract socket (@...)", path)
	}
	// systemd sets FDSTORE, the room of the store, from version 254 on; a unit without one has 0.
	stores, _ := strconv.Atoi(env("FDSTORE"))
	return &Notifier{path: path, stores: stores, interval: interval(env, pid)}, nil
}

// interval is half of WatchdogSec=, as sd_watchdog_enabled(3) advises; 0: nobody watches this process.
func interval(env Env, pid int) time.Duration {
	if other := env("WATCHDOG_PID"); other != "" && other != strconv.Itoa(pid) {
		return 0
	}
	us, err := strconv.ParseInt(env("WATCHDOG_USEC"), 10, 64)
	if err != nil || us <= 0 || us > int64(24*time.Hour/time.Microsecond) {
		return 0
	}
	return time.Duration(us) * time.Microsecond / 2
}

// Managed reports whether there is a manager to tell.
func (n *Notifier) Managed() bool { return n != nil }

// StoreRoom is how many descriptors the manager keeps for the service, 0 if it keeps none, or does not say so
// (before systemd 254).
func (n *Notifier) StoreRoom() int {
	if n == nil {
		return 0
	}
	return n.stores
}

// WatchdogInterval is how often Watchdog has to be called; 0: never.
func (n *Notifier) WatchdogInterval() time.Duration {
	if n == nil {
		return 0
	}
	return n.interval
}

// Ready says that the service serves, with a line for systemctl status. An upgraded service says it again.
func (n *Notifier) Ready(status string) error {
	return n.send("READY=1\nSTATUS="+oneLine(status)+"\nMAINPID="+strconv.Itoa(os.Getpid()), nil)
}

// Stopping says that the service ends.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1", nil) }

// Status replaces the line that systemctl status shows.
func (n *Notifier) Status(status string) error { return n.send("STATUS="+oneLine(status), nil) }

// Watchdog says that the service is alive.
func (n *Notifier) Watchdog() error { return n.send("WATCHDOG=1", nil) }

// MainPID says which process is the service now: the new one of an upgrade.
func (n *Notifier) MainPID(pid int) error { return n.send("MAINPID="+strconv.Itoa(pid), nil) }

// StoreFDs has the manager keep copies of files under a name until RemoveFDs, or until the service is stopped for
// good. They come back in Inherited.
func (n *Notifier) StoreFDs(name string, files ...*os.File) error {
	if !validName(name) {
		return fmt.Errorf("keep descriptors: %q is no name for systemd: 1 to 255 printable characters without a colon", name)
	}
	if len(files) == 0 || len(files) > maxFDs {
		return fmt.Errorf("keep descriptors as %s: %d of them, want 1 to %d", name, len(files), maxFDs)
	}
	return n.send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, files)
}

// RemoveFDs has the manager forget all descriptors of that name.
func (n *Notifier) RemoveFDs(name string) error { return n.send("FDSTOREREMOVE=1\nFDNAME="+name, nil) }

func validName(name string) bool {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }
	return name != "" && len(name) <= 255 && !strings.ContainsFunc(name, bad)
}

// oneLine keeps a status from becoming assignments of its own.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }

func (n *Notifier) send(state string, files []*os.File) error {
	if n == nil {
		return nil
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	defer syscall.Close(fd)
	patience := syscall.Timeval{Sec: 1} // with a manager that reads nothing
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &patience); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = syscall.UnixRights(fds...)
	}
	if err := syscall.Sendmsg(fd, []byte(state), oob, &syscall.SockaddrUnix{Name: n.path}, 0); err != nil {
		return fmt.Errorf("tell systemd %.20q at %s: %w", state, n.path, err)
	}
	return nil
}

// Inherited returns the descriptors that the manager passed on to this process, by their names, and takes the
// variables about them out of the environment, so that children do not believe they are theirs. pid is this
// process's; unset is os.Unsetenv.
func Inherited(env Env, pid int, unset func(string) error) (map[string][]*os.File, error) {
	count, names := env("LISTEN_FDS"), env("LISTEN_FDNAMES")
	mine := env("LISTEN_PID") == strconv.Itoa(pid)
	if count == "" || !mine {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxInherited {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not a number from 0 to %d", count, maxInherited)
	}
	list := strings.Split(names, ":")
	files := map[string][]*os.File{}
	for i := range n {
		name := "unknown" // as sd_listen_fds_with_names has it
		if names != "" && i < len(list) {
			name = list[i]
		}
		syscall.CloseOnExec(firstFD + i)
		files[name] = append(files[name], os.NewFile(uintptr(firstFD+i), name))
	}
	return files, errors.Join(unset("LISTEN_PID"), unset("LISTEN_FDS"), unset("LISTEN_FDNAMES"))
}
