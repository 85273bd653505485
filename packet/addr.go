package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Addresses appear in two forms. The hot path has wire words: little-endian
// loads of the wire bytes, as in [Parsed]. Everybody else has [netip.Addr].

// WireV4 returns the wire word of an IPv4 (or IPv4-mapped) address; 0 for others.
func WireV4(a netip.Addr) uint32 {
	if a = a.Unmap(); !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.LittleEndian.Uint32(b[:])
}

// AddrV4 returns the address of a wire word.
func AddrV4(wire uint32) netip.Addr {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], wire)
	return netip.AddrFrom4(b)
}

// WireV6 returns the two wire words of an address, IPv4 as IPv4-mapped; zeros
// for the invalid Addr.
func WireV6(a netip.Addr) (wire [2]uint64) {
	if !a.IsValid() {
		return wire
	}
	b := a.As16()
	return [2]uint64{binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:])}
}

// AddrV6 returns the address of two wire words.
func AddrV6(wire [2]uint64) netip.Addr {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[0:], wire[0])
	binary.LittleEndian.PutUint64(b[8:], wire[1])
	return netip.AddrFrom16(b)
}

// WirePort turns a port between host order and the wire's little-endian load;
// it is its own inverse.
func WirePort(port uint16) uint16 { return swap16(port) }

// Src returns p's source address. Valid for every Kind but KindNone and KindARP.
func (p *Parsed) Src() netip.Addr {
	if p.V6() {
		return AddrV6([2]uint64{p.Addr[0], p.Addr[1]})
	}
	return AddrV4(uint32(p.Addr[0]))
}

// Dst returns p's destination address. Valid for every Kind but KindNone and KindARP.
func (p *Parsed) Dst() netip.Addr {
	if p.V6() {
		return AddrV6([2]uint64{p.Addr[2], p.Addr[3]})
	}
	return AddrV4(uint32(p.Addr[0] >> 32))
}

// MAC is an Ethernet address in wire order.
type MAC [6]byte

// BroadcastMAC returns the MAC of everybody on the link.
func BroadcastMAC() MAC { return MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// MACFromBytes copies 6 bytes, such as a net.HardwareAddr; ok is false for any
// other length.
func MACFromBytes(b []byte) (m MAC, ok bool) {
	if len(b) != len(m) {
		return m, false
	}
	return MAC(b), true
}

// IsMulticast reports the group bit; broadcast has it too.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// String returns "02:00:00:00:00:01".
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}
