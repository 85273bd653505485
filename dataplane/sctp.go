package dataplane

import (
	"encoding/binary"
	"hash/crc32"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// An SCTP packet (RFC 9260 section 3) is a common header and chunks, each padded to four bytes; the
// length of a chunk counts its header and not its padding:
//
//	 0          2           4                 8          12     13      14       16
//	+----------+-----------+-----------------+----------+------+-------+--------+----...
//	| source   | dest.     | verification    | checksum | type | flags | length | value
//	| port     | port      | tag             | CRC32c   |      |       |        |
//	+----------+-----------+-----------------+----------+------+-------+--------+----...
const (
	sctpChecksum   = 8
	chunkHeaderLen = 4
	chunkLengthAt  = 2
	chunkAlignment = 4
	chunkTypeAt    = 0
)

// sctpChunk returns the type of the chunk that moves the packet's session: the first, but an ABORT
// bundled behind a COOKIE-ECHO or COOKIE-ACK (set_sctp_state). False if there is no whole chunk header.
func sctpChunk(f *packet.Frame, p *packet.Parsed) (chunk uint8, whole bool) {
	b := f.Bytes()
	first, end := int(p.L4Off)+packet.SCTPLen, min(int(p.L3Off)+int(p.TotalLen), len(b))
	if first+chunkHeaderLen > end {
		return 0, false
	}
	b = b[first:end]
	chunk = b[chunkTypeAt]
	if chunk != conntrack.ChunkCookieEcho && chunk != conntrack.ChunkCookieAck {
		return chunk, true
	}
	length := int(binary.BigEndian.Uint16(b[chunkLengthAt:]))
	next := (length + chunkAlignment - 1) &^ (chunkAlignment - 1)
	if length >= chunkHeaderLen && next+chunkHeaderLen <= len(b) && b[next] == conntrack.ChunkAbort {
		chunk = conntrack.ChunkAbort
	}
	return chunk, true
}

// sctpStarts reports whether a packet with that chunk may start a session: an INIT, with sloppy_sctp
// any but an ABORT (sctp_conn_schedule).
func (w *Worker) sctpStarts(chunk uint8) bool {
	return chunk == conntrack.ChunkInit || chunk != conntrack.ChunkAbort && w.snap.Settings.SloppySCTP != 0
}

// nextSCTP is the session's state after the packet, as it came in. One without a chunk moves nothing.
func nextSCTP(f *packet.Frame, p *packet.Parsed, s conntrack.State, dir conntrack.Dir) conntrack.State {
	chunk, whole := sctpChunk(f, p)
	if !whole {
		return s
	}
	return conntrack.NextSCTP(dir, s, chunk)
}

// missSCTP decides about an SCTP packet without a session; id is its service, 0 for none. The kernel
// drops a packet without a chunk, service or not, before it looks for one.
func (w *Worker) missSCTP(f *packet.Frame, p *packet.Parsed, id lvs.ServiceID) Verdict {
	if id == 0 && !w.snap.VIPs[p.Dst()] {
		return w.stray(f, p)
	}
	chunk, whole := sctpChunk(f, p)
	switch {
	case !whole:
		return ParseVerdict(packet.ErrL4Short)
	case id == 0 || !w.sctpStarts(chunk):
		return w.protocolUnreachable(f, p)
	}
	return w.schedule(f, p, &w.snap.Services[id])
}

// protocolUnreachable answers for a protocol that nobody here speaks, as a kernel without a socket for it
// does: ICMP protocol unreachable, ICMPv6 unrecognized next header with where that stands.
func (w *Worker) protocolUnreachable(f *packet.Frame, p *packet.Parsed) Verdict {
	e := ownError{
		v4: typeCode{packet.ICMPUnreachable, icmpCodeProtocol},
		v6: typeCode{packet.ICMPv6ParamProblem, icmp6CodeNextHeader}, otherwise: DropNoService,
	}
	if p.V6() {
		e.rest = nextHeaderOff(f.Bytes()[p.L3Off:p.L4Off])
	}
	return w.icmpError(f, p, e)
}

// Codes of protocolUnreachable (RFC 792, RFC 4443 section 3.4).
const (
	icmpCodeProtocol    = 2
	icmp6CodeNextHeader = 1
)

// nextHeaderOff returns where in an IPv6 header with its extension headers, which is b, the number of the
// protocol behind them stands.
func nextHeaderOff(b []byte) uint32 {
	const ownNextHeader = 6
	at, off, proto := ownNextHeader, packet.IPv6Len, b[ownNextHeader]
	for off+8 <= len(b) {
		n := packet.ExtHeader(b[off:]).Len(proto)
		at, proto, off = off, b[off], off+n
	}
	return uint32(at)
}

// castagnoli is CRC32c's table; crc32 computes with the CPU's instruction where there is one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// mendSCTP computes the checksum anew after the ports, which were was as in a Parsed's L4, changed in l4, an
// SCTP packet to its end. A packet that was damaged on the way here keeps its wrong checksum, to be seen as
// damaged there. The kernel gives it a right one (sctp_nat_csum), and so do we with kernel_quirks.
func (w *Worker) mendSCTP(l4 []byte, was uint32) {
	if len(l4) < packet.SCTPLen || binary.LittleEndian.Uint32(l4) == was {
		return // the checksum does not cover addresses
	}
	sum := l4[sctpChecksum:packet.SCTPLen]
	if w.snap.Settings.KernelQuirks == 0 && binary.LittleEndian.Uint32(sum) != sctpSum(l4, was) {
		return
	}
	binary.LittleEndian.PutUint32(sum, sctpSum(l4, binary.LittleEndian.Uint32(l4)))
}

// sctpSum is the checksum of an SCTP packet with other ports: CRC32c with zeroes in its own place, which
// the wire has little-endian (RFC 9260 appendix A).
func sctpSum(l4 []byte, ports uint32) uint32 {
	// The header goes through as a constant-size table walk: handed to crc32 as a slice of a local, it would
	// be moved to the heap.
	crc := ^uint32(0)
	for i := range 4 {
		crc = crcByte(crc, uint8(ports>>(8*i)))
	}
	for _, c := range l4[4:sctpChecksum] {
		crc = crcByte(crc, c)
	}
	for range packet.SCTPLen - sctpChecksum {
		crc = crcByte(crc, 0)
	}
	return crc32.Update(^crc, castagnoli, l4[packet.SCTPLen:])
}

func crcByte(crc uint32, c uint8) uint32 { return castagnoli[uint8(crc)^c] ^ crc>>8 }

// renewsSCTP reports whether an INIT replaces its session: a closed one by conn_reuse_mode, any whose real
// server is quiesced where expire_nodest_conn is set (is_new_conn_expected in ip_vs_core.c).
func (w *Worker) renewsSCTP(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry) bool {
	if chunk, whole := sctpChunk(f, p); !whole || chunk != conntrack.ChunkInit {
		return false
	}
	if w.snap.Settings.ConnReuseMode != 0 && e.State() == conntrack.SCTPClosed && e.Control() == 0 {
		return true
	}
	d := w.dest(e.Dest())
	return w.snap.Settings.ExpireNodestConn != 0 && d != nil && d.Quiesced
}
