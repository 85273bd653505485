package packet

import (
	"net/netip"
	"testing"
)

func TestWireWordsRoundTrip(t *testing.T) {
	a4, a6 := netip.MustParseAddr("198.18.0.100"), netip.MustParseAddr("2001:db8::1")
	want(t, "IPv4 word", WireV4(a4), 0x640012c6)
	want(t, "IPv4", AddrV4(WireV4(a4)), a4)
	want(t, "mapped IPv4", AddrV4(WireV4(netip.AddrFrom16(a4.As16()))), a4)
	want(t, "IPv6 as an IPv4 word", WireV4(a6), 0)
	want(t, "IPv6", AddrV6(WireV6(a6)), a6)
	want(t, "no address", WireV6(netip.Addr{}), [2]uint64{})
	want(t, "no IPv4 address", WireV4(netip.Addr{}), 0)
	want(t, "port", WirePort(0x1234), 0x3412)
}

func TestParsedKeyIsTheWireInLittleEndianLoads(t *testing.T) {
	var p Parsed
	want(t, "error", Parse(tcp4().frame(), &p), ErrNone)
	want(t, "addresses", p.Addr, [4]uint64{0x640012c6_010200c0})
	want(t, "L4", p.L4, 6<<32|uint64(WirePort(80))<<16|uint64(WirePort(40000)))
	want(t, "flags", p.TCPFlags, TCPSyn)
	want(t, "error", Parse(udp6().frame(), &p), ErrNone)
	want(t, "addresses", p.Addr,
		[4]uint64{0x00000000_b80d0120, 0x01000000_00000000, 0x00000c00_b80d0120, 0x00010000_00000000})
	want(t, "L4", p.L4, 17<<32|uint64(WirePort(53))<<16|uint64(WirePort(5353)))
}

func TestTupleIsForPeople(t *testing.T) {
	for name, c := range map[string]struct {
		k        pkt
		src, dst string
	}{
		"IPv4": {tcp4(), "192.0.2.1:40000", "198.18.0.100:80"},
		"IPv6": {tcp6(), "[2001:db8::1]:40000", "[2001:db8:c::100]:80"},
	} {
		var p Parsed
		want(t, name+" error", Parse(c.k.frame(), &p), ErrNone)
		tuple := p.Tuple()
		want(t, name+" source", tuple.SrcAddrPort().String(), c.src)
		want(t, name+" destination", tuple.DstAddrPort().String(), c.dst)
		want(t, name+" protocol", tuple.Proto, ProtoTCP)
		want(t, name+" Src", p.Src(), tuple.SrcAddrPort().Addr())
		want(t, name+" Dst", p.Dst(), tuple.DstAddrPort().Addr())
	}
}

func TestParsedTellsTheTagAndTheFragment(t *testing.T) {
	var p Parsed
	want(t, "error", Parse(udp4().tagged(0x6007).frame(), &p), ErrNone)
	want(t, "TCI", p.VLAN, 0x6007)
	want(t, "IP header at", p.L3Off, 18)
	want(t, "L4 header at", p.L4Off, 38)
	want(t, "error", Parse(udp4().frag(1480, false).frame(), &p), ErrNone)
	want(t, "offset", p.FragOff, 1480)
	want(t, "ID", p.FragID, 7)
	want(t, "L4", p.L4, 17<<32)
}
