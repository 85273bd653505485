package gossip

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"

	"ulvs/conntrack"
)

// Digests find what numbers and complaints left over. Each director walks its table every 5 s, a piece per
// tick, and sends everybody the sums of its 1024 slots. Who has another sum sends back the sums of that slot's 128
// leaves; who has another sum of a leaf asks for all sessions of it, and sends its own. Newer versions
// win on both sides. A leaf that is told completely also tells which sessions are gone.
const (
	slotWords   = conntrack.DigestSlots / 64
	rootPart    = 128 // slots per datagram
	rootParts   = conntrack.DigestSlots / rootPart
	leavesBurst = 4       // datagrams of leaves per millisecond and peer
	listBurst   = 8       // datagrams of listed leaves per millisecond
	listMax     = 1 << 15 // sessions that are listed per walk
	reapMax     = 1 << 14 // leaves that are looked through for what is gone, per walk
	busyMax     = 512     // leaves per round and peer that are asked for although they change all the time
	wantSize    = 18
)

// walk is the table being summed up.
type walk struct {
	key              conntrack.DigestKey
	digest, building *conntrack.Digest
	slots            [conntrack.DigestSlots]uint64 // of digest
	valid            bool
	id               uint64 // walks finished
	running          bool
	urgent           bool
	at               uint64
	began, ended     time.Duration
	whole, wasWhole  bool // nothing was on its way when this walk, when the last one, began
	count, sessions  int
	touched, before  *conntrack.LeafSet // since this walk began; since the one before

	listed []listed // sessions of leaves that somebody has to see
	order  []uint64 // of them: leaf << 32 | index in listed, sorted
	lists  []list   // datagrams still to be sent
	reaps  map[uint32]*reap
	gone   []conntrack.Key
}

// listed is a session on its way into a list.
type listed struct {
	leaf    uint32
	standby bool
	rec     conntrack.Record
}

// list is a leaf to be told to a peer: the sessions of order[from:up].
type list struct {
	to       NodeID
	leaf     uint32
	from, up int
	begun    bool // a datagram of it is sent already
}

// reap is what a peer has in a leaf, to find what it has no more.
type reap struct {
	from NodeID
	at   time.Duration // when it came
	asOf time.Duration // when the peer began to look, by our clock: it tells nothing of what it told us after that
	keys []uint64
}

func (w *walk) init(k conntrack.DigestKey) {
	w.key = k
	w.touched, w.before = new(conntrack.LeafSet), new(conntrack.LeafSet)
	w.reaps = map[uint32]*reap{}
	w.ended = -digestEvery
}

// touch notes that a leaf is changing: that it differs from a peer's means nothing.
func (w *walk) touch(leaf uint32) { w.touched.Add(leaf) }

func (w *walk) calm(leaf uint32) bool { return !w.touched.Has(leaf) && !w.before.Has(leaf) }

// calmSlot reports whether no leaf of a slot is changing.
func (w *walk) calmSlot(slot int) bool {
	at := slot * conntrack.SlotLeaves / 64
	return w.touched[at]|w.touched[at+1]|w.before[at]|w.before[at+1] == 0
}

// walkOn goes on with the walk, or begins one, or sends what the last one found.
func (c *Core) walkOn(millis int) {
	w := &c.walk
	switch {
	case w.running:
		c.walkPiece(millis)
	case len(w.lists) > 0:
		c.sendLists(millis)
	case c.now-w.began >= digestEvery, w.urgent && c.now-w.ended >= digestSoon:
		w.running, w.urgent, w.at, w.count, w.began = true, false, 0, 0, c.now
		if w.building == nil {
			w.digest, w.building = &conntrack.Digest{Key: w.key}, &conntrack.Digest{Key: w.key}
		}
		w.building.Reset()
		w.whole = c.complete()
		w.listed = w.listed[:0]
		w.touched, w.before = w.before, w.touched
		*w.touched = conntrack.LeafSet{}
		for _, p := range c.peers {
			p.offering, p.offer = p.offer, nil // what is offered later is not wholly in this walk
		}
		c.walkPiece(millis)
	}
}

func (c *Core) walkPiece(millis int) {
	w := &c.walk
	w.at = c.opt.Store.Scan(w.at, millis*scanBudget, func(r *conntrack.Record, own bool) {
		w.count++
		leaf := w.building.Add(r)
		if reap := w.reaps[leaf]; reap != nil && !own && c.isGone(reap, r) {
			w.gone = append(w.gone, r.Key)
		}
		if len(w.listed) < listMax && c.offered(leaf) {
			w.listed = append(w.listed, listed{leaf, !own, *r})
		}
	})
	c.reapGone()
	if w.at == 0 {
		c.walked()
	}
}

// isGone reports whether a peer's session is not among those that the peer has.
func (c *Core) isGone(reap *reap, r *conntrack.Record) bool {
	p := c.peer(reap.from)
	if term := r.Version.Term(); p == nil || len(c.met) > 1 && (p.term != term || c.origins[term] != p.id) {
		return false // it may be another's, who may be away
	}
	return !slices.Contains(reap.keys, c.opt.Digest.Hash(&r.Key))
}

func (c *Core) reapGone() {
	w := &c.walk
	for i := range w.gone {
		since := c.now
		if reap := w.reaps[c.opt.Digest.Leaf(&w.gone[i])]; reap != nil {
			since -= reap.asOf
		}
		if c.opt.Store.Reap(&w.gone[i], conntrack.Ticks(since)+reapSilence) {
			c.stats.Reaped++
			w.urgent = true
		}
	}
	w.gone = w.gone[:0]
}

func (c *Core) offered(leaf uint32) bool {
	for _, p := range c.peers {
		if p.offering != nil && p.offering.Has(leaf) {
			return true
		}
	}
	return false
}

// walked ends a walk: its sums are the ones that hold from now on.
func (c *Core) walked() {
	w := &c.walk
	w.digest, w.building = w.building, w.digest
	w.running, w.valid, w.ended, w.sessions, w.wasWhole = false, true, c.now, w.count, w.whole
	w.id++
	c.stats.Walks++
	for leaf, r := range w.reaps {
		if r.at < w.began { // what came later did not see the whole walk
			delete(w.reaps, leaf)
		}
	}
	for i := range w.slots {
		w.slots[i] = w.digest.Slot(i)
	}
	for _, p := range c.peers {
		if p.compared != 0 {
			p.rounds++
		}
		p.open, p.differing, p.settled = p.settled, 0, 0
	}
	for part := range rootParts {
		b := c.buffer()
		for _, sum := range w.slots[part*rootPart : (part+1)*rootPart] {
			b = binary.BigEndian.AppendUint64(b, sum)
		}
		h := laneHead{kind: typeRoot, lane: uint8(part), count: rootPart, seq: w.id, sessions: uint32(w.sessions)}
		h.flags = w.flags()
		h.put(b)
		c.send(0, b)
	}
	c.planLists()
}

// flags tells whether the digest is of all that there is: others do not compare with half a table.
func (w *walk) flags() uint8 {
	if w.wasWhole {
		return flagComplete
	}
	return 0
}

// planLists sorts what was found for peers by leaf.
func (c *Core) planLists() {
	w := &c.walk
	full := len(w.listed) == listMax
	w.order = w.order[:0]
	for i := range w.listed {
		w.order = append(w.order, uint64(w.listed[i].leaf)<<32|uint64(i))
	}
	slices.Sort(w.order) // not the sessions themselves: they are large
	w.lists = w.lists[:0]
	for _, p := range c.peers {
		if p.offering != nil {
			c.planFor(p, full)
		}
	}
}

func (c *Core) planFor(p *peer, full bool) {
	w := &c.walk
	at := 0
	for i, word := range p.offering {
		for ; word != 0; word &= word - 1 {
			leaf := uint32(i*64 + bits.TrailingZeros64(word))
			for at < len(w.order) && uint32(w.order[at]>>32) < leaf {
				at++
			}
			end := at
			for end < len(w.order) && uint32(w.order[end]>>32) == leaf {
				end++
			}
			if full && end == at { // the next walk's
				p.offers().Add(leaf)
				w.urgent = true
				continue
			}
			w.lists = append(w.lists, list{to: p.id, leaf: leaf, from: at, up: end})
			at = end
		}
	}
	p.offering = nil
}

// sendLists sends some of the leaves that peers have to see, each with all its sessions.
func (c *Core) sendLists(millis int) {
	w := &c.walk
	for range millis * listBurst {
		if len(w.lists) == 0 {
			return
		}
		l := &w.lists[0]
		b := c.buffer()
		n := 0
		for l.from < l.up {
			s := &w.listed[uint32(w.order[l.from])]
			if len(b)+sizeOf(&s.rec) > c.opt.Payload {
				break
			}
			if l.from++; c.opt.Store.Known(&s.rec.Key) { // it may have ended since the walk
				b = appendRecord(b, &s.rec, s.standby)
				n++
			}
		}
		h := laneHead{kind: typeList, count: uint8(n), seq: uint64(l.leaf), base: uint64(w.began / time.Microsecond)}
		if !l.begun && l.from == l.up && c.complete() {
			h.flags = flagComplete
		}
		l.begun = true
		h.put(b)
		c.send(l.to, b)
		c.stats.LeavesListed++
		if l.from == l.up {
			w.lists = w.lists[1:]
		}
	}
}

// dirty makes everybody look at leaves of which the data plane's log lost records.
func (c *Core) dirty(leaves *conntrack.LeafSet) {
	for _, p := range c.peers {
		set := p.offers()
		for i, word := range leaves {
			set[i] |= word
		}
	}
	c.walk.urgent = true
}

// offers are the leaves whose records a peer has to see.
func (p *peer) offers() *conntrack.LeafSet {
	if p.offer == nil {
		p.offer = new(conntrack.LeafSet)
	}
	return p.offer
}

// onRoot compares the sums of slots.
func (c *Core) onRoot(p *peer, h *laneHead, body []byte) bool {
	if int(h.lane) >= rootParts || h.count != rootPart || len(body) != 8*rootPart {
		return false
	}
	if p.rootID != h.seq {
		p.rootID, p.rootSame = h.seq, 0
	}
	w, same := &c.walk, true
	if !w.valid || !w.wasWhole || h.flags&flagComplete == 0 {
		return true
	}
	for i := range rootPart {
		slot := int(h.lane)*rootPart + i
		if binary.BigEndian.Uint64(body[8*i:]) != w.slots[slot] {
			p.leavesDue[slot/64] |= 1 << (slot % 64)
			same = false
			if w.calmSlot(slot) {
				p.settled++
			}
		}
	}
	p.compared, p.sessions = c.now, h.sessions
	if same {
		p.rootSame |= 1 << h.lane
	}
	if p.rootSame == 1<<rootParts-1 {
		p.matched, p.hasMatch, p.differing, p.settled = c.now, true, 0, 0
	}
	return true
}

// sendLeaves sends a peer the sums of leaves of slots that differ.
func (c *Core) sendLeaves(p *peer, millis int) {
	sent := 0
	for i := range p.leavesDue {
		for ; p.leavesDue[i] != 0 && sent < millis*leavesBurst; sent++ {
			slot := i*64 + bits.TrailingZeros64(p.leavesDue[i])
			p.leavesDue[i] &= p.leavesDue[i] - 1
			b := c.buffer()
			for _, sum := range c.walk.digest.Leaves[slot*conntrack.SlotLeaves : (slot+1)*conntrack.SlotLeaves] {
				b = binary.BigEndian.AppendUint64(b, sum)
			}
			h := laneHead{kind: typeLeaves, count: conntrack.SlotLeaves, seq: uint64(slot), flags: c.walk.flags()}
			h.put(b)
			c.send(p.id, b)
		}
	}
}

// onLeaves compares the sums of leaves, asks for the sessions of those that differ, and offers ours.
func (c *Core) onLeaves(p *peer, h *laneHead, body []byte) bool {
	if h.seq >= conntrack.DigestSlots || h.count != conntrack.SlotLeaves || len(body) != 8*conntrack.SlotLeaves {
		return false
	}
	w := &c.walk
	if !w.valid || !w.wasWhole || p.want || h.flags&flagComplete == 0 {
		return true // all of it is on the way
	}
	var mask [2]uint64
	for i := range uint32(conntrack.SlotLeaves) {
		leaf := uint32(h.seq)*conntrack.SlotLeaves + i
		if binary.BigEndian.Uint64(body[8*i:]) == w.digest.Leaves[leaf] {
			continue
		}
		p.differing++
		if w.calm(leaf) {
			p.settled++
		} else if p.differing-p.settled > busyMax {
			continue
		}
		mask[i/64] |= 1 << (i % 64)
		p.offers().Add(leaf)
	}
	if p.settled > snapshotFrac && c.now-p.synced > snapshotAgain {
		p.want, p.getting = true, getting{number: p.getting.number}
		return true
	}
	if mask != [2]uint64{} {
		w.urgent = true
		c.sendWant(p, uint16(h.seq), mask)
	}
	return true
}

func (c *Core) sendWant(p *peer, slot uint16, mask [2]uint64) {
	b := binary.BigEndian.AppendUint16(c.buffer(), slot)
	b = binary.BigEndian.AppendUint64(b, mask[0])
	b = binary.BigEndian.AppendUint64(b, mask[1])
	h := laneHead{kind: typeWant, count: 1}
	h.put(b)
	c.send(p.id, b)
}

// onWant notes leaves that a peer wants to see.
func (c *Core) onWant(p *peer, h *laneHead, body []byte) bool {
	if len(body) != wantSize*int(h.count) {
		return false
	}
	for ; len(body) > 0; body = body[wantSize:] {
		slot := uint32(binary.BigEndian.Uint16(body))
		if slot >= conntrack.DigestSlots {
			return false
		}
		for i := range uint32(conntrack.SlotLeaves) {
			if binary.BigEndian.Uint64(body[2+8*(i/64):])>>(i%64)&1 != 0 {
				p.offers().Add(slot*conntrack.SlotLeaves + i)
			}
		}
	}
	c.walk.urgent = true
	return true
}

// onList applies the sessions of a leaf, and remembers which they are if they are all of the peer's.
func (c *Core) onList(p *peer, h *laneHead, body []byte) bool {
	leaf, complete := uint32(h.seq), h.flags&flagComplete != 0
	if h.seq >= conntrack.DigestLeaves || !c.parse(body, int(h.count)) {
		return false
	}
	keys := make([]uint64, len(c.got))
	for i := range c.got {
		keys[i] = c.opt.Digest.Hash(&c.got[i].Key)
		if c.opt.Digest.Leaf(&c.got[i].Key) != leaf {
			return false
		}
	}
	c.applyAll(p)
	if complete && p.complete && len(c.walk.reaps) < reapMax {
		c.walk.reaps[leaf] = &reap{p.id, c.now, p.when(h, c.now), keys}
	}
	return true
}

// when is what a datagram's time is by our clock; now if it has none, as of an earlier version.
func (p *peer) when(h *laneHead, now time.Duration) time.Duration {
	if h.base == 0 {
		return now
	}
	return min(time.Duration(h.base)*time.Microsecond+p.offset, now)
}
