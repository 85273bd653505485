package afxdp

import (
	"errors"
	"fmt"
	"net"
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

// Wait blocks until a frame may have arrived, the timeout passed (never, if
// negative) or Wake was called. The error is net.ErrClosed after Close, or a
// *PortError when an interface is found gone, within the timeout.
func (s *Set) Wait(timeout time.Duration) error {
	s.waiting.Store(true)
	defer s.waiting.Store(false)
	if s.closed.Load() {
		return net.ErrClosed
	}
	if err := s.poll(timeout); err != nil {
		return err
	}
	if s.closed.Load() {
		return net.ErrClosed
	}
	return s.failed()
}

// poll waits on all live sockets and the wake-up descriptor. It kicks drivers
// that want that (xsk_poll does).
func (s *Set) poll(timeout time.Duration) error {
	var ts *unix.Timespec
	if timeout >= 0 {
		s.spec = unix.NsecToTimespec(int64(timeout))
		ts = &s.spec
	}
	_, err := unix.Ppoll(s.polls, ts, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll AF_XDP sockets: %w", err)
	}
	if s.polls[len(s.ports)].Revents != 0 {
		drain(s.wakeFD)
	}
	return nil
}

// failed looks for a port whose interface went away since the last call. The
// kernel raises no poll event for that, only the socket's error.
func (s *Set) failed() error {
	for i := range s.ports {
		p := &s.ports[i]
		if s.polls[i].Fd < 0 {
			continue
		}
		errno := p.k.pendingError()
		if errno == 0 && !p.dead {
			continue
		}
		if errno == 0 {
			errno = unix.ENXIO // found by a kick
		}
		p.fail()
		s.polls[i].Fd = -1
		return &PortError{Port: i, Name: s.opts.Interfaces[i].Name, Err: errno}
	}
	return nil
}

// Wake ends the current or the next Wait, from any goroutine.
func (s *Set) Wake() {
	if !s.closed.Load() {
		s.signal()
	}
}

func (s *Set) signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	signal(s.wakeFD)
}

// signal makes an eventfd readable. It can only fail when it already is.
func signal(fd int) {
	if fd >= 0 {
		one := [8]byte{1}
		_, _ = unix.Write(fd, one[:])
	}
}

// drain makes an eventfd unreadable again.
func drain(fd int) {
	var b [8]byte
	_, _ = unix.Read(fd, b[:])
}
