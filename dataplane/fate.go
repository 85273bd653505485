package dataplane

import (
	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// What becomes of the sessions of a real server that failed or was taken out (on_failure): decided at their next
// packet, in orphan, so that nobody looks for them. docs/sessions.md has pictures.

// meet deals out the fate of a session to its packet.
func (w *Worker) meet(f *packet.Frame, p *packet.Parsed, s session) Verdict {
	switch w.snap.Dests[s.e.Dest()].Fate {
	case lvs.FailReset:
		return w.sever(f, p, s)
	case lvs.FailReschedule:
		return w.moveOn(f, p, s)
	}
	w.expire(s.ref, s.e)
	return w.miss(f, p)
}

// sever ends a TCP session at both of its ends. What has no reset is told by ICMP that nobody is there. Where the
// client cannot be told now, the session stays for its next packet.
func (w *Worker) sever(f *packet.Frame, p *packet.Parsed, s session) Verdict {
	if p.Proto != lvs.ProtoTCP {
		w.expire(s.ref, s.e)
		return w.noDestination(f, p)
	}
	if p.TCPFlags&packet.TCPRst != 0 { // the client is faster
		w.expire(s.ref, s.e)
		return DropRemoved
	}
	before := w.nPieces
	if before == pieceLimit {
		return DropRemoved // too many in this batch
	}
	w.resetServer(f, p, s)
	v := w.reset(f, p)
	if v != TxReset {
		if w.nPieces > before {
			w.queue.Release(w.pieces[before:w.nPieces])
			w.nPieces = before
		}
		return v
	}
	w.expire(s.ref, s.e)
	return v
}

// resetServer sends the real server a reset as if the client had sent it instead of p: with p's sequence number,
// which the server expects. Without a frame or a next hop the server is left to its own timers.
func (w *Worker) resetServer(f *packet.Frame, p *packet.Parsed, s session) {
	d := &w.snap.Dests[s.e.Dest()]
	hop := &w.snap.Hops[d.Hop]
	if hop.State != HopReady || int(p.L4Off)+packet.TCPLen > int(f.Len) {
		return
	}
	seg := packet.TCP(f.Bytes()[p.L4Off:])
	fields := packet.TCPFields{
		SrcPort: seg.SrcPort(), DstPort: seg.DstPort(), Seq: seg.Seq(), Ack: seg.Ack(),
		Flags: packet.TCPRst | packet.TCPAck,
	}
	n := packet.IPv4Len
	if p.V6() {
		n = packet.IPv6Len
	}
	b := w.blank(f.Port, packet.EthernetLen+n+packet.TCPLen)
	if b == nil {
		return
	}
	w.encodeReset(b, p, &fields)
	piece := &w.pieces[w.nPieces-1]
	ok := packet.Parse(piece.Bytes(), &w.inner) == 0
	if ok {
		v := w.apply(piece, &w.inner, forwarding{s.e, d, hop, methodOf(s.meta.Flags())})
		ok = v.IsTx()
	}
	if !ok {
		w.nPieces--
		w.queue.Release(w.pieces[w.nPieces : w.nPieces+1])
	}
}

// blank makes a frame of n bytes that leaves with the pieces, and returns its bytes; nil without a frame.
func (w *Worker) blank(port uint8, n int) []byte {
	frames := w.pieces[w.nPieces : w.nPieces+1]
	if w.queue.Alloc(frames) == 0 {
		return nil
	}
	f := &frames[0]
	if !f.Resize(n) {
		w.queue.Release(frames)
		return nil
	}
	w.nPieces++
	f.Port = port
	return f.Bytes()
}

// encodeReset writes a segment without data from the client to the VIP over b, with room for an Ethernet header
// in front, of which only the type matters.
func (w *Worker) encodeReset(b []byte, p *packet.Parsed, fields *packet.TCPFields) {
	packet.Ethernet(b).Encode(&packet.EthernetFields{EtherType: etherType(p)})
	ip, n := b[packet.EthernetLen:], packet.IPv4Len
	if p.V6() {
		n = packet.IPv6Len
		packet.IPv6(ip).Encode(&packet.IPv6Fields{
			NextHeader: packet.ProtoTCP, HopLimit: ownTTL, PayloadLen: packet.TCPLen,
			Src: [2]uint64{p.Addr[0], p.Addr[1]}, Dst: [2]uint64{p.Addr[2], p.Addr[3]},
		})
	} else {
		packet.IPv4(ip).Encode(&packet.IPv4Fields{
			TTL: ownTTL, Proto: packet.ProtoTCP, DF: true, TotalLen: packet.IPv4Len + packet.TCPLen,
			Src: uint32(p.Addr[0]), Dst: uint32(p.Addr[0] >> 32),
		})
	}
	seg := packet.TCP(ip[n:])
	seg.Encode(fields)
	seg.UpdateChecksum(p.PseudoSum(packet.TCPLen))
}

// moveOn gives the flow to another real server, whatever packet it is that comes. While there is no other the
// session stays as it is, and goes on if its own real server returns.
func (w *Worker) moveOn(f *packet.Frame, p *packet.Parsed, s session) Verdict {
	id := w.service(f, p)
	if id == 0 || p.Proto == lvs.ProtoTCP && p.TCPFlags&packet.TCPRst != 0 {
		w.expire(s.ref, s.e)
		return DropRemoved
	}
	svc := &w.snap.Services[id]
	to, template := w.pick(p, svc)
	d := w.dest(uint32(to))
	if d == nil {
		return DropRemoved
	}
	w.expire(s.ref, s.e)
	ref, result := w.insert(p, newSession{svc, d, to, template})
	if result == conntrack.Full {
		return DropTableFull
	}
	return w.request(f, p, w.session(ref))
}
