package route

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// message is one rtnetlink message; data is borrowed.
type message struct {
	typ, flags uint16
	data       []byte
}

// eventSocket receives what the kernel multicasts. nl's own socket would allocate 64 KiB
// for every event, gigabytes when a routing peer flaps.
type eventSocket struct {
	file *os.File
	conn syscall.RawConn
	buf  []byte
}

func subscribe(ns netns.NsHandle, buffer int) (*eventSocket, error) {
	s, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if s.SetReceiveBufferSize(buffer, true) != nil {
		// Without CAP_NET_ADMIN as much as net.core.rmem_max grants is enough to run on.
		_ = s.SetReceiveBufferSize(buffer, false)
	}
	fd, err := unix.FcntlInt(uintptr(s.GetFd()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate a netlink socket: %w", err)
	}
	e := &eventSocket{file: os.NewFile(uintptr(fd), "rtnetlink"), buf: make([]byte, 1<<16)}
	e.conn, err = e.file.SyscallConn()
	return e, err
}

// receive waits for the next datagram of the kernel, until wait is over (unix.EAGAIN).
// The bytes are valid until the next call. ENOBUFS says that events were lost.
func (e *eventSocket) receive(wait time.Duration) ([]byte, error) {
	if err := e.file.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	var n int
	var from unix.Sockaddr
	var errno error
	err := e.conn.Read(func(fd uintptr) bool {
		n, from, errno = unix.Recvfrom(int(fd), e.buf, 0)
		return errno != unix.EAGAIN && errno != unix.EINTR
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, unix.EAGAIN
	case err != nil:
		return nil, err
	case errno != nil:
		return nil, errno
	}
	if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != nl.PidKernel {
		return nil, nil // another process may send to a group's members
	}
	return e.buf[:n], nil
}

func (e *eventSocket) close() { _ = e.file.Close() }

// next cuts the first message off a datagram; ok is false at its end.
//
//	nlmsghdr: length 32 (itself included) | type 16 | flags 16 | sequence 32 | port 32
func next(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.NLMSG_HDRLEN {
		return m, nil, false
	}
	n := int64(order.Uint32(b))
	if n < unix.NLMSG_HDRLEN || n > int64(len(b)) {
		return m, nil, false
	}
	m = message{typ: order.Uint16(b[4:]), flags: order.Uint16(b[6:]), data: b[unix.NLMSG_HDRLEN:n]}
	return m, b[min(align(int(n)), len(b)):], true
}
