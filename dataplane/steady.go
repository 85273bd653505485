package dataplane

import (
	"encoding/binary"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// The short way: nearly every packet is one in the middle of its session, which it leaves as it is, and its real
// server is there. steady forwards those in a straight line, and leaves everything else to flow, as if it had not
// been asked. It decides nothing that flow would decide otherwise: TestTheShortWayIsTheLongWay.

// undecided is what steady says of a packet that takes the long way. As a verdict it would be a bug's.
const undecided = DropInternal

// tcpCare are the flags that make of a segment more than one in the middle of its session.
const tcpCare = packet.TCPSyn | packet.TCPFin | packet.TCPRst | packet.TCPAck

// steady forwards a packet by the short way, or leaves it undecided and untouched. There must be a service. It calls
// nothing for the commonest packet of all, DR without tags: each call costs about what it saves.
func (w *Worker) steady(f *packet.Frame, p *packet.Parsed, ref conntrack.Ref) Verdict {
	state := conntrack.TCPEstablished
	if p.Proto != packet.ProtoTCP || p.TCPFlags&tcpCare != packet.TCPAck {
		if state = conntrack.UDPNormal; p.Proto != packet.ProtoUDP {
			return undecided
		}
	}
	snap, e := w.snap, w.table.Entry(ref)
	m, id := e.Meta(), e.Dest()
	// Entry 0, that of a packet without a session, is never live.
	if !m.Steady(state) || e.Expired(w.now) || p.TTL <= 1 || p.Flags&packet.FlagOptions != 0 ||
		int(id) >= len(snap.Dests) {
		return undecided
	}
	d := &snap.Dests[id]
	if d.Removed || d.Load == nil {
		return undecided
	}
	if ref.Reply() {
		return w.steadyReply(f, p, session{ref, e, m})
	}
	hop := &snap.Hops[d.Hop]
	if hop.State != HopReady || p.TotalLen > hop.MTU {
		return undecided
	}
	method := methodOf(m.Flags())
	if method == lvs.MethodTUN && int(p.TotalLen) > w.tunnelRoom(forwarding{e, d, hop, method}) {
		return undecided
	}
	if e.Touch(w.now, snap.Timeouts.Of(state)) && w.log != nil {
		w.tell(e, state, false)
	}
	w.stats.in(id, p.TotalLen)
	if method == lvs.MethodDR && plain(p, hop) {
		b := f.Buf[f.Off:]
		b = b[:plainMin]
		plainL2(f, p, hop)
		word := binary.LittleEndian.Uint32(b[plainTTL:])
		sum := ^word>>16 + 0xfffe // as packet.DecTTL
		binary.LittleEndian.PutUint32(b[plainTTL:], (word-1)&0xffff|^(sum>>16+sum)<<16)
		return TxDR
	}
	if method == lvs.MethodNAT && plain(p, hop) && plainNAT(f, p, hop, rewrite{ip4Dst, e.DestAddr4(), e.DestPort()}) {
		return TxNAT
	}
	return w.apply(f, p, forwarding{e, d, hop, method})
}

// tunnelRoom is the largest packet that goes through a tunnel in one piece; 0 if its path is too narrow for IP.
func (w *Worker) tunnelRoom(to forwarding) int {
	n := int(w.pathMTU(to)) - int(to.dest.Overhead)
	if n < minMTU(to.dest.V6) {
		return 0
	}
	return n
}

// steadyReply is steady for a real server's packet.
func (w *Worker) steadyReply(f *packet.Frame, p *packet.Parsed, s session) Verdict {
	hop := &w.snap.Hops[w.knownHop(s.e)]
	if hop.State != HopReady || p.TotalLen > hop.MTU || s.meta.Flags()&conntrack.FlagNoOutput != 0 || s.e.Control() != 0 {
		return undecided
	}
	state := s.meta.State()
	if s.e.Touch(w.now, w.snap.Timeouts.Of(state)) && w.log != nil {
		w.tell(s.e, state, false)
	}
	w.stats.out(s.e.Dest(), p.TotalLen)
	if plain(p, hop) && plainNAT(f, p, hop, rewrite{ip4Src, s.e.VIP4(), s.e.VIPPort()}) {
		return TxNATReply
	}
	return w.forwardReply(f, p, s.e, hop)
}

// plain reports whether a packet is IPv4, has no tag and gets none: then its EtherType and its place in the frame
// stay as they are.
func plain(p *packet.Parsed, hop *Hop) bool {
	return p.Flags&(packet.FlagV6|packet.FlagVLAN) == 0 && hop.VLAN == 0
}

// Offsets in a plain frame.
const (
	plainTTL = packet.EthernetLen + 8 // protocol and checksum are behind it
	plainL4  = packet.EthernetLen + packet.IPv4Len
	plainMin = plainL4 + packet.UDPLen
)

// plainL2 writes the Ethernet header, all but the EtherType, and cuts off the padding.
func plainL2(f *packet.Frame, p *packet.Parsed, hop *Hop) {
	b := f.Buf[f.Off:]
	binary.LittleEndian.PutUint64(b[0:8], hop.dstSrc)
	binary.LittleEndian.PutUint32(b[8:12], hop.src)
	f.Len, f.Port = packet.EthernetLen+p.TotalLen, hop.Port
}

// takeTTL takes one from the TTL and brings the header's checksum up to date, for that and for what d says.
// The TTL is the low byte of its word: that goes down by one, too.
func takeTTL(b []byte, d packet.Delta) {
	word := binary.LittleEndian.Uint32(b[plainTTL:])
	sum := packet.Checksum(word >> 16).Apply(d + 0xfffe)
	binary.LittleEndian.PutUint32(b[plainTTL:], (word-1)&0xffff|uint32(sum)<<16)
}

// rewrite is a new address and port for one side of a packet.
type rewrite struct {
	field int    // ip4Src or ip4Dst
	addr  uint32 // as a little-endian load, like port
	port  uint16
}

// plainNAT is forwardNAT or forwardReply for a plain packet of TCP, or of UDP with a checksum; it reports false,
// with the packet untouched, for another one.
func plainNAT(f *packet.Frame, p *packet.Parsed, hop *Hop, to rewrite) bool {
	b := f.Buf[f.Off:]
	addr, port, sum := packet.EthernetLen+to.field, plainL4, plainL4+16
	if to.field == ip4Dst {
		port += 2
	}
	if p.Proto == packet.ProtoUDP {
		sum = plainL4 + 6
	}
	was := packet.Checksum(binary.LittleEndian.Uint16(b[sum : sum+2]))
	if p.Proto == packet.ProtoUDP && was == 0 {
		return false
	}
	d := packet.Delta(0).Change32(binary.LittleEndian.Uint32(b[addr:addr+4]), to.addr)
	binary.LittleEndian.PutUint32(b[addr:addr+4], to.addr)
	takeTTL(b, d)
	d = d.Change16(binary.LittleEndian.Uint16(b[port:port+2]), to.port)
	binary.LittleEndian.PutUint16(b[port:port+2], to.port)
	if was = was.Apply(d); was == 0 && p.Proto == packet.ProtoUDP {
		was = 0xffff
	}
	binary.LittleEndian.PutUint16(b[sum:sum+2], uint16(was))
	plainL2(f, p, hop)
	return true
}
