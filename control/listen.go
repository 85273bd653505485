package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ErrInUse means that another process answers on the control socket.
var ErrInUse = errors.New("another ulvs is running")

// The groups of people who are not root. Either may be missing.
const (
	GroupLook  = "ulvs"       // the socket's: may connect, and look
	GroupAdmin = "ulvs-admin" // may change things, too
)

const (
	socketMode  = 0o660 // root and GroupLook
	dirMode     = 0o755
	dialTimeout = time.Second
)

// Listen makes the control socket at path. A socket file that nobody answers on, left by a crash,
// is replaced; one that somebody answers on is ErrInUse, with the pid; anything
// else at path is never removed. The listener's Close removes the file.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer unlock()
	if err := clear(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	err = os.Chmod(path, socketMode)
	if gid, ok := groupID(GroupLook); ok && err == nil {
		err = os.Chown(path, -1, gid)
		if errors.Is(err, fs.ErrPermission) { // neither in the group nor allowed to: the socket stays root's alone
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

// groupID looks a group up; ok is false if there is none, or the machine cannot say.
func groupID(name string) (gid int, ok bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	gid, err = strconv.Atoi(g.Gid)
	return gid, err == nil
}

// lock keeps two starts from both finding the old socket stale. It is held for the check only; a
// running ulvs is known by its answering.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing gives the lock back; nothing was written
}

// clear makes room at path, if nobody is there.
func clear(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("control socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("control socket: %s exists and is no socket; remove it or set node.control_socket", path)
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		pid := peerPID(conn)
		_ = conn.Close()
		return fmt.Errorf("%w: process %d answers on %s; stop it, or set another node.control_socket", ErrInUse, pid, path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("control socket: cannot tell whether %s is in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("control socket: remove the stale one: %w", err)
	}
	return nil
}

// peerPID returns the process that listens at the other end (SO_PEERCRED of a
// connected socket is that of listen(2)), 0 if the kernel does not say.
func peerPID(c net.Conn) int {
	if cred := peerCred(c); cred != nil {
		return int(cred.Pid)
	}
	return 0
}

// peerCred returns who is at the other end, nil if the kernel does not say.
func peerCred(c net.Conn) (cred *syscall.Ucred) {
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return nil
	}
	_ = raw.Control(func(fd uintptr) {
		if found, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			cred = found
		}
	})
	return cred
}
