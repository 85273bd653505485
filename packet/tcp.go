package packet

import "encoding/binary"

// TCP flags as in [Parsed].TCPFlags (RFC 9293, RFC 3168).
const (
	TCPFin = 1 << iota
	TCPSyn
	TCPRst
	TCPPsh
	TCPAck
	TCPUrg
	TCPEce
	TCPCwr
)

// A TCP header (RFC 9293 section 3.1):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|          Source Port          |       Destination Port        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                        Sequence Number                        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                    Acknowledgment Number                      |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| Offset| Rsrvd |     Flags     |            Window             |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|           Checksum            |         Urgent Pointer        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	tcpSrcPort  = 0
	tcpDstPort  = 2
	tcpSeq      = 4
	tcpAck      = 8
	tcpOffset   = 12
	tcpFlags    = 13
	tcpWindow   = 14
	tcpChecksum = 16
	tcpUrgent   = 18

	// TCPLen is the bytes of a TCP header without options.
	TCPLen = 20
)

// TCP views a TCP segment. Call Valid before any other method. Setters leave
// the checksum alone.
type TCP []byte

// TCPFields are the values of a header without options to encode.
type TCPFields struct {
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Flags            uint8
	Window           uint16
}

// Valid reports whether the fixed header is complete. It does not look at the
// data offset: neither do the kernel's IPVS and [Parse].
func (h TCP) Valid() bool { return len(h) >= TCPLen }

// SrcPort returns the source port in host order.
func (h TCP) SrcPort() uint16 { return binary.BigEndian.Uint16(h[tcpSrcPort:]) }

// DstPort returns the destination port in host order.
func (h TCP) DstPort() uint16 { return binary.BigEndian.Uint16(h[tcpDstPort:]) }

// PortsWire returns both ports as the low half of [Parsed].L4 has them.
func (h TCP) PortsWire() uint32 { return binary.LittleEndian.Uint32(h[tcpSrcPort:]) }

// Seq returns the sequence number.
func (h TCP) Seq() uint32 { return binary.BigEndian.Uint32(h[tcpSeq:]) }

// Ack returns the acknowledgment number.
func (h TCP) Ack() uint32 { return binary.BigEndian.Uint32(h[tcpAck:]) }

// HeaderLen returns the bytes of the header as its data offset claims; it may
// lie.
func (h TCP) HeaderLen() int { return int(h[tcpOffset]>>4) * 4 }

// Flags returns the eight flags, TCPFin the lowest.
func (h TCP) Flags() uint8 { return h[tcpFlags] }

// Window returns the window, unscaled.
func (h TCP) Window() uint16 { return binary.BigEndian.Uint16(h[tcpWindow:]) }

// Checksum returns the checksum.
func (h TCP) Checksum() Checksum { return Checksum(binary.LittleEndian.Uint16(h[tcpChecksum:])) }

// SetSrcPort writes the source port from host order.
func (h TCP) SetSrcPort(v uint16) { binary.BigEndian.PutUint16(h[tcpSrcPort:], v) }

// SetDstPort writes the destination port from host order.
func (h TCP) SetDstPort(v uint16) { binary.BigEndian.PutUint16(h[tcpDstPort:], v) }

// SetPortsWire writes both ports from the low half of a [Parsed].L4.
func (h TCP) SetPortsWire(v uint32) { binary.LittleEndian.PutUint32(h[tcpSrcPort:], v) }

// SetFlags writes the eight flags.
func (h TCP) SetFlags(v uint8) { h[tcpFlags] = v }

// SetChecksum writes the checksum.
func (h TCP) SetChecksum(c Checksum) { binary.LittleEndian.PutUint16(h[tcpChecksum:], uint16(c)) }

// UpdateChecksum computes the checksum of all of h from scratch and writes it.
// pseudo is the sum of [PseudoV4] or [PseudoV6] for len(h) bytes.
func (h TCP) UpdateChecksum(pseudo uint32) {
	h.SetChecksum(0)
	h.SetChecksum(Fold(Sum(h, pseudo)))
}

// Encode writes a header without options and with checksum 0; h holds at least
// TCPLen bytes.
func (h TCP) Encode(f *TCPFields) {
	h.SetSrcPort(f.SrcPort)
	h.SetDstPort(f.DstPort)
	binary.BigEndian.PutUint32(h[tcpSeq:], f.Seq)
	binary.BigEndian.PutUint32(h[tcpAck:], f.Ack)
	h[tcpOffset] = TCPLen / 4 << 4
	h.SetFlags(f.Flags)
	binary.BigEndian.PutUint16(h[tcpWindow:], f.Window)
	h.SetChecksum(0)
	binary.BigEndian.PutUint16(h[tcpUrgent:], 0)
}
