package vrrp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"ulvs/packet"
)

// Prober asks who is at an address of one interface's network, by ARP or neighbour discovery, without the
// kernel's neighbour table, which may remember the dead.
type Prober struct {
	link *net.Interface
	v6   bool
	file *os.File
}

// OpenProber opens a packet socket on the interface for one family. It needs CAP_NET_RAW.
func OpenProber(name string, v6 bool) (*Prober, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("ask the gateway on %s: %w", name, err)
	}
	if len(link.HardwareAddr) != 6 {
		return nil, fmt.Errorf("ask the gateway on %s: it is no Ethernet interface", name)
	}
	proto := etherType(v6)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("ask the gateway on %s: %w", name, err)
	}
	err = errors.Join(filterAnswers(fd, v6), unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: link.Index}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask the gateway on %s: %w", name, err), unix.Close(fd))
	}
	return &Prober{link: link, v6: v6, file: os.NewFile(uintptr(fd), "gateway of "+name)}, nil
}

// etherType is in network byte order, as packet sockets want it.
func etherType(v6 bool) uint16 {
	if v6 {
		return packet.WirePort(unix.ETH_P_IPV6)
	}
	return packet.WirePort(unix.ETH_P_ARP)
}

// Offsets in an answer's frame.
const (
	arpOpOff     = packet.EthernetLen + 6
	arpSenderOff = packet.EthernetLen + 14
	ip6NextOff   = packet.EthernetLen + 6
	icmp6Off     = packet.EthernetLen + 40
	naTargetOff  = icmp6Off + 8
	naType       = 136
	nsType       = 135
)

// filterAnswers lets nothing through but ARP replies or neighbour advertisements: the IPv6 traffic of a busy host
// is none of ours.
func filterAnswers(fd int, v6 bool) error {
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: arpOpOff, Size: 2}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packet.ARPReply, SkipTrue: 1},
		bpf.RetConstant{Val: 128}, bpf.RetConstant{},
	}
	if v6 {
		program = []bpf.Instruction{
			bpf.LoadAbsolute{Off: ip6NextOff, Size: 1}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packet.ProtoICMPv6, SkipTrue: 3},
			bpf.LoadAbsolute{Off: icmp6Off, Size: 1}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: naType, SkipTrue: 1},
			bpf.RetConstant{Val: 128}, bpf.RetConstant{},
		}
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// Ask sends one request for an address, from an address of this host.
func (p *Prober) Ask(target, source netip.Addr) error {
	frame := p.question(target, source)
	if _, err := p.file.Write(frame); err != nil {
		return fmt.Errorf("ask for %s on %s: %w", target, p.link.Name, err)
	}
	return nil
}

func (p *Prober) question(target, source netip.Addr) []byte {
	mac := packet.MAC(p.link.HardwareAddr)
	if p.v6 {
		return solicitation(target, source, mac)
	}
	b := gratuitousARP(source, mac, packet.ARPRequest)
	copy(b[packet.EthernetLen+24:], target.AsSlice())
	return b
}

// solicitation is a neighbour solicitation (RFC 4861 section 4.3) to the target's solicited-node group.
func solicitation(target, source netip.Addr, mac packet.MAC) []byte {
	b := unsolicitedNA(target, mac)
	group, to := packet.SolicitedNode(packet.WireV6(target))
	packet.Ethernet(b).Encode(&packet.EthernetFields{Dst: to, Src: mac, EtherType: packet.EtherTypeIPv6})
	ip := b[packet.EthernetLen:]
	copy(ip[8:], source.AsSlice())
	copy(ip[24:], packet.AddrV6(group).AsSlice())
	ns := ip[40:]
	ns[0], ns[4], ns[24] = nsType, 0, 1 // source link-layer address
	sealICMPv6(ip)
	return b
}

// sealICMPv6 sets the checksum of an IPv6 packet of ICMPv6.
func sealICMPv6(ip []byte) {
	icmp := ip[40:]
	icmp[2], icmp[3] = 0, 0
	var a [4]uint64
	for i := range a {
		a[i] = binary.LittleEndian.Uint64(ip[8+8*i:])
	}
	sum := packet.Fold(packet.Sum(icmp, packet.PseudoV6(&a, packet.ProtoICMPv6, len(icmp))))
	binary.LittleEndian.PutUint16(icmp[2:], uint16(sum))
}

// Answer waits for an answer and returns whose it is. Its error is os.ErrClosed's after Close.
func (p *Prober) Answer() (netip.Addr, error) {
	var b [256]byte
	for {
		n, err := p.file.Read(b[:])
		if err != nil {
			return netip.Addr{}, fmt.Errorf("answers of the gateway on %s: %w", p.link.Name, err)
		}
		at, size := arpSenderOff, 4
		if p.v6 {
			at, size = naTargetOff, 16
		}
		if n >= at+size {
			a, _ := netip.AddrFromSlice(b[at : at+size]) // of 4 or 16 bytes
			return a, nil
		}
	}
}

// Close closes the socket; Answer returns.
func (p *Prober) Close() error { return p.file.Close() }
