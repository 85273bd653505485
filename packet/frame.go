// Package packet reads and rewrites network frames in place.
//
// It is for everybody who looks at bytes from a wire: header views over
// []byte, one Parse that fills a reusable Parsed, and checksum deltas
// (RFC 1624). It owns the byte layouts and the reasons a frame is refused.
// It does no I/O, keeps no state, and on the hot path allocates nothing. Parse
// and ParseInner never panic, whatever the bytes are; neither does a header view
// whose Valid said yes.
//
// Where a word is said to be in wire form, it is a little-endian load of the wire
// bytes: nothing is swapped on the hot path, and one's complement sums do not mind.
package packet

// Frame is one frame borrowed from a queue's memory. Whoever holds it gives it
// back exactly once: to Send or to Release of the queue it came from.
type Frame struct {
	Buf  []byte // the whole chunk, headroom and tailroom included
	Addr uint64 // the queue's own handle for the chunk; nobody else reads it
	Off  uint16 // bytes of headroom before the frame in Buf
	Len  uint16 // bytes of the frame, Ethernet header included, FCS not
	Port uint8  // index of the interface: arrived on (Recv), leaves by (Send)
}

// Bytes returns the frame, Ethernet header first. The caller borrows it.
func (f *Frame) Bytes() []byte { return f.Buf[f.Off : int(f.Off)+int(f.Len)] }

// Prepend grows the frame by n bytes at its front and reports whether the
// headroom held them. The new bytes have undefined contents.
func (f *Frame) Prepend(n int) bool {
	if n > int(f.Off) {
		return false
	}
	f.Off -= uint16(n)
	f.Len += uint16(n)
	return true
}

// TrimFront shortens the frame by n bytes at its front; n is at most f.Len.
func (f *Frame) TrimFront(n int) {
	f.Off += uint16(n)
	f.Len -= uint16(n)
}

// Resize sets the frame's length, keeping its front, and reports whether the
// chunk holds that much.
func (f *Frame) Resize(n int) bool {
	if n < 0 || int(f.Off)+n > len(f.Buf) {
		return false
	}
	f.Len = uint16(n)
	return true
}
