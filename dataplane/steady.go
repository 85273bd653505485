package dataplane

import (
	"encoding/binary"

	"ulvs/conntrack"
	"ulvs/packet"
)

// The short way: nearly every packet is one in the middle of its session, which it leaves as it is, and its real
// server is there. steady forwards those in a straight line, and leaves everything else to flow, as if it had not
// been asked. It decides nothing that flow would decide otherwise: TestTheShortWayIsTheLongWay.

// undecided is what steady says of a packet that takes the long way. As a verdict it would be a bug's.
const undecided = DropInternal

// tcpCare are the flags that make of a segment more than one in the middle of its session.
const tcpCare = packet.TCPSyn | packet.TCPFin | packet.TCPRst | packet.TCPAck

// path is the next hop to a real server as the worker last looked it up. Its MTU is 0 where the short way does not
// lead, or not for plain packets.
type path struct {
	hop   Hop
	epoch uint32 // of the worker's snapshots
}

// steady forwards flows of a batch by the short way, from the k-th on up to the first that it leaves undecided and
// untouched, and returns which that is. There must be a service. It is a single pass that leaves its loop's code for
// what is rare, because the work on a packet is little more than some calls cost.
func (w *Worker) steady(frames []packet.Frame, v *family, k int) int {
	at, parsed, refs := v.at[:v.n], v.parsed[:v.n], v.refs[:v.n]
	paths, now := w.paths, w.now
	for ; k < len(parsed); k++ {
		p, ref, i := &parsed[k], refs[k], at[k]&(BatchSize-1)
		f, e, middle := &frames[i], w.table.Entry(ref), p.Middle&(packet.NumMiddle-1)
		m, id, timer := e.Meta(), e.Dest(), e.Timer()
		// Entry 0, that of a packet without a session, is never live. A session that is found by its reply key is NAT's.
		if !m.Steady(middleStates[middle], conntrack.FlagTUN) || ref.Reply() || int(id) >= len(paths) {
			if w.verdicts[i] = w.steadyOther(f, p, ref); w.verdicts[i] == undecided {
				return k
			}
			continue
		}
		to := &paths[id]
		if to.epoch != w.epoch {
			w.look(id)
		}
		restarted := w.timers[middle]
		if p.TotalLen > to.hop.MTU || timer.Over(now) || timer != restarted && w.log != nil {
			if w.verdicts[i] = w.steadyOther(f, p, ref); w.verdicts[i] == undecided {
				return k
			}
			continue
		}
		if timer != restarted {
			e.SetTimer(restarted)
		}
		w.stats.in(id, p.TotalLen)
		if m.Flags()&conntrack.FlagNAT != 0 {
			w.verdicts[i] = w.natTo(f, p, e, &to.hop)
			continue
		}
		b := f.Buf[f.Off:]
		b = b[:plainTTL+4]
		plainL2(f, p, &to.hop)
		word := binary.LittleEndian.Uint32(b[plainTTL:])
		sum := ^word>>16 + 0xfffe // as packet.DecTTL
		binary.LittleEndian.PutUint32(b[plainTTL:], (word-1)&0xffff|^(sum>>16+sum)<<16)
		w.verdicts[i] = TxDR
	}
	return k
}

// middleStates are the states that packets in the middle of a flow leave as they are.
var middleStates = [packet.NumMiddle]conntrack.State{
	conntrack.NoState, conntrack.TCPEstablished, conntrack.UDPNormal, conntrack.NoState,
}

// restartTimers makes the timers that packets of the batch give to their sessions.
func (w *Worker) restartTimers() {
	for i := range w.timers {
		w.timers[i] = conntrack.TimerOf(w.now, w.snap.Timeouts.Of(middleStates[i]))
	}
}

// look brings the path to a real server up to date.
func (w *Worker) look(id uint32) {
	to := &w.paths[id]
	*to = path{epoch: w.epoch}
	if d := w.dest(id); d != nil && !d.Removed {
		if hop := &w.snap.Hops[d.Hop]; hop.State == HopReady && hop.VLAN == 0 {
			to.hop = *hop
		}
	}
}

// steadyOther is steady for one packet of any kind.
func (w *Worker) steadyOther(f *packet.Frame, p *packet.Parsed, ref conntrack.Ref) Verdict {
	state := conntrack.TCPEstablished
	if p.Proto != packet.ProtoTCP || p.TCPFlags&tcpCare != packet.TCPAck {
		if state = conntrack.UDPNormal; p.Proto != packet.ProtoUDP {
			return undecided
		}
	}
	e := w.table.Entry(ref)
	m, id := e.Meta(), e.Dest()
	if !m.Steady(state, 0) || e.Expired(w.now) || p.TTL <= 1 || p.Flags&packet.FlagOptions != 0 {
		return undecided
	}
	d := w.dest(id)
	if d == nil || d.Removed {
		return undecided
	}
	hop := &w.snap.Hops[d.Hop]
	if ref.Reply() {
		if hop = &w.snap.Hops[w.knownHop(e)]; m.Flags()&conntrack.FlagNoOutput != 0 || e.Control() != 0 {
			return undecided
		}
	}
	if hop.State != HopReady || p.TotalLen > hop.MTU {
		return undecided
	}
	if e.Touch(w.now, w.snap.Timeouts.Of(state)) && w.log != nil {
		w.tell(e, state, false)
	}
	if ref.Reply() {
		w.stats.out(id, p.TotalLen)
		if plain(p, hop) && plainNAT(f, p, hop, newSide{ip4Src, e.VIP4(), e.VIPPort()}) {
			return TxNATReply
		}
		return w.forwardReply(f, p, e, hop)
	}
	w.stats.in(id, p.TotalLen)
	return w.onward(f, p, forwarding{e, d, hop, methodOf(m.Flags())})
}

// natTo is forwardNAT for a plain packet.
func (w *Worker) natTo(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry, hop *Hop) Verdict {
	if plainNAT(f, p, hop, newSide{ip4Dst, e.DestAddr4(), e.DestPort()}) {
		return TxNAT
	}
	return w.forwardNAT(f, p, forwarding{conn: e, hop: hop})
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

// newSide is a new address and port for one side of a packet.
type newSide struct {
	field int    // ip4Src or ip4Dst
	addr  uint32 // as a little-endian load, like port
	port  uint16
}

// plainNAT is forwardNAT or forwardReply for a plain packet of TCP, or of UDP with a checksum; it reports false,
// with the packet untouched, for another one.
func plainNAT(f *packet.Frame, p *packet.Parsed, hop *Hop, to newSide) bool {
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
