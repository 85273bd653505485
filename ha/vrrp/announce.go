package vrrp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"ulvs/ha"
	"ulvs/packet"
)

// Announcer tells the neighbours on one interface that VIPs are at its MAC address.
type Announcer struct {
	name string
	link *net.Interface
	fd   int
	macs map[packet.MAC]bool // that are listened for
}

// OpenAnnouncer opens a packet socket on the interface. It needs CAP_NET_RAW.
func OpenAnnouncer(name string) (*Announcer, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("announce on %s: %w", name, err)
	}
	if len(link.HardwareAddr) != 6 {
		return nil, fmt.Errorf("announce on %s: it is no Ethernet interface", name)
	}
	// Protocol 0: nothing is received.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("announce on %s: %w", name, err)
	}
	// Network control goes ahead of what waits in the interface's queue.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, prioControl); err != nil {
		return nil, errors.Join(fmt.Errorf("announce on %s: %w", name, err), unix.Close(fd))
	}
	return &Announcer{name: name, link: link, fd: fd, macs: map[packet.MAC]bool{}}, nil
}

// Close closes the socket.
func (a *Announcer) Close() error { return unix.Close(a.fd) }

// Listen has the interface take frames to another MAC address, too, or no more. It does so until Close or the end of
// the process, whichever way that ends. A NIC that filters no second address becomes promiscuous. One goroutine at a
// time.
func (a *Announcer) Listen(mac packet.MAC, yes bool) error {
	if a.macs[mac] == yes {
		return nil
	}
	what := unix.PACKET_ADD_MEMBERSHIP
	if !yes {
		what = unix.PACKET_DROP_MEMBERSHIP
	}
	mreq := &unix.PacketMreq{Ifindex: int32(a.link.Index), Type: unix.PACKET_MR_UNICAST, Alen: 6}
	copy(mreq.Address[:], mac[:])
	if err := unix.SetsockoptPacketMreq(a.fd, unix.SOL_PACKET, what, mreq); err != nil {
		return fmt.Errorf("have %s listen for %s: %w", a.name, mac, err)
	}
	a.macs[mac] = yes
	return nil
}

// Send sends an advert from an address of this host and a virtual router's MAC address to VRRP's group.
func (a *Announcer) Send(ad *ha.Advert, src netip.Addr, mac packet.MAC) error {
	if err := a.send(advertFrame(ad, src, mac)); err != nil {
		return fmt.Errorf("send an advert on %s from %s: %w", a.name, mac, err)
	}
	return nil
}

// advertFrame is a whole frame, since the kernel would send from the interface's address.
func advertFrame(ad *ha.Advert, src netip.Addr, mac packet.MAC) []byte {
	dst, to, size := ha.GroupV4, packet.MAC{0x01, 0x00, 0x5e, 0, 0, 0x12}, packet.IPv4Len
	etherType := uint16(packet.EtherTypeIPv4)
	if src.Is6() {
		dst, to, size, etherType = ha.GroupV6, packet.MAC{0x33, 0x33, 0, 0, 0, 0x12}, packet.IPv6Len, packet.EtherTypeIPv6
	}
	b := ad.Append(make([]byte, packet.EthernetLen+size), src, dst)
	packet.Ethernet(b).Encode(&packet.EthernetFields{Dst: to, Src: mac, EtherType: etherType})
	ip, n := b[packet.EthernetLen:], len(b)-packet.EthernetLen
	if src.Is6() {
		ip[0], ip[1], ip[6], ip[7] = 0x60|tos>>4, tos<<4&0xff, ha.Proto, ttl
		binary.BigEndian.PutUint16(ip[4:], uint16(n-size))
		copy(ip[8:], src.AsSlice())
		copy(ip[24:], dst.AsSlice())
		return b
	}
	ip[0], ip[1], ip[8], ip[9] = 0x45, tos, ttl, ha.Proto
	binary.BigEndian.PutUint16(ip[2:], uint16(n))
	copy(ip[12:], src.AsSlice())
	copy(ip[16:], dst.AsSlice())
	packet.IPv4(ip).UpdateChecksum()
	return b
}

// Announce sends each VIP once: as an ARP request and a reply, since some hosts heed only the one or the other
// (RFC 5227 section 3), or as an unsolicited neighbour advertisement that overrides (RFC 4861 section 7.2.6).
// mac is where the VIPs are; zero: at the interface's own address.
func (a *Announcer) Announce(vips []netip.Addr, mac packet.MAC) error {
	if mac == (packet.MAC{}) {
		mac = packet.MAC(a.link.HardwareAddr)
	}
	var errs []error
	for _, vip := range vips {
		for _, frame := range frames(vip, mac) {
			if err := a.send(frame); err != nil {
				errs = append(errs, fmt.Errorf("announce %s on %s: %w", vip, a.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (a *Announcer) send(frame []byte) error {
	to := &unix.SockaddrLinklayer{Ifindex: a.link.Index, Halen: 6, Protocol: binary.NativeEndian.Uint16(frame[12:14])}
	copy(to.Addr[:], frame)
	return unix.Sendto(a.fd, frame, 0, to)
}

// frames returns what announces vip at mac.
func frames(vip netip.Addr, mac packet.MAC) [][]byte {
	if vip.Is6() {
		return [][]byte{unsolicitedNA(vip, mac)}
	}
	return [][]byte{gratuitousARP(vip, mac, packet.ARPRequest), gratuitousARP(vip, mac, packet.ARPReply)}
}

func gratuitousARP(vip netip.Addr, mac packet.MAC, op uint16) []byte {
	b := make([]byte, 60) // the shortest frame on a wire
	broadcast := packet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	packet.Ethernet(b).Encode(&packet.EthernetFields{Dst: broadcast, Src: mac, EtherType: packet.EtherTypeARP})
	f := packet.ARPFields{Op: op, SenderMAC: mac, SenderIP: packet.WireV4(vip), TargetIP: packet.WireV4(vip)}
	if op == packet.ARPReply {
		f.TargetMAC = broadcast
	}
	packet.ARP(b[packet.EthernetLen:]).Encode(&f)
	return b
}

// unsolicitedNA is a neighbour advertisement to all nodes, with the override flag.
func unsolicitedNA(vip netip.Addr, mac packet.MAC) []byte {
	const (
		naLen    = 32 // header, target, option with our MAC
		override = 0x20
	)
	b := make([]byte, packet.EthernetLen+40+naLen)
	packet.Ethernet(b).Encode(&packet.EthernetFields{Dst: packet.MAC{0x33, 0x33, 0, 0, 0, 1}, Src: mac,
		EtherType: packet.EtherTypeIPv6})
	ip := b[packet.EthernetLen:]
	ip[0], ip[5], ip[6], ip[7] = 0x60, naLen, packet.ProtoICMPv6, 255
	copy(ip[8:], vip.AsSlice())
	allNodes := netip.MustParseAddr("ff02::1")
	copy(ip[24:], allNodes.AsSlice())
	na := ip[40:]
	na[0], na[4] = 136, override
	copy(na[8:], vip.AsSlice())
	na[24], na[25] = 2, 1 // target link-layer address, in units of eight bytes
	copy(na[26:], mac[:])
	sealICMPv6(ip)
	return b
}
