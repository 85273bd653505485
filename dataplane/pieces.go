package dataplane

import (
	"encoding/binary"

	"ulvs/packet"
)

// pieceLimit is how many fragments wait to be sent together; more are sent in between.
const pieceLimit = 128

// cut sends the finished frame f as fragments that fit mtu, as the kernel does on output, and
// returns its verdict marked so. A verdict that sends nothing is returned as it is.
func (w *Worker) cut(f *packet.Frame, v Verdict, mtu uint16) Verdict {
	if !v.IsTx() {
		return v
	}
	if w.atLimit != 0 {
		mtu = min(mtu, w.atLimit)
	}
	b := f.Bytes()
	n := packet.EthernetLen
	if binary.BigEndian.Uint16(b[12:]) == packet.EtherTypeVLAN {
		n = vlanHeaderLen
	}
	ok, before := false, w.nPieces
	if b[n]>>4 == 4 {
		ok = w.cut4(b, n, mtu, f.Port)
	} else {
		ok = w.cut6(b, n, mtu, f.Port)
	}
	if ok {
		return v | inPieces
	}
	if w.nPieces > before { // a datagram with a hole is of no use
		w.queue.Release(w.pieces[before:w.nPieces])
		w.nPieces = before
	}
	return DropTooBig
}

// cut4 cuts an IPv4 packet (RFC 791 section 3.2): whole eights of payload to each fragment, the header
// copied, options that are not to be copied become no-operations (ip_options_fragment).
func (w *Worker) cut4(b []byte, l2 int, mtu uint16, port uint8) bool {
	h := packet.IPv4(b[l2:])
	head := l2 + h.HeaderLen()
	step := (int(mtu) - h.HeaderLen()) &^ 7
	payload := b[head : l2+int(h.TotalLen())]
	if step < 8 {
		return false
	}
	g := w.geometry(len(payload), int(mtu)-h.HeaderLen())
	for off, end := 0, 0; off < len(payload); off = end {
		end = g.next(off)
		part := payload[off:end]
		piece := w.piece(port, b[:head], part, 0)
		if piece == nil {
			return false
		}
		ip := packet.IPv4(piece[l2:])
		if off > 0 {
			blankOptions(ip[packet.IPv4Len:ip.HeaderLen()])
		}
		ip.SetTotalLen(uint16(h.HeaderLen() + len(part)))
		ip.SetFragment(uint16(off), off+len(part) < len(payload))
		if g.kept {
			ip.SetDF(false) // as ip_fraglist_init leaves it
		}
		ip.UpdateChecksum()
	}
	return true
}

// geometry says where a payload is cut: at the edges of the fragments that it came in, if those still
// fit (the fast path of ip_do_fragment), else in steps as large as can be.
type geometry struct {
	total, step int
	edges       []uint16 // ends of the fragments in the payload that was put together
	shift       int      // bytes that were put in front of that
	kept        bool     // cut at the edges
}

func (w *Worker) geometry(total, room int) geometry {
	g := geometry{total: total, step: room &^ 7, edges: w.edges[:w.nEdges]}
	if w.atLimit == 0 || w.nEdges == 0 {
		return g
	}
	g.shift = total - int(g.edges[w.nEdges-1])
	for i, before := 0, 0; i < w.nEdges; i++ {
		end := g.shift + int(g.edges[i])
		if end-before > room || i+1 < w.nEdges && (end-before)%8 != 0 {
			return g
		}
		before = end
	}
	g.kept = true
	return g
}

// next returns where the piece that begins at off ends.
func (g *geometry) next(off int) int {
	if !g.kept {
		return min(off+g.step, g.total)
	}
	for len(g.edges) > 1 && g.shift+int(g.edges[0]) <= off {
		g.edges = g.edges[1:]
	}
	return g.shift + int(g.edges[0])
}

// blankOptions replaces the options that belong to the first fragment only.
func blankOptions(o []byte) {
	for len(o) > 0 && o[0] != 0 {
		n := 1
		if o[0] != 1 {
			if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
				return
			}
			n = int(o[1])
		}
		if o[0]&0x80 == 0 {
			for i := range n {
				o[i] = 1
			}
		}
		o = o[n:]
	}
}

// cut6 cuts an IPv6 packet, with a fragment header behind the fixed one (RFC 8200 section 4.5). Extension
// headers go with the payload: those that must not are gone, we are an end of the tunnel or the path.
func (w *Worker) cut6(b []byte, l2 int, mtu uint16, port uint8) bool {
	const fragLen = packet.FragmentLen
	h := packet.IPv6(b[l2:])
	head := l2 + packet.IPv6Len
	step := (int(mtu) - packet.IPv6Len - fragLen) &^ 7
	payload := b[head : head+int(h.PayloadLen())]
	if step < 8 {
		return false
	}
	if len(payload)+packet.IPv6Len <= int(mtu) {
		return w.piece(port, b[:head], payload, 0) != nil
	}
	id := uint32(w.nextID())<<16 | uint32(w.nextID()) // its sender's might meet another sender's in a tunnel
	g := w.geometry(len(payload), int(mtu)-packet.IPv6Len-fragLen)
	for off, end := 0, 0; off < len(payload); off = end {
		end = g.next(off)
		part := payload[off:end]
		piece := w.piece(port, b[:head], part, fragLen)
		if piece == nil {
			return false
		}
		ip := packet.IPv6(piece[l2:])
		packet.IPv6Fragment(piece[head:]).Encode(&packet.IPv6FragmentFields{
			NextHeader: h.NextHeader(), Off: uint16(off), More: off+len(part) < len(payload), ID: id,
		})
		ip.SetNextHeader(packet.ProtoFragment)
		ip.SetPayloadLen(uint16(fragLen + len(part)))
	}
	return true
}

// piece makes a frame of head, gap bytes and part that leaves by port, and returns its bytes; nil without a frame.
func (w *Worker) piece(port uint8, head, part []byte, gap int) []byte {
	if w.nPieces == pieceLimit {
		w.sendPieces()
	}
	frames := w.pieces[w.nPieces : w.nPieces+1]
	if w.queue.Alloc(frames) == 0 {
		return nil
	}
	f := &frames[0]
	if !f.Resize(len(head) + gap + len(part)) {
		w.queue.Release(frames)
		return nil
	}
	w.nPieces++
	f.Port = port
	b := f.Bytes()
	copy(b, head)
	copy(b[len(head)+gap:], part)
	return b
}

// sendPieces sends what cut made.
func (w *Worker) sendPieces() {
	if w.nPieces == 0 {
		return
	}
	if w.tap != nil {
		w.tapPieces()
	}
	sent := w.queue.Send(w.pieces[:w.nPieces])
	w.stats.txFull += uint64(w.nPieces - sent)
	w.nPieces = 0
}
