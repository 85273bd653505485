package dataplane

import (
	"slices"
	"sync"

	"ulvs/conntrack"
	"ulvs/packet"
)

// Limits of reassembly, as the kernel has them: ipfrag_high_thresh is 4 MiB, ipfrag_time 30 s.
const (
	reassemblySlots = 64
	reassemblyTicks = 30 * conntrack.TicksPerSecond
	// reassemblyMax is the largest IP payload that is put together, in bytes: with headers in front it
	// must fit the 16 bits of a frame's length, an outer header included.
	reassemblyMax = 65280
	// reassemblyHead is where the payload begins: room for our L2 and outer headers and the datagram's
	// own IP header in front of it.
	reassemblyHead = 512
)

// Reassembly puts fragmented datagrams together, for all workers: fragments of one datagram
// may arrive at different queues. It is off the hot path, so a mutex guards it; fragments
// are copied in, since a worker's frames are its own.
type Reassembly struct {
	mu    sync.Mutex
	slots [reassemblySlots]*datagram
	stats ReassemblyStats
}

// ReassemblyStats count datagrams.
type ReassemblyStats struct {
	Whole   uint64 // put together
	Expired uint64 // given up: fragments missing after 30 s
	Evicted uint64 // given up: too many datagrams at once
	Overlap uint64 // given up: fragments contradict each other
}

// maxEdges is how many fragments of a datagram keep their sizes on the way out; more are cut anew.
const maxEdges = 128

// datagram is one that is being put together.
type datagram struct {
	key    fragmentKey
	until  conntrack.Tick
	busy   bool // a worker is forwarding it
	total  int  // bytes of payload; -1 until the last fragment came
	have   int
	end    int  // the highest byte that came
	first  bool // the first fragment came: head is valid
	head   [128]byte
	nHead  int // L2 and IP header of the first fragment
	l3Off  int
	port   uint8
	edges  [maxEdges]uint16 // where the fragments end, unsorted until whole
	nEdges int              // more than maxEdges: too many to keep
	limit  uint16           // largest fragment, as an IP packet
	filled [reassemblyMax/8/64 + 1]uint64
	buf    [reassemblyHead + reassemblyMax]byte
}

type fragmentKey struct {
	addr  [4]uint64
	id    uint32
	proto uint8
	v6    bool
}

// NewReassembly makes an empty one. Memory for a datagram is made when first needed and kept.
func NewReassembly() *Reassembly { return &Reassembly{} }

// Stats returns the counts.
func (r *Reassembly) Stats() ReassemblyStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// add copies a fragment in. It returns the datagram when that made it whole; the caller then
// owns it until done.
func (r *Reassembly) add(f *packet.Frame, p *packet.Parsed, now conntrack.Tick) (d *datagram, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d = r.find(p, now)
	if d == nil || !d.put(f, p) {
		if d != nil {
			r.stats.Overlap++
			d.until = 0
		}
		return nil, false
	}
	if !d.first || d.total < 0 || d.have < d.total {
		return nil, true
	}
	r.stats.Whole++
	d.busy = true
	return d, true
}

// done gives a datagram back.
func (r *Reassembly) done(d *datagram) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.busy, d.until = false, 0
}

// keep gives a datagram back that is whole but cannot go yet.
func (r *Reassembly) keep(d *datagram) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.busy = false
	r.stats.Whole--
}

// find returns the fragment's datagram, a new one if need be, the oldest's place if there is no
// room; nil if all are being forwarded.
func (r *Reassembly) find(p *packet.Parsed, now conntrack.Tick) *datagram {
	key := fragmentKey{p.Addr, p.FragID, p.Proto, p.V6()}
	if p.V6() {
		key.proto = 0 // extension headers may hide it in the first fragment
	}
	spare := -1
	for i, d := range r.slots {
		switch {
		case d == nil:
			d = &datagram{}
			r.slots[i] = d
			spare = i
		case d.busy:
			continue
		case d.until != 0 && d.until <= now:
			r.stats.Expired++
			d.until = 0
		case d.until != 0 && d.key == key:
			return d
		}
		if spare < 0 || d.until < r.slots[spare].until {
			spare = i
		}
		if r.slots[spare].until == 0 && i+1 < len(r.slots) && r.slots[i+1] == nil {
			break // nobody was ever further on
		}
	}
	if spare < 0 {
		return nil
	}
	d := r.slots[spare]
	if d.until != 0 {
		r.stats.Evicted++
	}
	d.reset(key, now)
	return d
}

func (d *datagram) reset(key fragmentKey, now conntrack.Tick) {
	d.key, d.until, d.total, d.have, d.end, d.first, d.limit, d.nEdges = key, now+reassemblyTicks, -1, 0, 0, false, 0, 0
	d.filled = [len(d.filled)]uint64{}
}

// put copies a fragment's payload to its place; false when it contradicts what is there: RFC 5722
// and the kernel give the whole datagram up then, an exact repetition aside.
func (d *datagram) put(f *packet.Frame, p *packet.Parsed) bool {
	b := f.Bytes()
	start, more := fragmentPayload(b, p)
	part := b[start : int(p.L3Off)+int(p.TotalLen)]
	if more {
		part = part[:len(part)&^7] // as ip_frag_queue does
	}
	off, last := int(p.FragOff), int(p.FragOff)+len(part)
	if last > reassemblyMax || len(part) == 0 {
		return false
	}
	if !more {
		if d.total >= 0 && d.total != last {
			return false
		}
		d.total = last
	}
	if d.end = max(d.end, last); d.total >= 0 && d.end > d.total {
		return false
	}
	switch taken := d.mark(off, last); {
	case taken == (last-off+7)/8:
		return true // a repetition
	case taken > 0:
		return false
	}
	copy(d.buf[reassemblyHead+off:], part)
	d.have += len(part)
	d.limit = max(d.limit, p.TotalLen)
	if d.nEdges < maxEdges {
		d.edges[d.nEdges] = uint16(last)
	}
	d.nEdges++
	if off == 0 {
		d.keepHead(b[:start], f, p)
	}
	return true
}

// mark notes the eights of bytes from off to last as filled and returns how many were.
func (d *datagram) mark(off, last int) (taken int) {
	for u := off / 8; u < (last+7)/8; u++ {
		word, bit := u/64, uint64(1)<<(u%64)
		if d.filled[word]&bit != 0 {
			taken++
		}
		d.filled[word] |= bit
	}
	return taken
}

// keepHead keeps the headers in front of the payload. IPv6's fragment header goes.
func (d *datagram) keepHead(head []byte, f *packet.Frame, p *packet.Parsed) {
	next := uint8(0)
	if p.V6() {
		next = packet.IPv6Fragment(head[len(head)-packet.FragmentLen:]).NextHeader()
		head = head[:len(head)-packet.FragmentLen]
	}
	d.first = true
	d.nHead = copy(d.head[:], head)
	d.l3Off, d.port = int(p.L3Off), f.Port
	if p.V6() {
		packet.IPv6(d.head[d.l3Off:]).SetNextHeader(next)
	}
}

// fragmentPayload returns where a fragment's payload begins in the frame, and whether more follow.
func fragmentPayload(b []byte, p *packet.Parsed) (start int, more bool) {
	l3 := int(p.L3Off)
	if !p.V6() {
		h := packet.IPv4(b[l3:])
		return l3 + h.HeaderLen(), h.MF()
	}
	h := packet.IPv6Fragment(b[l3+packet.IPv6Len:])
	return l3 + packet.IPv6Len + packet.FragmentLen, h.More()
}

// frame makes the datagram one unfragmented packet.
func (d *datagram) frame() packet.Frame {
	start := reassemblyHead - d.nHead
	copy(d.buf[start:], d.head[:d.nHead])
	ip := d.buf[start+d.l3Off : reassemblyHead+d.total]
	if d.key.v6 {
		packet.IPv6(ip).SetPayloadLen(uint16(len(ip) - packet.IPv6Len))
	} else {
		h := packet.IPv4(ip)
		h.SetTotalLen(uint16(len(ip)))
		h.SetFragment(0, false)
		h.UpdateChecksum()
	}
	return packet.Frame{Buf: d.buf[:], Off: uint16(start), Len: uint16(d.nHead + d.total), Port: d.port}
}

// gather keeps a fragment until its datagram is whole. That is forwarded as one packet and cut
// again on its way out, as the kernel does (ip_vs_gather_frags); the last fragment to come gets
// its verdict.
func (w *Worker) gather(f *packet.Frame, p *packet.Parsed) Verdict {
	b := f.Bytes()
	if w.gathering == nil || p.V6() && packet.IPv6(b[p.L3Off:]).NextHeader() != packet.ProtoFragment {
		return DropFragment
	}
	d, ok := w.gathering.add(f, p, w.now)
	switch {
	case !ok:
		return DropFragment
	case d == nil:
		return Gathered
	}
	v := w.forwardWhole(d)
	if v == hold {
		w.gathering.keep(d) // the last fragment is held, and finds the others when it is tried again
		return hold
	}
	w.gathering.done(d)
	return v
}

// atomic takes the fragment header out of a packet that is whole, as putting it together does.
func (w *Worker) atomic(f *packet.Frame, p *packet.Parsed) Verdict {
	const n = packet.FragmentLen
	b := f.Bytes()
	first := int(p.L3Off) + packet.IPv6Len
	x, err := packet.WalkExtensions(b[first:], packet.IPv6(b[p.L3Off:]).NextHeader())
	if err != 0 || x.Atomic == 0 {
		return DropInternal // it was parsed like that
	}
	at, before := first, int(p.L3Off)+ip6NextHeader // the header, and the byte that announces it
	for end := first + x.Atomic - 1; at < end; {
		next := packet.ExtHeader(b[at:])
		proto := b[before]
		before, at = at, at+next.Len(proto)
	}
	b[before] = packet.IPv6Fragment(b[at:]).NextHeader()
	ip := packet.IPv6(b[p.L3Off:])
	ip.SetPayloadLen(ip.PayloadLen() - n)
	copy(b[n:at+n], b[:at])
	f.TrimFront(n)
	if err := packet.Parse(f.Bytes(), &w.whole); err != 0 {
		return ParseVerdict(err)
	}
	return w.again(f, &w.whole)
}

// again decides about a packet that is another one now.
func (w *Worker) again(f *packet.Frame, p *packet.Parsed) Verdict {
	if p.Kind != packet.KindFlow {
		return w.other(f, p)
	}
	key := flowKey(p)
	return w.flow(f, p, w.conns.FindKey(&key))
}

// ip6NextHeader is the offset of that field in the fixed header.
const ip6NextHeader = 6

func (w *Worker) forwardWhole(d *datagram) Verdict {
	f, p := d.frame(), &w.whole
	if err := packet.Parse(f.Bytes(), p); err != 0 {
		return ParseVerdict(err)
	}
	w.atLimit, w.nEdges = d.limit, 0
	if d.nEdges <= maxEdges {
		w.nEdges = copy(w.edges[:], d.edges[:d.nEdges])
		slices.Sort(w.edges[:w.nEdges])
	}
	defer func() { w.atLimit, w.nEdges = 0, 0 }()
	v := w.again(&f, p)
	switch {
	case v == hold:
		return hold
	case v == TxEcho || v == TxICMPError || v == TxReset: // a packet of our own knows no fragments
		w.atLimit, w.nEdges = 0, 0
		return w.cut(&f, v, w.snap.Ports[f.Port].MTU)
	case v&inPieces == 0:
		return w.cut(&f, v, w.snap.Ports[f.Port].MTU)
	}
	return v
}
