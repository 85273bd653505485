package gossip

import (
	"encoding/binary"
	"time"

	"ulvs/conntrack"
)

const (
	// resendRing is how many datagrams of a lane can be sent again: half a second at 500 000 records a second.
	resendRing  = 8192
	resendBlock = 64 // of them are allocated at once, when they are first needed

	// resendMax bounds what one complaint gets at once; the rest is complained about again. What was sent again
	// is not sent once more for resendPause, or up to four times that where the peer lags: it may wait in its queue.
	resendMax   = 1024
	resendPause = 10 * time.Millisecond

	// inFlight is how many datagrams of a lane may be unacknowledged by a peer that answers: what a socket's buffer
	// holds. Then the workers' logs wait.
	inFlight = 2048
	silent   = 500 * time.Millisecond // a peer that does not acknowledge for so long is not waited for
)

// sendLane is what one worker tells: a numbered series of datagrams.
type sendLane struct {
	next, tail uint64 // seq of the next datagram, and of the oldest that can be sent again
	ring       [resendRing / resendBlock][][]byte
	open       []byte // being filled; the ring's at next
	count      int
	since      time.Duration // when its first record came
	again      [resendRing]time.Duration
}

// slot is the memory of a datagram in the ring.
func (l *sendLane) slot(seq uint64) *[]byte {
	at := seq % resendRing
	block := &l.ring[at/resendBlock]
	if *block == nil {
		*block = make([][]byte, resendBlock)
		memory := make([]byte, resendBlock*maxPayload)
		for i := range *block {
			(*block)[i] = memory[i*maxPayload : i*maxPayload : (i+1)*maxPayload]
		}
	}
	return &(*block)[at%resendBlock]
}

// tell puts records of a worker into datagrams. Without a peer nobody hears them: who comes gets a snapshot.
func (c *Core) tell(lane int, records []conntrack.Record) {
	c.opt.Store.Gone(records)
	if len(c.peers) == 0 || lane >= len(c.lanes) {
		return
	}
	l := &c.lanes[lane]
	for i := range records {
		r := &records[i]
		if r.Op == 0 || r.Version == 0 {
			continue
		}
		c.walk.touch(c.opt.Digest.Leaf(&r.Key))
		if l.count > 0 && len(l.open)+sizeOf(r) > c.opt.Payload {
			c.flush(lane)
		}
		if l.count == 0 {
			l.open, l.since = (*l.slot(l.next))[:laneHeader], c.now
		}
		l.open = appendRecord(l.open, r, false)
		l.count++
	}
	c.stats.SentRecords += uint64(len(records))
}

// flush sends what a lane has.
func (c *Core) flush(lane int) {
	l := &c.lanes[lane]
	if l.next-l.tail >= resendRing {
		l.tail = l.next - resendRing + 1
	}
	h := laneHead{kind: typeDelta, lane: uint8(lane), count: uint8(l.count), seq: l.next, tail: l.tail, base: c.micros()}
	h.put(l.open)
	*l.slot(l.next) = l.open
	l.again[l.next%resendRing] = 0
	l.next++
	l.count = 0
	c.stats.SentDatagrams++
	c.act(Action{Kind: ActionDatagram, Data: l.open})
	c.statusDue = min(c.statusDue, c.now+statusSoon)
}

// Flush sends what waits for more, at time now: for a handover. Then Drained tells when all peers have it.
func (c *Core) Flush(now time.Duration) []Action {
	c.now, c.acts, c.used = max(now, c.now), c.acts[:0], 0
	for i := range c.lanes {
		if c.lanes[i].count > 0 && len(c.peers) > 0 {
			c.flush(i)
		}
	}
	c.statusDue = c.now
	return c.acts
}

// Congested reports whether a peer that answers has so much of a lane still to acknowledge that its records should
// wait in the worker's log.
func (c *Core) Congested(lane int) bool {
	for _, p := range c.peers {
		if lane < len(p.acks) && c.now-p.acks[lane].at < silent && c.lanes[lane].next-p.acks[lane].seq > inFlight {
			return true
		}
	}
	return false
}

// Drained reports whether all peers have everything that was sent.
func (c *Core) Drained() bool {
	for _, p := range c.peers {
		for i := range c.lanes {
			if l := &c.lanes[i]; l.count > 0 || p.acked(i) < l.next {
				return false
			}
		}
	}
	return true
}

// waits reports whether a peer has not acknowledged all that it was sent, and may yet do so.
func (c *Core) waits() bool {
	for _, p := range c.peers {
		for i := range c.lanes {
			if age, any := c.unacked(p, i); any && age < silent {
				return true
			}
		}
	}
	return false
}

// unacked is the age of the oldest datagram of a lane that a peer has not acknowledged; any is false if there is none,
// or if the peer acknowledges nothing yet: its snapshot is on the way.
func (c *Core) unacked(p *peer, lane int) (age time.Duration, any bool) {
	l := &c.lanes[lane]
	if lane >= len(p.acks) {
		return 0, false
	}
	seq := max(p.acked(lane), l.tail)
	if seq >= l.next {
		return 0, false
	}
	return c.now - time.Duration(binary.BigEndian.Uint64((*l.slot(seq))[20:]))*time.Microsecond, true
}

// Has reports whether a director is there that lacks nothing, as far as it knows: with Drained, it has all
// that we have. Where there are others, who may have told us what they did not tell it, digests have to agree.
func (c *Core) Has(id NodeID) bool {
	p := c.peer(id)
	return p != nil && p.complete && p.metAt != 0 && (len(c.met) < 2 || p.agrees())
}

// sendStatus tells peers how far each lane is, so that they notice when the last datagram was lost.
func (c *Core) sendStatus() {
	c.statusDue = c.now + statusEvery
	waits := c.waits()
	if waits { // this one may be lost, or the answer
		c.statusDue = c.now + 2*statusSoon
	}
	b := c.buffer()
	for i := range c.lanes {
		b = binary.BigEndian.AppendUint64(b, c.lanes[i].next)
		b = binary.BigEndian.AppendUint64(b, c.lanes[i].tail)
	}
	h := laneHead{kind: typeStatus, count: uint8(len(c.lanes)), base: c.micros(), sessions: uint32(c.walk.sessions)}
	h.tail = c.walk.id
	if c.complete() {
		h.flags |= flagComplete
	}
	if waits {
		h.flags |= flagAsk
	}
	if c.term != 0 {
		h.flags |= flagOwner
		h.lane = c.term
	}
	h.put(b)
	c.send(0, b)
}

// ack is what a peer said of a lane of ours.
type ack struct {
	seq  uint64 // all below came
	base uint64 // of our clock, when we sent what it last got
	at   time.Duration
}

// acked is the number below which a peer has all of a lane.
func (p *peer) acked(lane int) uint64 {
	if lane >= len(p.acks) {
		return 0
	}
	return p.acks[lane].seq
}

// onAck sends again what a peer misses.
func (c *Core) onAck(p *peer, h *laneHead, body []byte) bool {
	if int(h.lane) >= len(c.lanes) || len(body) != int(h.count)*gapSize {
		return false
	}
	l := &c.lanes[h.lane]
	if h.seq > l.next || h.sessions != c.opt.Epoch.Tag() {
		return true // of an earlier start of ours
	}
	for len(p.acks) <= int(h.lane) {
		p.acks = append(p.acks, ack{})
	}
	a := &p.acks[h.lane]
	*a = ack{max(a.seq, h.seq), h.base, c.now}
	sent, pause := 0, min(max(resendPause, c.lag(p)/4), 4*resendPause)
	for ; len(body) > 0; body = body[gapSize:] {
		from := h.seq + uint64(binary.BigEndian.Uint32(body))
		for n := range uint64(binary.BigEndian.Uint16(body[4:])) {
			if from+n >= l.next || sent == resendMax {
				break
			}
			at := &l.again[(from+n)%resendRing]
			if from+n < l.tail || *at != 0 && c.now-*at < pause {
				continue
			}
			*at = max(c.now, 1)
			b := *l.slot(from + n)
			binary.BigEndian.PutUint64(b[12:], l.tail)
			c.send(p.id, b)
			sent++
		}
	}
	c.stats.ResentDatagrams += uint64(sent)
	p.repaired += uint64(sent)
	return true
}

// lag is how far a peer is behind: the age of the oldest datagram that it has not acknowledged.
func (c *Core) lag(p *peer) (worst time.Duration) {
	for i := range c.lanes {
		age, _ := c.unacked(p, i)
		worst = max(worst, age)
	}
	return worst
}
