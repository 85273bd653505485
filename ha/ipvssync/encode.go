package ipvssync

import (
	"encoding/binary"
	"net/netip"
)

// Builder puts connections into messages. A message is full when the next connection would pass the limit.
type Builder struct {
	version, id uint8
	limit       int
	buf         []byte
	count       int
}

// NewBuilder makes a Builder of messages of that version for that sync id, of at most limit bytes: sync_maxlen, what
// fits the interface's MTU behind IP and UDP headers (28 bytes over IPv4).
func NewBuilder(version, syncID uint8, limit int) *Builder {
	b := &Builder{version: version, id: syncID, limit: min(limit, MaxMessage)}
	b.Reset()
	return b
}

// Reset begins a new message.
func (b *Builder) Reset() {
	n := headerLenV0
	if b.version == 1 {
		n = headerLenV1
	}
	b.buf = append(b.buf[:0], make([]byte, n)...)
	b.count = 0
}

// Add adds a connection; false if it does not fit: send Bytes, Reset, and add it again. What the version cannot say
// (IPv6 in version 0, one-packet scheduling in both) is left out, and true.
func (b *Builder) Add(c *Conn) bool {
	if c.Flags&FlagOnePacket != 0 || b.version == 0 && c.V6() {
		return true
	}
	at := len(b.buf)
	if b.version == 1 {
		b.addV1(c)
	} else {
		b.addV0(c)
	}
	if b.count == MaxConns || len(b.buf) > b.limit {
		b.buf = b.buf[:at]
		return false
	}
	b.count++
	return true
}

// Len returns the number of connections in the message.
func (b *Builder) Len() int { return b.count }

// Bytes returns the message; it is good until the next call.
func (b *Builder) Bytes() []byte {
	m := b.buf
	binary.BigEndian.PutUint16(m[2:], uint16(len(m)))
	m[1] = b.id
	if b.version == 1 {
		m[0], m[4], m[5] = 0, uint8(b.count), 1
	} else {
		m[0] = uint8(b.count)
	}
	return m
}

func (b *Builder) addV0(c *Conn) {
	b.buf = append(b.buf, 0, c.Proto)
	for _, a := range []netip.AddrPort{c.Client, c.VIP, c.Dest} {
		b.buf = binary.BigEndian.AppendUint16(b.buf, a.Port())
	}
	for _, a := range []netip.AddrPort{c.Client, c.VIP, c.Dest} {
		b.buf = append(b.buf, a.Addr().AsSlice()...)
	}
	flags := c.Flags & FlagsSent
	if c.Seq == nil {
		flags &^= FlagInSeq | FlagOutSeq
	}
	b.buf = binary.BigEndian.AppendUint16(b.buf, uint16(flags))
	b.buf = binary.BigEndian.AppendUint16(b.buf, c.State)
	if flags&(FlagInSeq|FlagOutSeq) != 0 {
		b.buf = append(b.buf, c.Seq...)
	}
}

func (b *Builder) addV1(c *Conn) {
	for len(b.buf)%4 != 0 { // behind the options of the one before
		b.buf = append(b.buf, 0)
	}
	at, kind := len(b.buf), byte(0)
	if c.V6() {
		kind = 1
	}
	b.buf = append(b.buf, kind, c.Proto, 0, 0)
	b.buf = binary.BigEndian.AppendUint32(b.buf, c.Flags&FlagsSent)
	b.buf = binary.BigEndian.AppendUint16(b.buf, c.State)
	for _, a := range []netip.AddrPort{c.Client, c.VIP, c.Dest} {
		b.buf = binary.BigEndian.AppendUint16(b.buf, a.Port())
	}
	b.buf = binary.BigEndian.AppendUint32(b.buf, c.Mark)
	b.buf = binary.BigEndian.AppendUint32(b.buf, c.Timeout)
	for _, a := range []netip.AddrPort{c.Client, c.VIP, c.Dest} {
		b.buf = append(b.buf, a.Addr().AsSlice()...)
	}
	b.option(optSeq, c.Seq)
	b.option(optPEData, c.PEData)
	b.option(optPEName, c.PEName)
	binary.BigEndian.PutUint16(b.buf[at+2:], uint16(len(b.buf)-at))
}

// option appends data of up to 255 bytes; none, nothing.
func (b *Builder) option(kind byte, data []byte) {
	if len(data) > 0 && len(data) <= maxPEData {
		b.buf = append(append(b.buf, kind, uint8(len(data))), data...)
	}
}
