package packet

import "encoding/binary"

// Flags of a GRE header's first word.
const (
	GREChecksum = 0x8000 // RFC 2784: checksum and a reserved word follow
	GREKey      = 0x2000 // RFC 2890: a key follows
	GRESequence = 0x1000 // RFC 2890: a sequence number follows

	greKnown = GREChecksum | GREKey | GRESequence
)

// A GRE header (RFC 2784 section 2.1, RFC 2890); everything but the first word
// is there only if its flag is:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|C| |K|S|  Reserved0      | Ver |        Protocol Type          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|      Checksum (C)             |       Reserved1 (C)           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                         Key (K)                               |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                    Sequence Number (S)                        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	greFlags    = 0
	greProto    = 2
	greChecksum = 4
	greKey      = 4 // after the checksum word if there is one

	// GRELen is the bytes of a GRE header without options, as IPVS sends it.
	GRELen = 4
	// GREChecksumLen is the bytes that a checksum adds.
	GREChecksumLen = 4
)

// GRE views a GRE packet. Call Valid before any other method.
type GRE []byte

// GREFields are the values of a header to encode: all that IPVS uses.
type GREFields struct {
	EtherType uint16 // of the payload
	Checksum  bool   // cover header and payload
}

// Len returns the bytes of header that Encode writes.
func (f *GREFields) Len() int {
	if f.Checksum {
		return GRELen + GREChecksumLen
	}
	return GRELen
}

// Valid reports whether the header is complete, of version 0 and without flags
// that these RFCs do not have (such as RFC 1701's routing).
func (h GRE) Valid() bool {
	return len(h) >= GRELen && h.flags()&^greKnown == 0 && h.HeaderLen() <= len(h)
}

// EtherType returns the EtherType of the payload.
func (h GRE) EtherType() uint16 { return binary.BigEndian.Uint16(h[greProto:]) }

// HasChecksum reports whether the header has a checksum.
func (h GRE) HasChecksum() bool { return h.flags()&GREChecksum != 0 }

// HeaderLen returns the bytes of the header with its optional words.
func (h GRE) HeaderLen() int {
	n, flags := GRELen, h.flags()
	for _, f := range [...]uint16{GREChecksum, GREKey, GRESequence} {
		if flags&f != 0 {
			n += 4
		}
	}
	return n
}

// Key returns the key; ok is false when the header has none.
func (h GRE) Key() (key uint32, ok bool) {
	if h.flags()&GREKey == 0 {
		return 0, false
	}
	off := greKey
	if h.HasChecksum() {
		off += GREChecksumLen
	}
	return binary.BigEndian.Uint32(h[off:]), true
}

// ChecksumOK reports whether there is no checksum or it is right for all of h.
func (h GRE) ChecksumOK() bool { return !h.HasChecksum() || Fold(Sum(h, 0)) == 0 }

// Payload returns what follows the header.
func (h GRE) Payload() []byte { return h[h.HeaderLen():] }

// Encode writes a header before a payload that is already in place, since the
// checksum covers it: h is f.Len() bytes of header and the whole payload.
func (h GRE) Encode(f *GREFields) {
	binary.BigEndian.PutUint16(h[greProto:], f.EtherType)
	binary.BigEndian.PutUint16(h[greFlags:], 0)
	if !f.Checksum {
		return
	}
	binary.BigEndian.PutUint16(h[greFlags:], GREChecksum)
	binary.LittleEndian.PutUint32(h[greChecksum:], 0)
	binary.LittleEndian.PutUint16(h[greChecksum:], uint16(Fold(Sum(h, 0))))
}

func (h GRE) flags() uint16 { return binary.BigEndian.Uint16(h[greFlags:]) }
