package packet

import "encoding/binary"

// ICMP types and codes that ulvs makes or reads (RFC 792, RFC 1191).
const (
	ICMPEchoReply      = 0
	ICMPUnreachable    = 3
	ICMPSourceQuench   = 4
	ICMPEchoRequest    = 8
	ICMPTimeExceeded   = 11
	ICMPParamProblem   = 12
	ICMPCodePort       = 3 // of ICMPUnreachable
	ICMPCodeFragNeeded = 4 // of ICMPUnreachable: the MTU is in Rest
	ICMPCodeTTL        = 0 // of ICMPTimeExceeded
)

// An ICMP header (RFC 792), which ICMPv6 shares (RFC 4443 section 2.1):
//
//	 0      1      2          4                        8
//	+------+------+----------+------------------------+--
//	| type | code | checksum | rest, by type          | payload
//	+------+------+----------+------------------------+--
//	                         | identifier | sequence  |  echo
//	                         | unused     | MTU       |  fragmentation needed
//	                         | MTU                    |  packet too big (v6)
const (
	icmpType     = 0
	icmpCode     = 1
	icmpChecksum = 2
	icmpRest     = 4
	icmpSeq      = 6

	// ICMPLen is the bytes of an ICMP header with its rest word.
	ICMPLen = 8
)

// ICMP views an ICMP message. Call Valid before any other method. Setters leave
// the checksum alone.
type ICMP []byte

// ICMPFields are the values of a header to encode.
type ICMPFields struct {
	Type, Code uint8
	Rest       uint32
}

// Valid reports whether the header is complete.
func (h ICMP) Valid() bool { return len(h) >= ICMPLen }

// Type returns the type.
func (h ICMP) Type() uint8 { return h[icmpType] }

// Code returns the code.
func (h ICMP) Code() uint8 { return h[icmpCode] }

// Checksum returns the checksum.
func (h ICMP) Checksum() Checksum { return Checksum(binary.LittleEndian.Uint16(h[icmpChecksum:])) }

// Rest returns the word that each type uses in its own way.
func (h ICMP) Rest() uint32 { return binary.BigEndian.Uint32(h[icmpRest:]) }

// EchoID returns the identifier of an echo.
func (h ICMP) EchoID() uint16 { return binary.BigEndian.Uint16(h[icmpRest:]) }

// EchoSeq returns the sequence number of an echo.
func (h ICMP) EchoSeq() uint16 { return binary.BigEndian.Uint16(h[icmpSeq:]) }

// MTU returns the next hop's MTU of a fragmentation-needed message (RFC 1191).
func (h ICMP) MTU() uint16 { return binary.BigEndian.Uint16(h[icmpSeq:]) }

// IsError reports whether the message is about a packet that follows its
// header: one for [ParseInner].
func (h ICMP) IsError() bool {
	switch h.Type() {
	case ICMPUnreachable, ICMPSourceQuench, ICMPTimeExceeded, ICMPParamProblem:
		return true
	}
	return false
}

// Payload returns what follows the header.
func (h ICMP) Payload() []byte { return h[ICMPLen:] }

// SetType writes the type.
func (h ICMP) SetType(v uint8) { h[icmpType] = v }

// SetCode writes the code.
func (h ICMP) SetCode(v uint8) { h[icmpCode] = v }

// SetRest writes the word that each type uses in its own way.
func (h ICMP) SetRest(v uint32) { binary.BigEndian.PutUint32(h[icmpRest:], v) }

// SetChecksum writes the checksum.
func (h ICMP) SetChecksum(c Checksum) { binary.LittleEndian.PutUint16(h[icmpChecksum:], uint16(c)) }

// ChangeType writes the type and corrects the checksum: an echo request becomes
// its reply.
func (h ICMP) ChangeType(v uint8) {
	h.SetChecksum(h.Checksum().Apply(Delta(0).Change16(uint16(h.Type()), uint16(v))))
	h.SetType(v)
}

// ChecksumOK reports whether the checksum over all of h is right.
func (h ICMP) ChecksumOK() bool { return Fold(Sum(h, 0)) == 0 }

// UpdateChecksum computes the checksum over all of h from scratch and writes it.
func (h ICMP) UpdateChecksum() {
	h.SetChecksum(0)
	h.SetChecksum(Fold(Sum(h, 0)))
}

// Encode writes all of f with checksum 0; h holds at least ICMPLen bytes.
func (h ICMP) Encode(f *ICMPFields) {
	h.SetType(f.Type)
	h.SetCode(f.Code)
	h.SetChecksum(0)
	h.SetRest(f.Rest)
}
