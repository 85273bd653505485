package gossip

import (
	"encoding/binary"

	"ulvs/conntrack"
)

// The session lane: what is inside a sealed datagram of kind lane. All of it is big-endian, but addresses
// and ports, which lie in the order of the packet.
//
//	 0 type u8 | lane u8 | count u8 | flags u8
//	 4 seq u64
//	12 tail u64
//	20 base time u64, microseconds of the sender's clock
//	28 sessions u32
//	32 records or what the type says
//
// A record, 40 bytes for IPv4 and 76 for IPv6:
//
//	 0 op u8 | proto u8 | state u8 | flags u8 | remaining u16 s | timeout u16 s
//	 8 version: term u8, counter u40 | service u48
//	20 client, VIP, real server (4 or 16 bytes each)
//	.. client port, VIP port, real server's port u16 | 2 bytes of zero
const (
	laneHeader = 32
	record4    = 40
	record6    = 76
	// recordsMax is how many IPv4 records fit a datagram: 32+35*40 = 1432.
	recordsMax = (maxPayload - laneHeader) / record4
)

// Types of lane datagrams.
const (
	typeDelta  = 1 + iota // records, numbered per lane by seq; tail: the oldest that can be sent again
	typeStatus            // of the sender: per lane next u64, tail u64
	typeAck               // of lane, to its sender: all below seq came; then count ranges that did not
	typeRoot              // part lane of the digest's slots, u64 each
	typeLeaves            // of slot seq: u64 each
	typeWant              // count of: slot u16, bits of its leaves 16 bytes
	typeList              // all records of leaf seq, and no others of the sender's if flagComplete
	typeAsk               // for a snapshot, number seq
	numTypes
)

// Flags of lane datagrams.
const (
	flagComplete = 1 << iota // typeList: that is all; others: the sender lacks nothing that it knows of
	flagOwner                // typeStatus: lane is the sender's current term
	flagAsk                  // typeStatus: the sender waits for acknowledgements
)

// Flags of records.
const (
	recNAT = 1 << iota
	recTUN
	recNoOutput
	recTemplate
	recV6
	recStandby // the sender has it from another director
)

// laneHead is the header of a lane datagram.
type laneHead struct {
	kind, lane, count, flags uint8
	seq, tail, base          uint64
	sessions                 uint32
}

func (h *laneHead) put(b []byte) {
	b[0], b[1], b[2], b[3] = h.kind, h.lane, h.count, h.flags
	binary.BigEndian.PutUint64(b[4:], h.seq)
	binary.BigEndian.PutUint64(b[12:], h.tail)
	binary.BigEndian.PutUint64(b[20:], h.base)
	binary.BigEndian.PutUint32(b[28:], h.sessions)
}

// parseHead reads the header; false if it is none.
func parseHead(b []byte) (h laneHead, body []byte, ok bool) {
	if len(b) < laneHeader || b[0] == 0 || b[0] >= numTypes {
		return h, nil, false
	}
	h.kind, h.lane, h.count, h.flags = b[0], b[1], b[2], b[3]
	h.seq, h.tail = binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:])
	h.base, h.sessions = binary.BigEndian.Uint64(b[20:]), binary.BigEndian.Uint32(b[28:])
	return h, b[laneHeader:], true
}

var flagBits = [...]struct {
	flag conntrack.Flags
	bit  uint8
}{
	{conntrack.FlagNAT, recNAT}, {conntrack.FlagTUN, recTUN}, {conntrack.FlagNoOutput, recNoOutput},
	{conntrack.FlagTemplate, recTemplate},
}

// sizeOf is the bytes that r takes.
func sizeOf(r *conntrack.Record) int {
	if r.V6 {
		return record6
	}
	return record4
}

// appendRecord writes r behind b.
func appendRecord(b []byte, r *conntrack.Record, standby bool) []byte {
	flags := uint8(0)
	for _, f := range flagBits {
		if r.Flags&f.flag != 0 {
			flags |= f.bit
		}
	}
	if standby {
		flags |= recStandby
	}
	if r.V6 {
		flags |= recV6
	}
	b = append(b, uint8(r.Op), r.Proto(), uint8(r.State), flags)
	b = binary.BigEndian.AppendUint16(b, seconds(r.Remaining))
	b = binary.BigEndian.AppendUint16(b, seconds(r.Timeout))
	b = append48(b, uint64(r.Version))
	b = append48(b, r.Service)
	le := binary.LittleEndian
	if r.V6 {
		for _, w := range [...]uint64{r.Addr[0], r.Addr[1], r.Addr[2], r.Addr[3], r.DestAddr[0], r.DestAddr[1]} {
			b = le.AppendUint64(b, w)
		}
	} else {
		b = le.AppendUint64(b, r.Addr[0])
		b = le.AppendUint32(b, uint32(r.DestAddr[0]))
	}
	b = le.AppendUint32(b, uint32(r.L4))
	b = le.AppendUint16(b, r.DestPort)
	return append(b, 0, 0)
}

func append48(b []byte, v uint64) []byte {
	return append(b, byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func get48(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
}

// seconds rounds ticks up, at most what fits: 18 hours.
func seconds(t conntrack.Tick) uint16 {
	return uint16(min((t+conntrack.TicksPerSecond-1)/conntrack.TicksPerSecond, 1<<16-1))
}

// parseRecord reads the record at the beginning of b, and returns how long it is; 0 if it is none of ours.
func parseRecord(b []byte, r *conntrack.Record) (n int, standby bool) {
	if len(b) < record4 {
		return 0, false
	}
	flags := b[3]
	if n = record4; flags&recV6 != 0 {
		n = record6
	}
	op, state := conntrack.Op(b[0]), conntrack.State(b[2])
	if len(b) < n || op != conntrack.OpPut && op != conntrack.OpClose || int(state) >= conntrack.NumStates {
		return 0, false
	}
	*r = conntrack.Record{Op: op, State: state}
	for _, f := range flagBits {
		if flags&f.bit != 0 {
			r.Flags |= f.flag
		}
	}
	r.Remaining = conntrack.Tick(binary.BigEndian.Uint16(b[4:])) * conntrack.TicksPerSecond
	r.Timeout = conntrack.Tick(binary.BigEndian.Uint16(b[6:])) * conntrack.TicksPerSecond
	r.Version, r.Service = conntrack.Version(get48(b[8:])), get48(b[14:])
	le, at := binary.LittleEndian, 32
	if r.V6 = flags&recV6 != 0; r.V6 {
		for i := range r.Addr {
			r.Addr[i] = le.Uint64(b[20+8*i:])
		}
		r.DestAddr = [2]uint64{le.Uint64(b[52:]), le.Uint64(b[60:])}
		at = 68
	} else {
		r.Addr[0], r.DestAddr[0] = le.Uint64(b[20:]), uint64(le.Uint32(b[28:]))
	}
	r.L4, r.DestPort = uint64(le.Uint32(b[at:]))|uint64(b[1])<<32, le.Uint16(b[at+4:])
	if r.Version == 0 {
		return 0, false
	}
	return n, flags&recStandby != 0
}

// gap is a range of sequence numbers that did not come.
type gap struct {
	from uint64
	n    uint16
}

const (
	gapSize = 6
	gapsMax = (maxPayload - laneHeader) / gapSize
)

// appendGap writes a gap relative to seq.
func appendGap(b []byte, seq uint64, g gap) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(g.from-seq))
	return binary.BigEndian.AppendUint16(b, g.n)
}

// A snapshot's message, sent as memberlist's reliable user message:
//
//	0 'S' | 1 version | 2 flags: 1 first, 2 last | 3 lanes | 4 sender u64 | 12 number u64 | 20 part u32 | 24 count u32
//	28 per lane (first part only): next u64 | records
const (
	snapshotMark   = 'S'
	snapshotHeader = 28
	snapFirst      = 1
	snapLast       = 2

	// snapshotChunk is the size of a message: what a peer needs 5 ms for, while deltas wait. memberlist takes up
	// to 20 MiB.
	snapshotChunk = 1 << 18
	snapshotMax   = 2 * snapshotChunk // a larger one is refused
)

type snapshotHead struct {
	flags, lanes uint8
	from         NodeID
	number       uint64
	part, count  uint32
}

func (h *snapshotHead) put(b []byte) {
	b[0], b[1], b[2], b[3] = snapshotMark, wireVersion, h.flags, h.lanes
	binary.BigEndian.PutUint64(b[4:], uint64(h.from))
	binary.BigEndian.PutUint64(b[12:], h.number)
	binary.BigEndian.PutUint32(b[20:], h.part)
	binary.BigEndian.PutUint32(b[24:], h.count)
}

// parseSnapshot reads a message's header and the lanes' numbers; false if it is none.
func parseSnapshot(b []byte) (h snapshotHead, next []uint64, records []byte, ok bool) {
	if len(b) < snapshotHeader || len(b) > snapshotMax || b[0] != snapshotMark || b[1] != wireVersion {
		return h, nil, nil, false
	}
	h.flags, h.lanes, h.from = b[2], b[3], NodeID(binary.BigEndian.Uint64(b[4:]))
	h.number, h.part = binary.BigEndian.Uint64(b[12:]), binary.BigEndian.Uint32(b[20:])
	h.count, records = binary.BigEndian.Uint32(b[24:]), b[snapshotHeader:]
	if h.flags&snapFirst == 0 {
		return h, nil, records, h.lanes == 0
	}
	if len(records) < 8*int(h.lanes) {
		return h, nil, nil, false
	}
	for range h.lanes {
		next = append(next, binary.BigEndian.Uint64(records))
		records = records[8:]
	}
	return h, next, records, true
}
