package afxdp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

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
	unasked time.Duration // slept since the ports were asked whether they failed
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

// wait sleeps and then, unless it did lately, asks failed for a port's failure.
func (w *waiter) wait(timeout time.Duration, failed func() error) error {
	w.waiting.Store(true)
	defer w.waiting.Store(false)
	if w.closed.Load() {
		return net.ErrClosed
	}
	n, err := w.poll(timeout)
	if err != nil {
		return err
	}
	if w.closed.Load() {
		return net.ErrClosed
	}
	if n > 0 && w.unasked < askEvery {
		return nil
	}
	w.unasked = 0
	return failed()
}

const (
	// askEvery is how long a busy worker sleeps, all in all, until it asks its ports whether they failed: that is a
	// system call for each of them.
	askEvery = 50 * time.Millisecond
	// leastSleep is what a sleep counts for that ended at once, so that those come to an end, too.
	leastSleep = 10 * time.Microsecond
	// briefly is how long a sleep goes on behind the Go scheduler's back. Frames mostly come within it.
	briefly = 2 * time.Millisecond
)

// poll waits on all live sockets and the wake-up descriptor, and returns how many of them have something. It kicks
// drivers that want that (xsk_poll does).
func (w *waiter) poll(timeout time.Duration) (n int, err error) {
	if n, err = w.pollBriefly(timeout); n == 0 && err == nil && (timeout < 0 || timeout > briefly) {
		n, err = w.pollLong(timeout)
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("poll AF_XDP sockets: %w", err)
	}
	if w.polls[len(w.polls)-1].Revents != 0 {
		drain(w.wakeFD)
	}
	return n, nil
}

// pollBriefly keeps its processor while it sleeps, as if it computed. Had it told the scheduler, the runtime's monitor
// would take the processor away after 20 us, and look for more of that kind every 20 us from then on: with ten thousand
// frames a second that is more work than forwarding them. Whoever wants to stop the world sends the thread a signal,
// which ends the sleep.
func (w *waiter) pollBriefly(timeout time.Duration) (int, error) {
	want := briefly
	if timeout >= 0 {
		want = min(want, timeout)
	}
	w.spec = unix.NsecToTimespec(int64(want))
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&w.polls[0])), uintptr(len(w.polls)),
		uintptr(unsafe.Pointer(&w.spec)), 0, 0, 0)
	w.unasked += max(want-time.Duration(w.spec.Nano()), leastSleep) // the kernel leaves in it what was left
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// pollLong sleeps as one should.
func (w *waiter) pollLong(timeout time.Duration) (int, error) {
	w.unasked = askEvery
	if timeout < 0 {
		return unix.Ppoll(w.polls, nil, nil)
	}
	w.spec = unix.NsecToTimespec(int64(timeout - briefly))
	return unix.Ppoll(w.polls, &w.spec, nil)
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
