package packet

import "encoding/binary"

// A UDP header (RFC 768):
//
//	 0              2                  4        6          8
//	+--------------+------------------+--------+----------+--
//	| source port  | destination port | length | checksum | payload
//	+--------------+------------------+--------+----------+--
const (
	udpSrcPort  = 0
	udpDstPort  = 2
	udpLength   = 4
	udpChecksum = 6

	// UDPLen is the bytes of a UDP header.
	UDPLen = 8
)

// SCTPLen is the bytes of an SCTP common header (RFC 9260 section 3.1), whose
// ports stand where UDP's do.
const SCTPLen = 12

// UDP views a UDP datagram. Call Valid before any other method. Setters leave
// the checksum alone.
type UDP []byte

// UDPFields are the values of a header to encode.
type UDPFields struct {
	SrcPort, DstPort uint16
	Length           uint16 // header included
}

// Valid reports whether the header is complete. It does not look at the length.
func (h UDP) Valid() bool { return len(h) >= UDPLen }

// SrcPort returns the source port in host order.
func (h UDP) SrcPort() uint16 { return binary.BigEndian.Uint16(h[udpSrcPort:]) }

// DstPort returns the destination port in host order.
func (h UDP) DstPort() uint16 { return binary.BigEndian.Uint16(h[udpDstPort:]) }

// PortsWire returns both ports as the low half of [Parsed].L4 has them.
func (h UDP) PortsWire() uint32 { return binary.LittleEndian.Uint32(h[udpSrcPort:]) }

// Length returns the bytes of header and payload as the header claims; it may
// lie.
func (h UDP) Length() uint16 { return binary.BigEndian.Uint16(h[udpLength:]) }

// Checksum returns the checksum; 0 says there is none.
func (h UDP) Checksum() Checksum { return Checksum(binary.LittleEndian.Uint16(h[udpChecksum:])) }

// SetSrcPort writes the source port from host order.
func (h UDP) SetSrcPort(v uint16) { binary.BigEndian.PutUint16(h[udpSrcPort:], v) }

// SetDstPort writes the destination port from host order.
func (h UDP) SetDstPort(v uint16) { binary.BigEndian.PutUint16(h[udpDstPort:], v) }

// SetPortsWire writes both ports from the low half of a [Parsed].L4.
func (h UDP) SetPortsWire(v uint32) { binary.LittleEndian.PutUint32(h[udpSrcPort:], v) }

// SetLength writes the bytes of header and payload.
func (h UDP) SetLength(v uint16) { binary.BigEndian.PutUint16(h[udpLength:], v) }

// SetChecksum writes the checksum; 0 says there is none.
func (h UDP) SetChecksum(c Checksum) { binary.LittleEndian.PutUint16(h[udpChecksum:], uint16(c)) }

// UpdateChecksum computes the checksum of all of h from scratch and writes it.
// pseudo is the sum of [PseudoV4] or [PseudoV6] for len(h) bytes.
func (h UDP) UpdateChecksum(pseudo uint32) {
	h.SetChecksum(0)
	h.SetChecksum(FoldUDP(Sum(h, pseudo)))
}

// Encode writes all of f, with checksum 0 (none); h holds at least UDPLen bytes.
func (h UDP) Encode(f *UDPFields) {
	h.SetSrcPort(f.SrcPort)
	h.SetDstPort(f.DstPort)
	h.SetLength(f.Length)
	h.SetChecksum(0)
}
