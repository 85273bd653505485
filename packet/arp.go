package packet

import "encoding/binary"

// ARP operations (RFC 826).
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ARP for IPv4 over Ethernet (RFC 826):
//
//	 0         2         4    5    6         8
//	+---------+---------+----+----+---------+
//	| hw type | protocol| hl | pl | op      |
//	| 1       | 0x0800  | 6  | 4  |         |
//	+---------+---------+----+----+---------+
//	| sender MAC (8..13)          | sender IP (14..17)
//	+-----------------------------+---------+
//	| target MAC (18..23)         | target IP (24..27)
//	+-----------------------------+---------+
const (
	arpHardware  = 0
	arpOp        = 6
	arpSenderMAC = 8
	arpSenderIP  = 14
	arpTargetMAC = 18
	arpTargetIP  = 24

	// ARPLen is the bytes of an ARP message for IPv4 over Ethernet.
	ARPLen = 28

	// arpFormat is the first 6 bytes as one big-endian number.
	arpFormat = 0x0001_0800_0604
)

// ARP views an ARP message. Call Valid before any other method.
type ARP []byte

// ARPFields are the values of an ARP message to encode. IPs are wire words.
type ARPFields struct {
	Op                   uint16
	SenderMAC, TargetMAC MAC
	SenderIP, TargetIP   uint32
}

// Valid reports whether the message is complete and for IPv4 over Ethernet. It
// says nothing about the operation.
func (h ARP) Valid() bool {
	return len(h) >= ARPLen && binary.BigEndian.Uint64(h[arpHardware:])>>16 == arpFormat
}

// Op returns ARPRequest, ARPReply or anything else.
func (h ARP) Op() uint16 { return binary.BigEndian.Uint16(h[arpOp:]) }

// SenderMAC returns the sender's MAC.
func (h ARP) SenderMAC() MAC { return MAC(h[arpSenderMAC:arpSenderIP]) }

// SenderIP returns the sender's IPv4 address as a wire word.
func (h ARP) SenderIP() uint32 { return binary.LittleEndian.Uint32(h[arpSenderIP:]) }

// TargetMAC returns the target's MAC, usually zero in a request.
func (h ARP) TargetMAC() MAC { return MAC(h[arpTargetMAC:arpTargetIP]) }

// TargetIP returns the target's IPv4 address as a wire word.
func (h ARP) TargetIP() uint32 { return binary.LittleEndian.Uint32(h[arpTargetIP:]) }

// Encode writes all of f; h holds at least ARPLen bytes.
func (h ARP) Encode(f *ARPFields) {
	binary.BigEndian.PutUint64(h[arpHardware:], arpFormat<<16|uint64(f.Op))
	copy(h[arpSenderMAC:arpSenderIP], f.SenderMAC[:])
	binary.LittleEndian.PutUint32(h[arpSenderIP:], f.SenderIP)
	copy(h[arpTargetMAC:arpTargetIP], f.TargetMAC[:])
	binary.LittleEndian.PutUint32(h[arpTargetIP:], f.TargetIP)
}
