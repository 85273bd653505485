package gossip

import (
	"encoding/binary"
	"math/bits"
	"time"

	"ulvs/conntrack"
)

// peer is a director that is there.
type peer struct {
	id    NodeID
	epoch Epoch
	since time.Duration

	// what it sends
	lanes    []recvLane
	term     uint8 // that it claims, 0: none
	complete bool  // it lacks nothing, it says
	sessions uint32
	heard    time.Duration // when it sent what we heard last, by our clock
	offset   time.Duration // our clock less its, as little as it ever was
	offsetAt time.Duration
	metAt    uint64 // when it met us, by its clock: another time means that it held us for dead meanwhile

	// what it has of ours
	acks     []ack
	repaired uint64 // datagrams that it missed and got again
	got      uint64 // records

	// its sessions here
	want    bool          // not all of them are here: a snapshot is needed
	synced  time.Duration // when the last one was complete
	getting getting
	serving serving

	// digests
	leavesDue [slotWords]uint64  // slots whose leaves it has to see
	offer     *conntrack.LeafSet // leaves whose records it has to see; nil: none
	offering  *conntrack.LeafSet // of them, those that the walk under way looks for
	differing int                // leaves, in the last round
	settled   int                // of them, that did not change meanwhile
	open      int                // settled, in the round before
	rounds    int                // compared from end to end since digests were last equal, or since it came
	compared  time.Duration
	matched   time.Duration // when the digests were last equal
	hasMatch  bool
	rootID    uint64 // the peer's walk, and which parts of its root were equal
	rootSame  uint8
}

// recvLane is what came of a lane of a peer's.
type recvLane struct {
	started  bool
	early    bool   // it began before the snapshot that tells where it should have: nothing is acknowledged yet
	first    uint64 // then: where it began
	next     uint64 // all below came, or were given up
	high     uint64 // one above the highest that came or is said to exist
	have     [recvWindow / 64]uint64
	base     uint64 // of the sender's clock, when it sent what came last
	gapSince time.Duration
	ackAt    time.Duration
	due      bool // something came since the last ack
	asked    bool // the sender waits for one
}

// recvWindow is how far ahead of a gap the lane goes on: as much as the sender can send again.
const recvWindow = 2 * resendRing

// datagram takes one from the session lane.
func (c *Core) datagram(from NodeID, b []byte) {
	p := c.peer(from)
	if p == nil {
		return // memberlist has not told us of it yet, or not any more
	}
	h, body, ok := parseHead(b)
	if ok {
		c.hear(p, &h)
		ok = c.handle(p, &h, body)
	}
	if !ok {
		c.stats.Refused++
		c.act(Action{Kind: ActionReject, Peer: from})
	}
}

// hear notes when a peer sent a datagram: what waited in a socket while this director was stopped is old. The clocks
// differ by less than the quickest datagram says, and may drift by a thousandth.
func (c *Core) hear(p *peer, h *laneHead) {
	if h.kind != typeDelta && h.kind != typeStatus {
		return // it says nothing of its clock; acknowledgements echo ours
	}
	offset := c.now - time.Duration(h.base)*time.Microsecond
	if drifted := p.offset + (c.now-p.offsetAt)/1000; p.offsetAt == 0 || offset < drifted {
		p.offset, p.offsetAt = offset, max(c.now, 1)
	}
	p.heard = max(p.heard, p.when(h, c.now))
}

func (c *Core) handle(p *peer, h *laneHead, body []byte) bool {
	switch h.kind {
	case typeDelta:
		return c.onDelta(p, h, body)
	case typeStatus:
		return c.onStatus(p, h, body)
	case typeAck:
		return c.onAck(p, h, body)
	case typeRoot:
		return c.onRoot(p, h, body)
	case typeLeaves:
		return c.onLeaves(p, h, body)
	case typeWant:
		return c.onWant(p, h, body)
	case typeList:
		return c.onList(p, h, body)
	case typeAsk:
		return c.onAsk(p, h, body)
	}
	return false
}

// lane returns a lane of a peer's, nil if there cannot be so many.
func (p *peer) lane(i uint8) *recvLane {
	if i > lanesMax {
		return nil
	}
	for len(p.lanes) <= int(i) {
		p.lanes = append(p.lanes, recvLane{})
	}
	return &p.lanes[i]
}

// lanesMax is the highest number of a lane: a status with all of them fits a datagram.
const lanesMax = (maxPayload-laneHeader)/16 - 1

// start begins a lane with what came of it first; early while a snapshot is on its way.
func (l *recvLane) start(at uint64, early bool) {
	if !l.started {
		*l = recvLane{started: true, early: early, first: at, next: at, high: at}
	}
}

// begin says where a lane has to begin: what is in the snapshot was sent before.
func (c *Core) begin(p *peer, l *recvLane, at uint64) {
	l.start(at, false)
	if !l.early {
		return
	}
	l.early = false
	if at >= l.first {
		return
	}
	if l.high-at > recvWindow { // digests will tell
		p.doubt()
		return
	}
	for seq := l.first; seq < l.next; seq++ {
		l.have[seq/64%uint64(len(l.have))] |= 1 << (seq % 64)
	}
	l.next = at
}

func (l *recvLane) seen(seq uint64) bool {
	return l.have[seq/64%uint64(len(l.have))]>>(seq%64)&1 != 0
}

// onDelta applies the records of a datagram, whatever its turn: their versions tell what is newer.
func (c *Core) onDelta(p *peer, h *laneHead, body []byte) bool {
	l := p.lane(h.lane)
	if l == nil || h.seq == 0 || h.tail > h.seq {
		return false
	}
	l.start(h.seq, p.want)
	if h.seq < l.next || h.seq < l.high && l.seen(h.seq) {
		c.stats.Duplicates++
		return true
	}
	if !c.parse(body, int(h.count)) { // all or nothing
		return false
	}
	c.applyAll(p)
	c.stats.GotDatagrams++
	p.got += uint64(h.count)
	c.arrive(p, l, h)
	return true
}

// parse reads count records, which have to be all of b, into c.got.
func (c *Core) parse(b []byte, count int) bool {
	if count > len(b)/record4 {
		return false
	}
	if cap(c.got) < count {
		c.got, c.standby = make([]conntrack.Record, count), make([]bool, count)
	}
	c.got, c.standby = c.got[:count], c.standby[:count]
	for i := range c.got {
		n, standby := parseRecord(b, &c.got[i])
		if n == 0 {
			return false
		}
		c.standby[i] = standby
		b = b[n:]
	}
	return len(b) == 0
}

// warmed is how many records are looked for in the table together.
const warmed = 36

// applyAll brings in what was parsed of a peer's.
func (c *Core) applyAll(p *peer) {
	for at := 0; at < len(c.got); at += warmed {
		rs := c.got[at:min(at+warmed, len(c.got))]
		c.opt.Store.Warm(rs)
		for i := range rs {
			if !c.standby[at+i] {
				c.noteOrigin(p, rs[i].Version.Term())
			} else if c.ended(p, &rs[i]) {
				continue
			}
			c.apply(&rs[i])
		}
	}
}

// ended reports whether a record that a peer has from another director is of a session of our own, which ended here:
// the peer did not hear of it, and will see that it is not in our list. That can be told since all that the peer had
// when we began is here. Where there are more than two directors, a peer that has it all the same after some rounds
// knows of another one that claimed our term, on the other side of a split: then the session is that one's.
func (c *Core) ended(p *peer, r *conntrack.Record) bool {
	if r.Version.Term() != c.term || !c.met[p.id] || c.opt.Store.Known(&r.Key) {
		return false
	}
	if len(c.met) < 2 {
		return true
	}
	key := c.opt.Digest.Hash(&r.Key)
	first, again := c.refused[key]
	switch {
	case !again && len(c.refused) >= refusedMax:
		clear(c.refused)
		fallthrough
	case !again:
		c.refused[key] = c.now
	case c.now-first > refuseFor:
		delete(c.refused, key)
		return false
	}
	return true
}

const (
	refuseFor  = 12 * time.Second // two rounds of digests, and a while
	refusedMax = 1 << 14
)

// several is nobody's id: more than one director claimed a term, on two sides of a split.
const several NodeID = 1<<64 - 1

// noteOrigin notes whose a term is.
func (c *Core) noteOrigin(p *peer, term uint8) {
	switch o := &c.origins[term]; {
	case *o == p.id:
	case *o == 0:
		*o = p.id
	default:
		*o = several
	}
}

func (c *Core) apply(r *conntrack.Record) {
	c.stats.GotRecords++
	c.walk.touch(c.opt.Digest.Leaf(&r.Key))
	c.opt.Store.Apply(r)
}

// arrive notes that a datagram came.
func (c *Core) arrive(p *peer, l *recvLane, h *laneHead) {
	c.giveUp(p, l, h.tail)
	c.extend(p, l, h.seq+1)
	l.have[h.seq/64%uint64(len(l.have))] |= 1 << (h.seq % 64)
	l.base, l.due = max(l.base, h.base), true
	l.proceed()
}

// proceed moves the lane over all that came in a row.
func (l *recvLane) proceed() {
	was := l.next
	for l.next < l.high && l.seen(l.next) {
		l.have[l.next/64%uint64(len(l.have))] &^= 1 << (l.next % 64)
		l.next++
	}
	if l.next != was {
		l.gapSince = 0
	}
}

// extend notes that all below high exist.
func (c *Core) extend(p *peer, l *recvLane, high uint64) {
	if high <= l.high {
		return
	}
	if high-l.next > recvWindow {
		c.giveUp(p, l, high-recvWindow)
	}
	l.high = max(l.high, high)
}

// giveUp goes on after datagrams that cannot be had any more. Digests find what was in them.
func (c *Core) giveUp(p *peer, l *recvLane, tail uint64) {
	lost := uint64(0)
	for l.next < min(tail, l.high) {
		if !l.seen(l.next) {
			lost++
		}
		l.have[l.next/64%uint64(len(l.have))] &^= 1 << (l.next % 64)
		l.next++
	}
	if l.next < tail {
		lost += tail - l.next
		l.next, l.high = tail, max(tail, l.high)
	}
	l.proceed()
	if lost > 0 {
		c.stats.Lost += lost
		c.walk.urgent = true
		p.doubt()
		c.act(Action{Kind: ActionLost, Peer: p.id, Count: lost})
	}
}

// onStatus learns how far a peer's lanes are.
func (c *Core) onStatus(p *peer, h *laneHead, body []byte) bool {
	if len(body) != 16*int(h.count) || int(h.count) > lanesMax+1 {
		return false
	}
	for i := range h.count {
		next, tail := binary.BigEndian.Uint64(body[16*i:]), binary.BigEndian.Uint64(body[16*i+8:])
		if tail > next || tail == 0 {
			return false
		}
		l := p.lane(i)
		l.start(next, p.want)
		l.asked = l.asked || h.flags&flagAsk != 0
		if l.next < tail {
			c.giveUp(p, l, tail)
		}
		c.extend(p, l, next)
		if l.base < h.base && l.next == l.high {
			l.base = h.base
		}
	}
	p.sessions, p.complete = h.sessions, h.flags&flagComplete != 0
	term := uint8(0)
	if h.flags&flagOwner != 0 {
		term = h.lane
		c.noteOrigin(p, term)
	}
	if p.term != term {
		p.term = term
		c.compareAnew(p)
	}
	return true
}

// ackPeer tells a peer what came of its lanes, and what did not.
func (c *Core) ackPeer(p *peer) {
	for i := range p.lanes {
		l := &p.lanes[i]
		if !l.started || l.early {
			continue
		}
		behind := l.next < l.high
		if behind && l.gapSince == 0 {
			l.gapSince = c.now
		}
		since := c.now - l.ackAt
		switch {
		case l.ackAt == 0, since >= ackIdle:
		case behind && since >= ackGap && (c.now-l.gapSince >= gapPatience || l.high-l.next > 64):
		case l.asked && since >= ackGap:
		case l.due && since >= ackEvery:
		default:
			continue
		}
		c.sendAck(p, uint8(i), l)
	}
}

func (c *Core) sendAck(p *peer, lane uint8, l *recvLane) {
	l.ackAt, l.due, l.asked = max(c.now, 1), false, false
	h := laneHead{kind: typeAck, lane: lane, seq: l.next, base: l.base, sessions: p.epoch.Tag()}
	b := c.buffer()
	for seq := l.next; seq < l.high && int(h.count) < min(gapsMax, 255); {
		if w := l.have[seq/64%uint64(len(l.have))] >> (seq % 64); w&1 != 0 {
			seq += uint64(bits.TrailingZeros64(^w))
			continue
		}
		g := gap{from: seq}
		for seq < l.high && !l.seen(seq) && g.n < 1<<15 {
			seq++
			g.n++
		}
		b = appendGap(b, l.next, g)
		h.count++
		c.stats.Missed += uint64(g.n)
	}
	h.put(b)
	c.send(p.id, b)
}

// doubt forgets that digests were equal: something may be missing.
func (p *peer) doubt() { p.hasMatch, p.compared, p.rounds = false, 0, 0 }

// agrees reports whether digests were equal, or differed for a whole round in nothing but what was changing: of a
// comparison under way nothing is known.
func (p *peer) agrees() bool { return p.hasMatch || p.rounds > 0 && p.open == 0 && p.settled == 0 }

// behind reports whether something of a peer's is known to be missing.
func (p *peer) behind() bool {
	for i := range p.lanes {
		if l := &p.lanes[i]; l.next < l.high {
			return true
		}
	}
	return false
}
