package dataplane

import (
	"net/netip"
	"slices"

	"ulvs/conntrack"
	"ulvs/packet"
)

// StackLink joins a worker with the TCP/IP stack of our own (package userstack), which speaks for us where answers
// need state: health checks down the real path, and services that end on this host. Packets are IP packets without an
// Ethernet header. Neither side ever waits for the other.
type StackLink struct {
	FromStack *PacketRing // the worker reads, once per batch
	ToStack   *PacketRing // the worker writes; the address is the local server's, none for a probe's answer
	Probes    *Probes     // shared by all workers
	Wake      func()      // called when ToStack has packets, once per batch; must not block
}

// NewStackLink makes the link of one worker.
func NewStackLink(probes *Probes, wake func()) *StackLink {
	return &StackLink{newPacketRing(), newPacketRing(), probes, wake}
}

// serveStack is the stack's share of a batch. It returns how many packets it sent for it.
func (w *Worker) serveStack() (n int) {
	if w.stack.FromStack.Len() > 0 {
		n = w.fromStack()
	}
	if w.handed {
		w.handed = false
		w.stack.Wake()
	}
	return n
}

// fromStack sends what the stack has to say, at most a batch. Without frames of the queue to put them in the
// packets wait.
func (w *Worker) fromStack() int {
	packets := w.stack.FromStack.Peek(BatchSize)
	n := w.queue.Alloc(w.rx[:len(packets)])
	for i := range n {
		frameOf(&w.rx[i], packets[i].Bytes())
	}
	w.stack.FromStack.Release(n)
	w.stats.own += uint64(n)
	w.ownFrames(w.rx[:n])
	return n
}

// frameOf makes f a frame of the IP packet b, with an Ethernet header that says what it is and no more. A packet that
// does not fit leaves it empty, which Parse refuses.
func frameOf(f *packet.Frame, b []byte) {
	if len(b) == 0 || !f.Resize(packet.EthernetLen+len(b)) {
		return
	}
	e := packet.Ethernet(f.Bytes())
	clear(e[:packet.EthernetLen])
	e.SetEtherType(packet.EtherTypeIPv4)
	if b[0]>>4 == 6 {
		e.SetEtherType(packet.EtherTypeIPv6)
	}
	copy(e.Payload(), b)
}

func (w *Worker) ownFrames(frames []packet.Frame) {
	for i := range frames {
		w.verdicts[i] = w.own(&frames[i])
	}
	w.ownBatch = true
	w.dispose(frames)
	w.ownBatch = false
}

// own decides about a packet of the stack's: a probe goes to its real server, anything else to a client.
func (w *Worker) own(f *packet.Frame) Verdict {
	p := &w.whole
	if err := packet.Parse(f.Bytes(), p); err != 0 {
		return ParseVerdict(err)
	}
	if p.Kind == packet.KindFlow && p.Flags&packet.FlagFragment == 0 {
		if probe := w.stack.Probes.sent(p); probe != nil {
			return w.sendProbe(f, p, probe)
		}
	}
	return w.sendLocal(f, p)
}

// sendLocal sends a packet of a local server to its client, as the session's reply. Later fragments have no session:
// they follow the route.
func (w *Worker) sendLocal(f *packet.Frame, p *packet.Parsed) Verdict {
	var e *conntrack.Entry
	if p.Kind == packet.KindFlow {
		key := swapped(p)
		ref := w.conns.FindKey(&key)
		if ref == 0 || ref.Reply() {
			return DropNotOurs // a session that is gone, or a probe that was given up
		}
		if e = w.table.Entry(ref); !e.Live() || e.Expired(w.now) {
			return DropNotOurs
		}
	}
	hop, v := w.hopTo(p)
	switch {
	case hop == nil:
		return v
	case p.TotalLen > hop.MTU:
		return DropTooBig
	case !setL2(f, ipSpan(p), hop, etherType(p)):
		return DropHeadroom
	}
	if e != nil {
		m := e.Meta()
		e.ClearFlags(conntrack.FlagNoOutput)
		w.track(f, p, session{e: e, meta: m}, conntrack.Output)
		w.stats.out(e.Dest(), p.TotalLen)
	}
	return TxLocal
}

// toLocal hands a session's packet to the stack, which brings it to the server on this host.
func (w *Worker) toLocal(f *packet.Frame, p *packet.Parsed, s session) Verdict {
	if w.stack == nil {
		return DropNoRoute
	}
	id := s.e.Dest()
	if s.meta.Counting() {
		s.e.CountPacket()
	}
	w.track(f, p, s, inputDir(s.meta.Flags()))
	w.stats.in(id, p.TotalLen)
	to := netip.AddrPortFrom(w.snap.Dests[id].addr(), packet.WirePort(s.e.DestPort()))
	return w.hand(ipPacket(f, p), to, Local)
}

// ipPacket is the frame's IP packet, as it was received.
func ipPacket(f *packet.Frame, p *packet.Parsed) []byte {
	return f.Bytes()[p.L3Off : int(p.L3Off)+int(p.TotalLen)]
}

// hand gives an IP packet to the stack; v is the verdict if there is room.
func (w *Worker) hand(b []byte, to netip.AddrPort, v Verdict) Verdict {
	if !w.stack.ToStack.Push(b, to) {
		return DropStackFull
	}
	w.handed = true
	return v
}

// addr is the real server's address.
func (d *Dest) addr() netip.Addr {
	if d.V6 {
		return packet.AddrV6(d.Addr)
	}
	return packet.AddrV4(uint32(d.Addr[0]))
}

// OnThisHost reports whether a real server with this address is served by our own stack: it is a loopback address, or
// one of locals, the host's own.
func OnThisHost(a netip.Addr, locals []netip.Addr) bool {
	return a.IsLoopback() || slices.Contains(locals, a)
}
