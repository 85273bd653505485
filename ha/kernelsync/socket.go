package kernelsync

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Link is where messages go or come from.
type Link struct {
	Interface string
	Group     netip.Addr
	Port      uint16
	TTL       uint8 // of what is sent; or hop limit
}

// receiveBuffer holds what a master sends in a burst: a quarter of a million connections.
const receiveBuffer = 16 << 20

// Listen opens a socket for what is sent to the group on the interface. Errors wrap a syscall.Errno; ENODEV: there is
// no such interface.
func (l Link) Listen() (*os.File, error) {
	f, err := l.open(func(fd int, link *net.Interface) error {
		return errors.Join(l.join(fd, link), unix.Bind(fd, l.sockaddr(link)))
	})
	if err != nil {
		return nil, fmt.Errorf("listen to %s port %d on %s: %w", l.Group, l.Port, l.Interface, err)
	}
	return f, nil
}

// Dial opens a socket that sends to the group on the interface; its own messages do not come back. Errors are
// Listen's.
func (l Link) Dial() (*os.File, error) {
	f, err := l.open(func(fd int, link *net.Interface) error {
		return errors.Join(l.aim(fd, link), unix.Connect(fd, l.sockaddr(link)))
	})
	if err != nil {
		return nil, fmt.Errorf("send to %s port %d on %s: %w", l.Group, l.Port, l.Interface, err)
	}
	return f, nil
}

func (l Link) open(set func(fd int, link *net.Interface) error) (*os.File, error) {
	link, err := net.InterfaceByName(l.Interface)
	if err != nil {
		return nil, errors.Join(err, syscall.ENODEV)
	}
	family := unix.AF_INET
	if l.Group.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, l.Interface)
	if err == nil {
		err = set(fd, link)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "ipvs sync on "+l.Interface), nil
}

// join has the group's messages come, and only those to the group (ip_vs_sync.c, make_receive_sock).
func (l Link) join(fd int, link *net.Interface) error {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) // else the host's default
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if l.Group.Is6() {
		m := &unix.IPv6Mreq{Multiaddr: l.Group.As16(), Interface: uint32(link.Index)}
		return errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
			unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, m))
	}
	m := &unix.IPMreqn{Multiaddr: l.Group.As4(), Ifindex: int32(link.Index)}
	return errors.Join(err, unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, m))
}

// aim has messages leave by the interface (make_send_sock).
func (l Link) aim(fd int, link *net.Interface) error {
	if l.Group.Is6() {
		const level = unix.IPPROTO_IPV6
		return errors.Join(unix.SetsockoptInt(fd, level, unix.IPV6_MULTICAST_IF, link.Index),
			unix.SetsockoptInt(fd, level, unix.IPV6_MULTICAST_HOPS, int(l.TTL)),
			unix.SetsockoptInt(fd, level, unix.IPV6_MULTICAST_LOOP, 0))
	}
	const level = unix.IPPROTO_IP
	return errors.Join(unix.SetsockoptIPMreqn(fd, level, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(link.Index)}),
		unix.SetsockoptInt(fd, level, unix.IP_MULTICAST_TTL, int(l.TTL)),
		unix.SetsockoptInt(fd, level, unix.IP_MULTICAST_LOOP, 0),
		unix.SetsockoptInt(fd, level, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT))
}

func (l Link) sockaddr(link *net.Interface) unix.Sockaddr {
	if l.Group.Is6() {
		return &unix.SockaddrInet6{Port: int(l.Port), Addr: l.Group.As16(), ZoneId: uint32(link.Index)}
	}
	return &unix.SockaddrInet4{Port: int(l.Port), Addr: l.Group.As4()}
}

// closed reports whether a read failed because the socket was closed.
func closed(err error) bool { return errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) }
