package differential

import (
	"net/netip"
	"slices"

	"ulvs/test/conformance"
)

// The recordings' network, as far as the model needs it: clients are behind a router on c0, real servers on
// s0.
const (
	portC0, portS0 = 0, 1
	reals          = 7
	firstReal      = 21
)

var portNames = [2]string{"c0", "s0"}

var (
	ownMACs   = [2][6]byte{{2, 0, 0, 0, 1, 1}, {2, 0, 0, 0, 1, 2}}
	routerMAC = [6]byte{2, 0, 0, 0, 0, 1}
)

// portAddrs is what the director sends its own packets from.
var portAddrs = [2][2]netip.Addr{
	{netip.MustParseAddr("198.18.0.10"), netip.MustParseAddr("10.0.0.10")},
	{netip.MustParseAddr("2001:db8:c::100"), netip.MustParseAddr("fd00::10")},
}

var locals = []netip.Addr{
	netip.MustParseAddr("198.18.0.10"), netip.MustParseAddr("198.18.0.100"), netip.MustParseAddr("2001:db8:c::10"),
	netip.MustParseAddr("2001:db8:c::100"), netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("fd00::10"),
}

// Packets to markNet get firewall mark theMark.
var markNet = netip.MustParsePrefix("198.18.1.0/24")

const theMark = 5

func isLocal(a netip.Addr) bool { return slices.Contains(locals, a) || markNet.Contains(a) }

// realAddr is the address of real server i of 7.
func realAddr(i int, v6 bool) netip.Addr {
	n := byte(firstReal + i)
	if v6 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 15: n/10<<4 | n%10}) // fd00::21 is written in decimal digits
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, n})
}

// realOf is the opposite, -1 for others.
func realOf(a netip.Addr) int {
	for i := range reals {
		if a == realAddr(i, a.Is6()) {
			return i
		}
	}
	return -1
}

// route says where packets for a go: the port and the neighbour.
func route(a netip.Addr) (port int, mac [6]byte) {
	if i := realOf(a); i >= 0 {
		return portS0, [6]byte{2, 0, 0, 0, 2, byte(firstReal + i)}
	}
	return portC0, routerMAC
}

// sourceFor is the address that the director sends to a from.
func sourceFor(a netip.Addr) netip.Addr {
	port, _ := route(a)
	v6 := 0
	if a.Is6() {
		v6 = 1
	}
	if port == portC0 && v6 == 1 {
		return netip.MustParseAddr("2001:db8:c::10")
	}
	return portAddrs[v6][port]
}

// portAddr is the address of the port that a packet came in by.
func portAddr(port int, v6 bool) netip.Addr {
	if v6 {
		return portAddrs[1][port]
	}
	return portAddrs[0][port]
}

// frame puts a packet on the wire of a port.
func frame(port int, to [6]byte, packet []byte) conformance.Frame {
	kind := []byte{8, 0}
	if packet[0]>>4 == 6 {
		kind = []byte{0x86, 0xdd}
	}
	return conformance.Frame{If: portNames[port], Hex: slices.Concat(to[:], ownMACs[port][:], kind, packet)}
}
