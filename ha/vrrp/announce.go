package vrrp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"ulvs/packet"
)

// Announcer tells the neighbours on one interface that VIPs are at its MAC address.
type Announcer struct {
	name string
	link *net.Interface
	fd   int
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
	return &Announcer{name: name, link: link, fd: fd}, nil
}

// Close closes the socket.
func (a *Announcer) Close() error { return unix.Close(a.fd) }

// Announce sends each VIP once: as an ARP request and a reply, since some hosts heed only the one or the other
// (RFC 5227 section 3), or as an unsolicited neighbour advertisement that overrides (RFC 4861 section 7.2.6).
func (a *Announcer) Announce(vips []netip.Addr) error {
	mac := packet.MAC(a.link.HardwareAddr)
	var errs []error
	for _, vip := range vips {
		for _, frame := range frames(vip, mac) {
			to := &unix.SockaddrLinklayer{Ifindex: a.link.Index, Halen: 6, Protocol: binary.NativeEndian.Uint16(frame[12:14])}
			copy(to.Addr[:], frame)
			if err := unix.Sendto(a.fd, frame, 0, to); err != nil {
				errs = append(errs, fmt.Errorf("announce %s on %s: %w", vip, a.name, err))
			}
		}
	}
	return errors.Join(errs...)
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
