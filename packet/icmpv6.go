package packet

// ICMPv6 types and codes that ulvs makes or reads (RFC 4443, RFC 4861).
const (
	ICMPv6Unreachable     = 1
	ICMPv6PacketTooBig    = 2 // the MTU is Rest
	ICMPv6TimeExceeded    = 3
	ICMPv6ParamProblem    = 4
	ICMPv6EchoRequest     = 128
	ICMPv6EchoReply       = 129
	ICMPv6NeighborSolicit = 135
	ICMPv6NeighborAdvert  = 136
	ICMPv6CodePort        = 4 // of ICMPv6Unreachable
	ICMPv6CodeHopLimit    = 0 // of ICMPv6TimeExceeded
)

// ICMPv6 views an ICMPv6 message: laid out as [ICMP], other types, and a
// checksum that covers a pseudo header. Call Valid before any other method.
type ICMPv6 []byte

// Valid reports whether the header and its rest word are complete.
func (h ICMPv6) Valid() bool { return len(h) >= ICMPLen }

// Type returns the type.
func (h ICMPv6) Type() uint8 { return h[icmpType] }

// Code returns the code.
func (h ICMPv6) Code() uint8 { return h[icmpCode] }

// Checksum returns the checksum.
func (h ICMPv6) Checksum() Checksum { return ICMP(h).Checksum() }

// Rest returns the word that each type uses in its own way; it is the MTU of a
// packet-too-big message.
func (h ICMPv6) Rest() uint32 { return ICMP(h).Rest() }

// EchoID returns the identifier of an echo.
func (h ICMPv6) EchoID() uint16 { return ICMP(h).EchoID() }

// EchoSeq returns the sequence number of an echo.
func (h ICMPv6) EchoSeq() uint16 { return ICMP(h).EchoSeq() }

// IsError reports whether the message is about a packet that follows its
// header: one for [ParseInner]. Types below 128 are errors (RFC 4443 section 2.1).
func (h ICMPv6) IsError() bool { return h.Type() < 128 }

// Payload returns what follows the header.
func (h ICMPv6) Payload() []byte { return h[ICMPLen:] }

// SetType writes the type.
func (h ICMPv6) SetType(v uint8) { h[icmpType] = v }

// SetCode writes the code.
func (h ICMPv6) SetCode(v uint8) { h[icmpCode] = v }

// SetRest writes the word that each type uses in its own way.
func (h ICMPv6) SetRest(v uint32) { ICMP(h).SetRest(v) }

// SetChecksum writes the checksum.
func (h ICMPv6) SetChecksum(c Checksum) { ICMP(h).SetChecksum(c) }

// ChangeType writes the type and corrects the checksum.
func (h ICMPv6) ChangeType(v uint8) { ICMP(h).ChangeType(v) }

// ChecksumOK reports whether the checksum over pseudo header and all of h is
// right. pseudo is [PseudoV6] with ProtoICMPv6 and len(h).
func (h ICMPv6) ChecksumOK(pseudo uint32) bool { return Fold(Sum(h, pseudo)) == 0 }

// UpdateChecksum computes the checksum over pseudo header and all of h from
// scratch and writes it. pseudo is as in ChecksumOK.
func (h ICMPv6) UpdateChecksum(pseudo uint32) {
	h.SetChecksum(0)
	h.SetChecksum(Fold(Sum(h, pseudo)))
}

// Encode writes all of f with checksum 0; h holds at least ICMPLen bytes.
func (h ICMPv6) Encode(f *ICMPFields) { ICMP(h).Encode(f) }
