// Package vrrp is the sockets of package ha: adverts out and in, and the announcements that tell
// neighbours where a VIP is.
//
// It owns raw sockets of protocol 112, bound to one interface each, multicast membership, TTLs, and
// the frames of gratuitous ARP and unsolicited neighbour advertisements. It does not decide anything,
// and takes no advert for good: it decodes, and hands over what is one.
package vrrp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"ulvs/ha"
)

const (
	ttl = 255 // whoever is behind a router cannot send one that arrives with 255
	// tos is CS6, internetwork control, as keepalived sends.
	tos = 0xc0
	// receiveBuffer holds a burst of adverts while the process stands still.
	receiveBuffer = 256 << 10
	prioControl   = 7 // TC_PRIO_CONTROL of linux/pkt_sched.h
)

// Received is an advert that arrived whole.
type Received struct {
	Advert ha.Advert
	ha.Arrival
	Interface string
}

// Socket sends and receives the adverts of one family on one interface.
type Socket struct {
	name string
	link *net.Interface
	v6   bool
	pc   net.PacketConn
	p4   *ipv4.PacketConn
	p6   *ipv6.PacketConn
}

// Open opens a socket on the interface for IPv4 or IPv6 and joins VRRP's group. It needs CAP_NET_RAW.
func Open(name string, v6 bool) (*Socket, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("open VRRP on %s: %w", name, err)
	}
	s := &Socket{name: name, link: link, v6: v6}
	network, any := "ip4:112", "0.0.0.0"
	if v6 {
		network, any = "ip6:112", "::"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return bind(c, name) }}
	if s.pc, err = lc.ListenPacket(context.Background(), network, any); err != nil {
		return nil, fmt.Errorf("open VRRP on %s: %w", name, err)
	}
	if err := s.set(); err != nil {
		s.pc.Close()
		return nil, fmt.Errorf("open VRRP on %s: %w", name, err)
	}
	return s, nil
}

func bind(c syscall.RawConn, name string) (err error) {
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name)
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
		if err == nil {
			// Network control goes ahead of what waits in the interface's queue.
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, prioControl)
		}
	}); e != nil {
		return e
	}
	return err
}

// set sets what adverts need; errors of all of it are joined, each says enough by itself.
func (s *Socket) set() error {
	if s.v6 {
		s.p6 = ipv6.NewPacketConn(s.pc)
		return errors.Join(s.p6.JoinGroup(s.link, &net.IPAddr{IP: ha.GroupV6.AsSlice()}), s.p6.SetMulticastInterface(s.link),
			s.p6.SetMulticastHopLimit(ttl), s.p6.SetHopLimit(ttl), s.p6.SetMulticastLoopback(false),
			s.p6.SetTrafficClass(tos), s.p6.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst, true))
	}
	s.p4 = ipv4.NewPacketConn(s.pc)
	return errors.Join(s.p4.JoinGroup(s.link, &net.IPAddr{IP: ha.GroupV4.AsSlice()}), s.p4.SetMulticastInterface(s.link),
		s.p4.SetMulticastTTL(ttl), s.p4.SetTTL(ttl), s.p4.SetMulticastLoopback(false), s.p4.SetTOS(tos),
		s.p4.SetControlMessage(ipv4.FlagTTL|ipv4.FlagDst, true))
}

// Close closes the socket; Receive returns.
func (s *Socket) Close() error { return s.pc.Close() }

// Send sends an advert from src to the group, or to each peer where there are any. Every peer is tried.
func (s *Socket) Send(a *ha.Advert, src netip.Addr, peers []netip.Addr) error {
	if len(peers) == 0 {
		peers = []netip.Addr{ha.GroupV4}
		if s.v6 {
			peers = []netip.Addr{ha.GroupV6}
		}
	}
	var errs []error
	for _, dst := range peers {
		if err := s.write(a.Append(nil, src, dst), src, dst); err != nil {
			errs = append(errs, fmt.Errorf("send an advert on %s to %s: %w", s.name, dst, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Socket) write(b []byte, src, dst netip.Addr) (err error) {
	to := &net.IPAddr{IP: dst.AsSlice()}
	// Never wait for room: an advert that is late is worth nothing.
	if err := s.pc.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		return err
	}
	if s.v6 {
		if dst.IsLinkLocalUnicast() || dst.IsMulticast() {
			to.Zone = s.name
		}
		_, err = s.p6.WriteTo(b, &ipv6.ControlMessage{Src: src.AsSlice(), IfIndex: s.link.Index}, to)
		return err
	}
	_, err = s.p4.WriteTo(b, &ipv4.ControlMessage{Src: src.AsSlice(), IfIndex: s.link.Index}, to)
	return err
}

// Receive reads one packet. It returns why it is no advert, or RejectNone with the advert. The error is
// net.ErrClosed after Close, or the socket's.
func (s *Socket) Receive(r *Received) (ha.Reject, error) {
	b := make([]byte, ha.MaxAdvertLen)
	n, err := s.read(b, r)
	if err != nil {
		return ha.RejectNone, err
	}
	r.Interface = s.name
	return r.Advert.Decode(b[:n], r.Arrival), nil
}

func (s *Socket) read(b []byte, r *Received) (n int, err error) {
	var from net.Addr
	r.Dst, r.TTL = netip.Addr{}, 0
	if s.v6 {
		var cm *ipv6.ControlMessage
		if n, cm, from, err = s.p6.ReadFrom(b); err == nil && cm != nil {
			r.TTL, r.Dst = uint8(cm.HopLimit), address(cm.Dst)
		}
	} else {
		var cm *ipv4.ControlMessage
		if n, cm, from, err = s.p4.ReadFrom(b); err == nil && cm != nil {
			r.TTL, r.Dst = uint8(cm.TTL), address(cm.Dst)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("receive adverts on %s: %w", s.name, err)
	}
	if ip, ok := from.(*net.IPAddr); ok {
		r.Src = address(ip.IP)
	}
	return n, nil
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// Source returns the address that adverts are sent from: the interface's first IPv4 address that is no VIP, or
// its IPv6 link-local one.
func Source(name string, v6 bool, vips []netip.Addr) (netip.Addr, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the address of %s: %w", name, err)
	}
	addrs, err := link.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the address of %s: %w", name, err)
	}
	held := map[netip.Addr]bool{}
	for _, v := range vips {
		held[v] = true
	}
	for _, a := range addrs {
		p, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr := address(p.IP)
		if !held[addr] && (v6 && addr.Is6() && addr.IsLinkLocalUnicast() || !v6 && addr.Is4()) {
			return addr, nil
		}
	}
	family := "IPv4"
	if v6 {
		family = "link-local IPv6"
	}
	return netip.Addr{}, fmt.Errorf("%s has no %s address to send adverts from: give it one, see: ip addr", name, family)
}
