package load

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Server is a TCP server of one thread that speaks the package's own protocol, and a UDP port of the same number
// that swallows: datagrams for it are counted by the kernel and read by nobody.
type Server struct {
	poll   *poller
	listen int
	udp    int
	buf    [maxSize]byte
}

// listening is the slot of the listener's events; others are file descriptors.
const listening = 1

// backlog is how many connections may wait for accept.
const backlog = 4096

// Listen opens a port on every address of the host. Several servers may listen on it.
func Listen(port uint16) (*Server, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	s := &Server{poll: poll, listen: -1, udp: -1}
	if err := s.open(port); err != nil {
		s.Close()
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return s, nil
}

func (s *Server) open(port uint16) (err error) {
	if s.listen, err = bound(unix.SOCK_STREAM, port); err != nil {
		return err
	}
	if err = unix.Listen(s.listen, backlog); err != nil {
		return err
	}
	if s.udp, err = bound(unix.SOCK_DGRAM, port); err != nil {
		return err
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: listening}
	return unix.EpollCtl(s.poll.fd, unix.EPOLL_CTL_ADD, s.listen, &ev)
}

func bound(kind int, port uint16) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if kind == unix.SOCK_DGRAM {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1) // the kernel's smallest
	}
	sa, _ := sockaddr(netip.AddrPortFrom(netip.IPv6Unspecified(), port))
	if err := unix.Bind(fd, sa); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Serve answers until ctx is done.
func (s *Server) Serve(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for ctx.Err() == nil {
		events, err := s.poll.wait(100 * time.Millisecond)
		if err != nil {
			return err
		}
		for i := range events {
			if events[i].Fd == listening {
				s.accept()
				continue
			}
			s.answer(int(events[i].Fd))
		}
	}
	return nil
}

func (s *Server) accept() {
	for range burst {
		fd, _, err := unix.Accept4(s.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // none is left, or no descriptor is
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if s.poll.add(fd, int32(fd)) != nil {
			_ = unix.Close(fd)
		}
	}
}

// answer returns as many bytes as came, and closes if the first of them says so.
func (s *Server) answer(fd int) {
	for {
		n, err := unix.Read(fd, s.buf[:])
		if err == unix.EAGAIN {
			return
		}
		if err != nil || n == 0 {
			_ = unix.Close(fd)
			return
		}
		_, err = unix.Write(fd, s.buf[:n])
		if err != nil || s.buf[0] == closeAfter {
			_ = unix.Close(fd)
			return
		}
	}
}

// Close stops listening. Connections end with the process.
func (s *Server) Close() {
	for _, fd := range []int{s.listen, s.udp} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	s.poll.close()
}
