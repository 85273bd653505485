package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Blocks and options of pcapng (draft-ietf-opsawg-pcapng).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockStats     = 5
	blockPacket    = 6
	byteOrder      = 0x1a2b3c4d

	optEnd        = 0
	optComment    = 1
	optUserAppl   = 4 // of a section
	optName       = 2 // of an interface
	optTimeUnits  = 9 // of an interface: 10^-n seconds
	optFilter     = 11
	optFlags      = 2 // of a packet: 1 received, 2 sent
	optReceived   = 4 // of statistics
	optLost       = 5
	linkEthernet  = 1
	nanosecond    = 9
	maxOptionSize = 65532
)

// Section says what a file is about.
type Section struct {
	Application string // the program and its version
	Filter      string // the expression; empty: none
	Snaplen     int    // bytes of a frame at most; 0: no limit
	Interfaces  []string
}

// Packet is one frame of a file.
type Packet struct {
	Interface int // index in Section.Interfaces
	Time      time.Time
	Data      []byte // the frame, or its beginning
	Len       int    // of the frame on the wire
	Sent      bool   // otherwise received
	Comment   string
}

// Writer writes a pcapng file. Each call writes whole blocks with one Write of the writer below.
type Writer struct {
	w   io.Writer
	buf []byte
}

// NewWriter begins a file.
func NewWriter(w io.Writer, s Section) (*Writer, error) {
	out := &Writer{w: w}
	at := out.begin(blockSection)
	out.u32(byteOrder)
	out.u16(1)
	out.u16(0)
	out.u64(1<<64 - 1) // the section's length is not known
	out.option(optUserAppl, s.Application)
	out.end(at)
	for _, name := range s.Interfaces {
		at := out.begin(blockInterface)
		out.u16(linkEthernet)
		out.u16(0)
		out.u32(uint32(s.Snaplen))
		out.option(optName, name)
		out.option(optTimeUnits, string([]byte{nanosecond}))
		if s.Filter != "" {
			out.option(optFilter, "\x00"+s.Filter) // 0: in words
		}
		out.end(at)
	}
	return out, out.flush()
}

// Write adds a packet.
func (w *Writer) Write(p *Packet) error {
	at := w.begin(blockPacket)
	w.u32(uint32(p.Interface))
	w.time(p.Time)
	w.u32(uint32(len(p.Data)))
	w.u32(uint32(p.Len))
	w.buf = append(w.buf, p.Data...)
	w.pad()
	flags := uint32(1)
	if p.Sent {
		flags = 2
	}
	w.option(optFlags, string(binary.LittleEndian.AppendUint32(nil, flags)))
	if p.Comment != "" {
		w.option(optComment, p.Comment)
	}
	w.end(at)
	return w.flush()
}

// Count tells how many frames of an interface the filter took, and how many of those are not in the file.
func (w *Writer) Count(iface int, now time.Time, taken, lost uint64) error {
	at := w.begin(blockStats)
	w.u32(uint32(iface))
	w.time(now)
	w.option(optReceived, string(binary.LittleEndian.AppendUint64(nil, taken)))
	w.option(optLost, string(binary.LittleEndian.AppendUint64(nil, lost)))
	w.end(at)
	return w.flush()
}

func (w *Writer) u16(v uint16) { w.buf = binary.LittleEndian.AppendUint16(w.buf, v) }
func (w *Writer) u32(v uint32) { w.buf = binary.LittleEndian.AppendUint32(w.buf, v) }
func (w *Writer) u64(v uint64) { w.buf = binary.LittleEndian.AppendUint64(w.buf, v) }

// time writes nanoseconds since 1970, the high half first.
func (w *Writer) time(t time.Time) {
	ns := uint64(t.UnixNano())
	w.u32(uint32(ns >> 32))
	w.u32(uint32(ns))
}

func (w *Writer) pad() {
	for len(w.buf)%4 != 0 {
		w.buf = append(w.buf, 0)
	}
}

// begin starts a block and returns where; its length is written by end.
func (w *Writer) begin(kind uint32) int {
	w.u32(kind)
	w.u32(0)
	return len(w.buf) - 8
}

func (w *Writer) option(code uint16, value string) {
	value = value[:min(len(value), maxOptionSize)]
	w.u16(code)
	w.u16(uint16(len(value)))
	w.buf = append(w.buf, value...)
	w.pad()
}

func (w *Writer) end(at int) {
	w.u32(optEnd)
	n := uint32(len(w.buf) - at + 4)
	binary.LittleEndian.PutUint32(w.buf[at+4:], n)
	w.u32(n)
}

func (w *Writer) flush() error {
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		return fmt.Errorf("write the capture: %w", err)
	}
	return nil
}
