// Package ipvssync is the protocol by which kernel IPVS tells a backup of its connections (ip_vs_sync.c), in both of
// its versions: what is needed to move over from a kernel director, and back, without losing a session.
//
// It owns the bytes of a message. It opens no socket, keeps no state, and does not know the connection table.
//
// The protocol has no authentication, no acknowledgement and no delete; whoever listens to it believes the LAN.
package ipvssync

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Where messages go: multicast, the port counting up where a kernel has several sync threads.
const (
	Port = 8848
	TTL  = 1
)

// Group is the multicast group by default.
var Group = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// Flags of a Conn (include/uapi/linux/ip_vs.h, IP_VS_CONN_F_*). The low three bits are the method.
const (
	MethodMask   = 0x7
	MethodNAT    = 0
	MethodLocal  = 1
	MethodTUN    = 2
	MethodDR     = 3
	MethodBypass = 4

	FlagNoOutput  = 0x80
	FlagInactive  = 0x100
	FlagOutSeq    = 0x200
	FlagInSeq     = 0x400
	FlagNoCPort   = 0x800
	FlagTemplate  = 0x1000
	FlagOnePacket = 0x2000
	// FlagsSent is what of a connection's flags crosses the network (IP_VS_CONN_F_BACKUP_MASK and what version 0 has).
	FlagsSent = 0x3fff
)

// Limits of the format.
const (
	MaxSyncID    = 255
	MaxConns     = 255 // of a message: its count is a byte
	MaxMessage   = 65535
	headerLenV0  = 4
	headerLenV1  = 8
	recordLenV0  = 24
	recordLenV1  = 36 // IPv4
	recordLenV6  = 72
	seqLen       = 24
	maxPEName    = 16
	maxPEData    = 255
	optSeq       = 1
	optPEData    = 2
	optPEName    = 3
	optIfUnknown = 0x40 // may be skipped by who does not know it
)

// Conn is a connection, or a template, as a message has it.
type Conn struct {
	Proto             uint8 // 0: a template of a mark
	Flags             uint32
	State             uint16
	Client, VIP, Dest netip.AddrPort
	Mark              uint32 // version 1
	Timeout           uint32 // seconds left, version 1; 0 in version 0, which does not tell
	Seq               []byte // 24 bytes of sequence number adjustments, or nil
	PEName, PEData    []byte // of a persistence engine, or nil
}

// V6 reports whether the connection is IPv6.
func (c *Conn) V6() bool { return c.Client.Addr().Is6() }

// Message is a datagram.
type Message struct {
	Version uint8 // 0 or 1
	SyncID  uint8
	Conns   []Conn
}

// ErrMalformed is wrapped by every error of Decode: the datagram is not one of this protocol's, and nothing of it
// is to be used.
var ErrMalformed = errors.New("no IPVS sync message")

// ErrVersion is wrapped besides where the sender speaks a version that this package does not.
var ErrVersion = fmt.Errorf("%w of a version known here", ErrMalformed)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// Decode reads a datagram. What it returns shares memory with b.
func Decode(b []byte) (m Message, err error) {
	if len(b) < headerLenV0 {
		return m, malformed("%d bytes", len(b))
	}
	m.SyncID = b[1]
	if size := int(binary.BigEndian.Uint16(b[2:])); size != len(b) {
		return m, malformed("%d bytes, its header says %d", len(b), size)
	}
	// ip_vs_process_message: a version 0 message begins with its count, never 0 with these two after it.
	if len(b) >= headerLenV1 && b[0] == 0 && b[5] == 1 && b[6] == 0 && b[7] == 0 {
		m.Version = 1
		m.Conns, err = decodeV1(b[headerLenV1:], int(b[4]))
		return m, err
	}
	if len(b) >= headerLenV1 && b[0] == 0 && b[4] != 0 && b[5] > 1 {
		return m, fmt.Errorf("%w: %d", ErrVersion, b[5])
	}
	m.Conns, err = decodeV0(b[headerLenV0:], int(b[0]))
	return m, err
}

func decodeV0(b []byte, count int) (list []Conn, err error) {
	list = make([]Conn, 0, min(count, len(b)/recordLenV0))
	for range count {
		if len(b) < recordLenV0 {
			return nil, malformed("connection %d is cut", len(list))
		}
		c := Conn{Proto: b[1], Flags: uint32(binary.BigEndian.Uint16(b[20:])), State: binary.BigEndian.Uint16(b[22:])}
		c.Client, c.VIP, c.Dest = addrPort(b[8:12], b[2:]), addrPort(b[12:16], b[4:]), addrPort(b[16:20], b[6:])
		b = b[recordLenV0:]
		if c.Flags&(FlagInSeq|FlagOutSeq) != 0 {
			if len(b) < seqLen {
				return nil, malformed("the sequence numbers of connection %d are cut", len(list))
			}
			c.Seq, b = b[:seqLen], b[seqLen:]
		}
		list = append(list, c)
	}
	return list, nil
}

func decodeV1(b []byte, count int) (list []Conn, err error) {
	list = make([]Conn, 0, min(count, len(b)/recordLenV1))
	for range count {
		if len(b) < 4 {
			return nil, malformed("connection %d is cut", len(list))
		}
		if v := b[2] >> 4; v != 0 {
			return nil, fmt.Errorf("%w: connection %d has version %d", ErrVersion, len(list), v)
		}
		size := int(binary.BigEndian.Uint16(b[2:]) & 0xfff)
		if size < recordLenV1 || size > len(b) {
			return nil, malformed("connection %d has %d bytes of %d", len(list), size, len(b))
		}
		c, err := decodeConn(b[:size])
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", len(list), err)
		}
		list = append(list, c)
		b = b[min((size+3)&^3, len(b)):] // records are padded
	}
	return list, nil
}

// decodeConn reads one record of version 1.
func decodeConn(b []byte) (c Conn, err error) {
	n, size := recordLenV1, 4
	if b[0]&1 != 0 {
		n, size = recordLenV6, 16
	}
	if len(b) < n {
		return c, malformed("%d bytes, at least %d", len(b), n)
	}
	c = Conn{
		Proto: b[1], Flags: binary.BigEndian.Uint32(b[4:]), State: binary.BigEndian.Uint16(b[8:]),
		Mark: binary.BigEndian.Uint32(b[16:]), Timeout: binary.BigEndian.Uint32(b[20:]),
		Client: addrPort(b[24:24+size], b[10:]),
		VIP:    addrPort(b[24+size:24+2*size], b[12:]),
		Dest:   addrPort(b[24+2*size:24+3*size], b[14:]),
	}
	return c, c.options(b[n:])
}

// options reads what follows a record: kind, length, data.
func (c *Conn) options(b []byte) error {
	for len(b) > 0 {
		if len(b) < 2 || b[1] < 1 || int(b[1])+2 > len(b) {
			return malformed("an option is cut")
		}
		kind, data := b[0], b[2:2+int(b[1])]
		b = b[2+len(data):]
		switch kind &^ optIfUnknown {
		case optSeq:
			if len(data) != seqLen || c.Seq != nil {
				return malformed("%d bytes of sequence numbers", len(data))
			}
			c.Seq = data
		case optPEData:
			if c.PEData != nil {
				return malformed("two persistence engine data")
			}
			c.PEData = data
		case optPEName:
			if len(data) > maxPEName || c.PEName != nil {
				return malformed("%d bytes of a persistence engine's name", len(data))
			}
			c.PEName = data
		default:
			if kind&optIfUnknown == 0 {
				return malformed("option %d is not known", kind)
			}
		}
	}
	return nil
}

func addrPort(addr, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(addr) // 4 or 16 bytes by the callers
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
}
