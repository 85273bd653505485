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

// path is the next hop to a real server as the worker last looked it up. Its MTU is 0 where the short way does not
// lead, or not for plain packets.
type path struct {
	hop   Hop
	epoch uint32 // of the worker's snapshots
}

// tunnel is what the short way needs of a real server besides its path: good for as long.
type tunnel struct {
	addrs uint64 // of the outer IPv4 header
	sum   uint32 // theirs
	most  uint16 // bytes of the largest packet that fits; 0: it is no tunnel for the short way
	load  *lvs.Load
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
		// Entry 0, that of a packet without a session, is never live.
		if !m.Steady(middleStates[middle]) || int(id) >= len(paths) {
			if w.verdicts[i] = w.steadyOther(f, p, ref); w.verdicts[i] == undecided {
				return k
			}
			continue
		}
		to := &paths[id]
		if to.epoch != w.epoch {
			w.look(id)
		}
		hop, restarted := &to.hop, w.timers[middle]
		if ref.Reply() && hop.MTU != 0 {
			hop = w.replyPath(e, m)
		}
		if p.TotalLen > hop.MTU || timer.Over(now) || timer != restarted && w.log != nil {
			if w.verdicts[i] = w.steadyOther(f, p, ref); w.verdicts[i] == undecided {
				return k
			}
			continue
		}
		if timer != restarted {
			e.SetTimer(restarted)
		}
		if m.Flags()&conntrack.FlagNAT != 0 {
			w.verdicts[i] = w.steadyNAT(f, p, ref, hop)
			continue
		}
		if m.Flags()&conntrack.FlagTUN != 0 {
			w.verdicts[i] = w.steadyTUN(f, p, e, hop)
			continue
		}
		w.stats.in(id, p.TotalLen)
		b := f.Buf[f.Off:]
		b = b[:plainTTL+4]
		plainL2(f, p, hop)
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
		w.tunnels[id] = newTunnel(d, to.hop.MTU)
	}
}

// newTunnel is for IPIP to an IPv4 address over a next hop of that MTU.
func newTunnel(d *Dest, mtu uint16) (t tunnel) {
	if d.V6 || d.Tunnel.Type != lvs.TunnelIPIP || mtu < minMTU4+packet.IPv4Len {
		return t
	}
	return tunnel{addrs: d.outerAddrs(), sum: d.addrSum, most: mtu - packet.IPv4Len, load: d.Load}
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
	if !m.Steady(state) || e.Expired(w.now) || p.TTL <= 1 || p.Flags&packet.FlagOptions != 0 {
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
		return w.forwardReply(f, p, e, hop)
	}
	w.stats.in(id, p.TotalLen)
	return w.onward(f, p, forwarding{e, d, hop, methodOf(m.Flags())})
}

// nowhere is a hop that nothing fits.
var nowhere Hop

// replyPath is the next hop to the client as the session remembers it, nowhere if it is not for the short way.
func (w *Worker) replyPath(e *conntrack.Entry, m conntrack.Meta) *Hop {
	hop := &w.snap.Hops[w.knownHop(e)]
	if hop.State != HopReady || hop.VLAN != 0 || m.Flags()&conntrack.FlagNoOutput != 0 || e.Control() != 0 {
		return &nowhere
	}
	return hop
}

// steadyNAT forwards a plain packet of a NAT session, and counts it.
func (w *Worker) steadyNAT(f *packet.Frame, p *packet.Parsed, ref conntrack.Ref, hop *Hop) Verdict {
	e := w.table.Entry(ref)
	b := f.Buf[f.Off:]
	b = b[:plainL4+packet.UDPLen]
	sum := b[plainL4+6:]
	if p.Proto == packet.ProtoTCP {
		sum = f.Buf[f.Off+plainL4+16:]
	}
	was := packet.Checksum(binary.LittleEndian.Uint16(sum))
	if was == 0 && p.Proto == packet.ProtoUDP {
		return w.steadyUnsummed(f, p, ref, hop)
	}
	plainL2(f, p, hop)
	var d packet.Delta
	v := TxNAT
	if ref.Reply() {
		v = TxNATReply
		addr, port := e.VIP4(), e.VIPPort()
		d = d.Change32(uint32(p.Addr[0]), addr)
		binary.LittleEndian.PutUint32(b[packet.EthernetLen+ip4Src:], addr)
		takeTTL(b, d)
		d = d.Change16(uint16(p.L4), port)
		binary.LittleEndian.PutUint16(b[plainL4:], port)
		w.stats.out(e.Dest(), p.TotalLen)
	} else {
		addr, port := e.DestAddr4(), e.DestPort()
		d = d.Change32(uint32(p.Addr[0]>>32), addr)
		binary.LittleEndian.PutUint32(b[packet.EthernetLen+ip4Dst:], addr)
		takeTTL(b, d)
		d = d.Change16(uint16(p.L4>>16), port)
		binary.LittleEndian.PutUint16(b[plainL4+2:], port)
		w.stats.in(e.Dest(), p.TotalLen)
	}
	if was = was.Apply(d); was == 0 && p.Proto == packet.ProtoUDP {
		was = 0xffff
	}
	binary.LittleEndian.PutUint16(sum, uint16(was))
	return v
}

// steadyUnsummed is steadyNAT for UDP without a checksum, which leaves with one.
func (w *Worker) steadyUnsummed(f *packet.Frame, p *packet.Parsed, ref conntrack.Ref, hop *Hop) Verdict {
	e := w.table.Entry(ref)
	if ref.Reply() {
		w.stats.out(e.Dest(), p.TotalLen)
		return w.forwardReply(f, p, e, hop)
	}
	w.stats.in(e.Dest(), p.TotalLen)
	return w.forwardNAT(f, p, forwarding{conn: e, hop: hop})
}

// steadyTUN forwards a plain packet to a tunnel, and counts it: as forwardTUN, in a straight line.
func (w *Worker) steadyTUN(f *packet.Frame, p *packet.Parsed, e *conntrack.Entry, hop *Hop) Verdict {
	const over = packet.IPv4Len
	id := e.Dest()
	w.stats.in(id, p.TotalLen)
	t := &w.tunnels[id]
	if p.TotalLen > t.most || f.Off < over+packet.VLANLen || t.load.PathMTU(uint32(w.now)) != 0 {
		return w.onward(f, p, forwarding{e, &w.snap.Dests[id], hop, lvs.MethodTUN})
	}
	takeTTL(f.Buf[f.Off:], 0)
	start, end := w.outerWords(p, outerFields{packet.ProtoIPIP, outerTOS(p)}, over+int(p.TotalLen), t.sum)
	f.Off -= over
	b := f.Buf[f.Off:]
	b = b[:plainL4]
	plainL2(f, p, hop)
	f.Len += over
	binary.LittleEndian.PutUint16(b[12:], wireIPv4)
	binary.LittleEndian.PutUint64(b[packet.EthernetLen:], start)
	binary.LittleEndian.PutUint32(b[packet.EthernetLen+8:], end)
	binary.LittleEndian.PutUint64(b[packet.EthernetLen+12:], t.addrs)
	return TxTUN
}

// wireIPv4 is IPv4's EtherType in a little-endian load.
const wireIPv4 = packet.EtherTypeIPv4>>8 | packet.EtherTypeIPv4&0xff<<8

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
