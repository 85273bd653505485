package packet

import "encoding/binary"

// MaxExtHeaders is how many IPv6 extension headers a packet may have. No honest
// sender comes near; a chain costs work per header (RFC 9098 section 5).
const MaxExtHeaders = 8

// Extension headers share their first two bytes (RFC 8200 section 4). The
// length counts 8-byte units beyond the first, but 4-byte units minus 2 in an
// authentication header (RFC 4302):
//
//	+-------------+-------------+---------------+-- hop-by-hop (0), routing (43),
//	| next header | length      | ...           |   destination options (60), AH (51)
//	+-------------+-------------+---------------+--
//
//	+-------------+-------------+-------------------+---+-+
//	| next header | reserved    | offset 13         |res|M|  fragment (44), 8 bytes
//	+-------------+-------------+-------------------+---+-+
//	| identification                                      |
//	+-----------------------------------------------------+
const (
	extNextHeader   = 0
	extLength       = 1
	extSegmentsLeft = 3 // routing header only
	extMinLen       = 8
	fragOffset      = 2
	fragID          = 4

	// FragmentLen is the bytes of an IPv6 fragment header.
	FragmentLen = 8
)

// ExtHeader views one hop-by-hop, routing, destination options or
// authentication header. Call Valid before any other method.
type ExtHeader []byte

// Valid reports whether the header of the given protocol is complete.
func (h ExtHeader) Valid(proto uint8) bool { return len(h) >= extMinLen && h.Len(proto) <= len(h) }

// NextHeader returns the protocol of what follows.
func (h ExtHeader) NextHeader() uint8 { return h[extNextHeader] }

// Len returns the bytes of the header, which has the given protocol.
func (h ExtHeader) Len(proto uint8) int {
	switch proto {
	case ProtoAH:
		return int(h[extLength])*4 + 8
	case ProtoFragment:
		return FragmentLen
	}
	return int(h[extLength])*8 + 8
}

// SegmentsLeft returns how many stops a routing header still lists.
func (h ExtHeader) SegmentsLeft() uint8 { return h[extSegmentsLeft] }

// IPv6Fragment views a fragment header. Call Valid before any other method.
type IPv6Fragment []byte

// IPv6FragmentFields are the values of a fragment header to encode.
type IPv6FragmentFields struct {
	NextHeader uint8
	More       bool
	Off        uint16 // bytes, a multiple of 8
	ID         uint32
}

// Valid reports whether the header is complete.
func (h IPv6Fragment) Valid() bool { return len(h) >= FragmentLen }

// NextHeader returns the protocol of the fragmented part's first header.
func (h IPv6Fragment) NextHeader() uint8 { return h[extNextHeader] }

// Off returns the fragment offset in bytes.
func (h IPv6Fragment) Off() uint16 { return binary.BigEndian.Uint16(h[fragOffset:]) &^ 7 }

// More reports whether more fragments follow.
func (h IPv6Fragment) More() bool { return h[fragOffset+1]&1 != 0 }

// ID returns the identification.
func (h IPv6Fragment) ID() uint32 { return binary.BigEndian.Uint32(h[fragID:]) }

// Encode writes all of f; h holds at least FragmentLen bytes.
func (h IPv6Fragment) Encode(f *IPv6FragmentFields) {
	h[extNextHeader], h[extLength] = f.NextHeader, 0
	v := f.Off &^ 7
	if f.More {
		v |= 1
	}
	binary.BigEndian.PutUint16(h[fragOffset:], v)
	binary.BigEndian.PutUint32(h[fragID:], f.ID)
}

// Extensions is what WalkExtensions found.
type Extensions struct {
	Len      int    // bytes of all headers walked
	Proto    uint8  // protocol of what follows them
	Fragment bool   // one of them makes this packet a fragment
	More     bool   // more fragments follow; valid iff Fragment
	FragOff  uint16 // bytes; valid iff Fragment
	FragID   uint32 // valid iff Fragment
	Atomic   int    // where the fragment header of a whole packet is, plus 1; 0: none
}

// WalkExtensions walks the extension headers at the start of b, an IPv6
// payload, of which the first has protocol next. It stops at the first header
// that is L4, AH, ESP or unknown, and after the fragment header of a later
// fragment, whose bytes are no header. An atomic fragment (offset 0, no more:
// RFC 6946) is a whole packet and not reported as a fragment.
//
// The reasons to refuse are ErrExtHeaderChain, ErrExtHeaderRouting and, for a
// first fragment that does not hold its whole chain (RFC 7112), ErrFragmentBad.
func WalkExtensions(b []byte, next uint8) (x Extensions, err Error) {
	x.Proto = next
	seenFrag := false
	for n := 0; isWalked(x.Proto); n++ {
		h := ExtHeader(b[x.Len:])
		switch {
		case n == MaxExtHeaders, x.Proto == ProtoHopByHop && n > 0, x.Proto == ProtoFragment && seenFrag:
			return x, ErrExtHeaderChain
		case !h.Valid(x.Proto):
			return x, x.cut()
		case x.Proto == ProtoRouting && h.SegmentsLeft() > 0:
			return x, ErrExtHeaderRouting
		case x.Proto == ProtoFragment:
			seenFrag = true
			x.setFragment(IPv6Fragment(h))
			if !x.Fragment {
				x.Atomic = x.Len + 1
			}
		}
		x.Len += h.Len(x.Proto)
		x.Proto = h.NextHeader()
		if x.FragOff > 0 {
			break
		}
	}
	return x, ErrNone
}

func isWalked(proto uint8) bool {
	switch proto {
	case ProtoHopByHop, ProtoRouting, ProtoFragment, ProtoDestOpts:
		return true
	}
	return false
}

func (x *Extensions) setFragment(h IPv6Fragment) {
	if h.Off() == 0 && !h.More() {
		return
	}
	x.Fragment, x.More, x.FragOff, x.FragID = true, h.More(), h.Off(), h.ID()
}

func (x *Extensions) cut() Error {
	if x.Fragment {
		return ErrFragmentBad
	}
	return ErrExtHeaderChain
}
