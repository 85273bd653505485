package afxdp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// PortError is a port's failure: its interface is gone. It is reported once;
// the other ports go on, and the Set must be opened anew to serve this one.
type PortError struct {
	Port int    // index in Options.Interfaces
	Name string // of the interface
	Err  error  // the kernel's errno
}

// Error says which interface failed and why.
func (e *PortError) Error() string {
	return fmt.Sprintf("port %d (%s) failed: %v", e.Port, e.Name, e.Err)
}

// Unwrap returns the errno.
func (e *PortError) Unwrap() error { return e.Err }

// waiter lets one goroutine sleep on the sockets of a queue, others wake it,
// and a Close end its sleep.
type waiter struct {
	polls   []unix.PollFd // ports in order, then the wake-up descriptor
	spec    unix.Timespec
	wakeFD  int
	mu      sync.Mutex // guards descriptors against use after Close
	closed  atomic.Bool
	waiting atomic.Bool
}

// setup makes the wake-up descriptor; watch adds the sockets.
func (w *waiter) setup() (err error) {
	if w.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		w.wakeFD = -1
		return fmt.Errorf("create an eventfd: %w", err)
	}
	return nil
}

// watch makes the waiter wait for the sockets.
func (w *waiter) watch(fds []int) {
	for _, fd := range append(fds, w.wakeFD) {
		w.polls = append(w.polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
}

// wait sleeps and then asks failed for a port's failure.
func (w *waiter) wait(timeout time.Duration, failed func() error) error {
	w.waiting.Store(true)
	defer w.waiting.Store(false)
	if w.closed.Load() {
		return net.ErrClosed
	}
	if err := w.poll(timeout); err != nil {
		return err
	}
	if w.closed.Load() {
		return net.ErrClosed
	}
	return failed()
}

// poll waits on all live sockets and the wake-up descriptor. It kicks drivers
// that want that (xsk_poll does).
func (w *waiter) poll(timeout time.Duration) error {
	var ts *unix.Timespec
	if timeout >= 0 {
		w.spec = unix.NsecToTimespec(int64(timeout))
		ts = &w.spec
	}
	_, err := unix.Ppoll(w.polls, ts, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll AF_XDP sockets: %w", err)
	}
	if w.polls[len(w.polls)-1].Revents != 0 {
		drain(w.wakeFD)
	}
	return nil
}

// forget stops waiting for port i, and live reports whether that was done.
func (w *waiter) forget(i int)    { w.polls[i].Fd = -1 }
func (w *waiter) live(i int) bool { return w.polls[i].Fd >= 0 }

// end marks the queue closed and waits until no Wait is running. It reports
// false when that was done before.
func (w *waiter) end() bool {
	if w.closed.Swap(true) {
		return false
	}
	w.signal()
	for w.waiting.Load() {
		time.Sleep(50 * time.Microsecond)
	}
	return true
}

// Wake ends the current or the next Wait, from any goroutine.
func (w *waiter) Wake() {
	if !w.closed.Load() {
		w.signal()
	}
}

// signal makes the eventfd readable. It can only fail when it already is.
func (w *waiter) signal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wakeFD >= 0 {
		one := [8]byte{1}
		_, _ = unix.Write(w.wakeFD, one[:])
	}
}

// closeWake frees the eventfd; the caller holds mu.
func (w *waiter) closeWake() error {
	if w.wakeFD < 0 {
		return nil
	}
	fd := w.wakeFD
	w.wakeFD = -1
	return unix.Close(fd)
}

// drain makes an eventfd unreadable again.
func drain(fd int) {
	var b [8]byte
	_, _ = unix.Read(fd, b[:])
}

// Wait blocks until a frame may have arrived, the timeout passed (never, if
// negative) or Wake was called. The error is net.ErrClosed after Close, or a
// *PortError when an interface is found gone, within the timeout.
func (s *Set) Wait(timeout time.Duration) error { return s.wait(timeout, s.failed) }

// failed looks for a port whose interface went away since the last call. The
// kernel raises no poll event for that, only the socket's error.
func (s *Set) failed() error {
	for i := range s.ports {
		p := &s.ports[i]
		if s.live(i) && p.lost() {
			s.forget(i)
			return &PortError{Port: i, Name: s.opts.Interfaces[i].Name, Err: p.err}
		}
	}
	return nil
}
