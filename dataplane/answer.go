package dataplane

import (
	"ulvs/conntrack"
	"ulvs/packet"
)

// answersPerSecond bounds the packets of its own that a worker makes in answer to others
// (ICMP errors, resets): the kernel's icmp_msgs_per_sec is 1000, too.
const answersPerSecond = 1000

// ownTTL is the TTL of packets we make ourselves (net.ipv4.ip_default_ttl).
const ownTTL = 64

// answerBudget is a bucket refilled every tick. Echo, ARP and ND are not bounded by it.
type answerBudget struct {
	tick conntrack.Tick
	left int
}

func (a *answerBudget) take(now conntrack.Tick) bool {
	if a.tick != now {
		a.tick, a.left = now, answersPerSecond/conntrack.TicksPerSecond
	}
	if a.left == 0 {
		return false
	}
	a.left--
	return true
}

// other decides about frames that are no unfragmented TCP, UDP or SCTP.
func (w *Worker) other(f *packet.Frame, p *packet.Parsed) Verdict {
	switch {
	case p.Kind == packet.KindARP:
		return w.arp(f, p)
	case p.Flags&packet.FlagFragment != 0:
		return w.gather(f, p)
	case p.Flags&packet.FlagAtomic != 0:
		return w.atomic(f, p)
	case !p.V6() && w.ours4(p.Addr[0]):
		return w.ownSource(f, p)
	case p.Kind == packet.KindICMP && p.Proto == packet.ProtoICMPv6:
		return w.icmp6(f, p)
	case p.Kind == packet.KindICMP:
		return w.icmp4(f, p)
	case isIPsec(p):
		return w.ipsec(f, p)
	case w.snap.VIPs[p.Dst()] && p.Proto != protoIGMP && p.Proto != protoUDPLite && p.Proto != protoNone:
		return w.protocolUnreachable(f, p)
	}
	return DropNotOurs
}

// Protocols that a kernel speaks and that we have no answer for.
const (
	protoIGMP    = 2
	protoNone    = 59 // IPv6: nothing follows
	protoUDPLite = 136
)

// turn addresses an answer to p's sender: along the kernel's route to it, or back where the frame came from if
// that way is not known or leads into another VLAN. The source is the port's own address; what came may have
// been for everybody.
func (w *Worker) turn(f *packet.Frame, p *packet.Parsed) {
	e := packet.Ethernet(f.Bytes())
	if hop := w.wayBack(p); hop != nil {
		f.Port = hop.Port
		e.SetDst(hop.DstMAC())
	} else {
		e.SetDst(e.Src())
	}
	e.SetSrc(w.snap.Ports[f.Port].MAC)
}

func (w *Worker) wayBack(p *packet.Parsed) *Hop {
	key, ok := w.snap.Routes.NextHop(p.Src())
	if !ok {
		return nil
	}
	hop := &w.snap.Hops[w.snap.HopIDs[key]]
	if hop.State != HopReady || hop.VLAN != p.VLAN&0xfff {
		return nil
	}
	return hop
}

// echo4 answers an echo request, in place.
func (w *Worker) echo4(f *packet.Frame, p *packet.Parsed) Verdict {
	b := f.Bytes()
	if !packet.ICMP(b[p.L4Off : int(p.L3Off)+int(p.TotalLen)]).ChecksumOK() {
		return DropICMP
	}
	var options [maxOptions]byte
	n, ok := w.echoOptions(packet.IPv4(b[p.L3Off:p.L4Off]), uint32(p.Addr[0]>>32), &options)
	if !ok {
		return DropICMP
	}
	w.turn(f, p)
	ip := packet.IPv4(b[p.L3Off:])
	if over := int(p.L4Off-p.L3Off) - packet.IPv4Len - n; p.Flags&packet.FlagOptions != 0 {
		copy(ip[packet.IPv4Len:], options[:n])
		copy(ip[packet.IPv4Len+n:], b[p.L4Off:int(p.L3Off)+int(p.TotalLen)])
		ip.SetOptionsLen(n)
		ip.SetTotalLen(p.TotalLen - uint16(over))
		f.Len = p.L3Off + p.TotalLen - uint16(over)
	}
	src := ip.SrcWire()
	ip.SetSrcWire(ip.DstWire())
	ip.SetDstWire(src)
	ip.SetTTL(ownTTL)
	ip.SetID(w.nextID())
	ip.SetDF(false)
	ip.UpdateChecksum()
	packet.ICMP(ip[packet.IPv4Len+n:]).ChangeType(packet.ICMPEchoReply)
	return TxEcho
}

// echo6 does the same for IPv6.
func (w *Worker) echo6(f *packet.Frame, p *packet.Parsed) Verdict {
	b := f.Bytes()
	m := packet.ICMPv6(b[p.L4Off : int(p.L3Off)+int(p.TotalLen)])
	if !m.ChecksumOK(p.PseudoSum(len(m))) || p.Addr[0]|p.Addr[1] == 0 || w.mute(f, p) {
		return DropICMP
	}
	w.turn(f, p)
	ip := packet.IPv6(b[p.L3Off:])
	src := ip.SrcWire()
	ip.SetSrcWire(ip.DstWire())
	ip.SetDstWire(src)
	ip.SetHopLimit(ownTTL)
	m.ChangeType(packet.ICMPv6EchoReply)
	return TxEcho
}

// arp answers requests for VIPs with their own MAC address or the port's (RFC 826). Whoever asks will
// send to us next, so what it says of itself is passed on to the kernel's neighbours.
func (w *Worker) arp(f *packet.Frame, p *packet.Parsed) Verdict {
	b := f.Bytes()
	a := packet.ARP(b[p.L3Off:])
	if a.Op() != packet.ARPRequest || !w.snap.VIPs[packet.AddrV4(a.TargetIP())] {
		return DropARP
	}
	mac, own := a.SenderMAC(), w.snap.macOf(packet.AddrV4(a.TargetIP()), f.Port)
	// A probe (RFC 5227) tells nothing of itself, and who claims a VIP is no neighbour to learn.
	if sender := packet.AddrV4(a.SenderIP()); a.SenderIP() != 0 && !w.snap.VIPs[sender] {
		w.learn(heard{HopKey{Port: f.Port, VLAN: p.VLAN & 0xfff, Addr: sender}, mac})
	}
	a.Encode(&packet.ARPFields{
		Op: packet.ARPReply, SenderMAC: own, SenderIP: a.TargetIP(), TargetMAC: mac, TargetIP: a.SenderIP(),
	})
	packet.Ethernet(b).SetDst(mac)
	packet.Ethernet(b).SetSrc(own)
	return TxARP
}

// heard is what somebody on a link said of itself.
type heard struct {
	key HopKey
	mac packet.MAC
}

func (w *Worker) learn(h heard) {
	if h.mac.IsMulticast() {
		return // a group address is nobody's
	}
	id := w.snap.HopIDs[h.key]
	if hop := &w.snap.Hops[id]; hop.State == HopReady && hop.DstMAC() == h.mac {
		return
	}
	w.notify(Notice{Kind: NoticeLearn, Hop: h.key, MAC: h.mac})
}

// solicitation answers a neighbour solicitation for a VIP (RFC 4861 section 7.2.4). To a
// probe for duplicate addresses (source ::) the answer goes to all nodes, unsolicited.
func (w *Worker) solicitation(f *packet.Frame, p *packet.Parsed) Verdict {
	b := f.Bytes()
	m := b[p.L4Off : int(p.L3Off)+int(p.TotalLen)]
	nd := packet.NDP(m)
	if p.TTL != packet.NDPHopLimit || !nd.Valid() || !packet.ICMPv6(m).ChecksumOK(p.PseudoSum(len(m))) ||
		p.Flags&packet.FlagOptions != 0 || !w.snap.VIPs[packet.AddrV6(nd.Target())] {
		return DropICMP
	}
	own := w.snap.macOf(packet.AddrV6(nd.Target()), f.Port)
	answer := packet.NDPFields{
		Type: packet.ICMPv6NeighborAdvert, Flags: packet.NDPSolicited | packet.NDPOverride,
		Target: nd.Target(), Option: packet.NDPOptTargetMAC, MAC: own,
	}
	to := packet.IPv6Fields{
		NextHeader: packet.ProtoICMPv6, HopLimit: packet.NDPHopLimit, PayloadLen: uint16(answer.Len()),
		Src: answer.Target, Dst: [2]uint64{p.Addr[0], p.Addr[1]},
	}
	mac, known := nd.OptionMAC(packet.NDPOptSourceMAC)
	switch {
	case to.Dst == [2]uint64{}:
		answer.Flags, to.Dst, mac = packet.NDPOverride, allNodes, packet.MAC{0x33, 0x33, 0, 0, 0, 1}
	case known:
		w.learn(heard{HopKey{Port: f.Port, VLAN: p.VLAN & 0xfff, Addr: p.Src()}, mac})
	default:
		mac = packet.Ethernet(b).Src()
	}
	if !f.Resize(int(p.L4Off) + answer.Len()) {
		return DropHeadroom
	}
	b = f.Bytes()
	packet.Ethernet(b).SetDst(mac)
	packet.Ethernet(b).SetSrc(own)
	packet.IPv6(b[p.L3Off:]).Encode(&to)
	m = b[p.L4Off:]
	packet.NDP(m).Encode(&answer)
	packet.ICMPv6(m).UpdateChecksum(pseudo6(&to))
	return TxND
}

// allNodes is ff02::1 in wire words.
var allNodes = [2]uint64{0x02ff, 1 << 56}

func pseudo6(h *packet.IPv6Fields) uint32 {
	addr := [4]uint64{h.Src[0], h.Src[1], h.Dst[0], h.Dst[1]}
	return packet.PseudoV6(&addr, h.NextHeader, int(h.PayloadLen))
}
