package gossip

import (
	"encoding/binary"
	"time"

	"ulvs/conntrack"
)

// A director that comes asks each peer for all its sessions, and so does each peer of the one that comes:
// after a split both have what the other lacks. Messages of 256 KiB, two on the way at a time.

// getting is a snapshot on its way here.
type getting struct {
	number  uint64
	asked   time.Duration // 0: not yet
	heard   time.Duration
	begun   bool
	parts   uint32 // that came
	of      uint32 // how many there are; 0: not known yet
	records uint64
}

// serving is a snapshot on its way to a peer.
type serving struct {
	number   uint64
	active   bool
	at       uint64 // position of the table's scan
	part     uint32
	inFlight int
	chunk    []byte
	count    uint32
}

const (
	inFlightMax = 2
	serveScan   = 2048
	serveBudget = 8 // scans per millisecond and peer
)

// A message that was nearly full takes another scan, of nothing but IPv6 sessions, and is not larger than a peer takes.
const _ = uint(snapshotMax - snapshotHeader - 8*(lanesMax+1) - snapshotChunk - serveScan*record6)

// askSnapshot asks a peer for its sessions, again if nothing comes.
func (c *Core) askSnapshot(p *peer) {
	g := &p.getting
	if !p.want || g.asked != 0 && c.now-max(g.asked, g.heard) < askEvery ||
		g.begun && c.now-g.heard < askStalled {
		return
	}
	*g = getting{number: max(g.number, c.micros()) + 1, asked: max(c.now, 1)}
	b := c.buffer()
	h := laneHead{kind: typeAsk, seq: g.number, base: uint64(max(p.since, 1) / time.Microsecond)}
	h.put(b)
	c.send(p.id, b)
}

// onAsk begins to send a snapshot. The same question again is about the one that is under way. Who has met us anew held
// us for dead, and told us nothing meanwhile: then we need a snapshot, too.
func (c *Core) onAsk(p *peer, h *laneHead, body []byte) bool {
	if len(body) != 0 {
		return false
	}
	if p.metAt != 0 && p.metAt != h.base && !p.want {
		p.want, p.getting = true, getting{number: p.getting.number}
	}
	p.metAt = h.base
	if s := &p.serving; s.number != h.seq {
		*s = serving{number: h.seq, active: true, inFlight: s.inFlight}
	}
	return true
}

// serve sends the next messages of a snapshot.
func (c *Core) serve(p *peer) {
	s := &p.serving
	for n := 0; s.active && s.inFlight < inFlightMax && n < serveBudget; n++ {
		if s.chunk == nil {
			c.beginChunk(s)
		}
		s.at = c.opt.Store.Scan(s.at, serveScan, func(r *conntrack.Record, own bool) {
			s.chunk = appendRecord(s.chunk, r, !own)
			s.count++
		})
		if s.at == 0 || len(s.chunk) >= snapshotChunk {
			c.endChunk(p)
		}
	}
}

func (c *Core) beginChunk(s *serving) {
	s.chunk = make([]byte, snapshotHeader, snapshotChunk+serveScan*record6)
	if s.part > 0 {
		return
	}
	for i := range c.lanes {
		l := &c.lanes[i]
		s.chunk = binary.BigEndian.AppendUint64(s.chunk, l.next)
	}
}

func (c *Core) endChunk(p *peer) {
	s := &p.serving
	h := snapshotHead{from: c.opt.ID, number: s.number, part: s.part, count: s.count}
	if s.part == 0 {
		h.flags, h.lanes = snapFirst, uint8(len(c.lanes))
	}
	if s.at == 0 {
		h.flags |= snapLast
		s.active = false
		c.stats.SnapshotsSent++
	}
	h.put(s.chunk)
	c.act(Action{Kind: ActionMessage, Peer: p.id, Data: s.chunk})
	s.chunk, s.count = nil, 0
	s.inFlight++
	s.part++
}

// message takes a part of a snapshot.
func (c *Core) message(b []byte) {
	h, next, records, ok := parseSnapshot(b)
	if !ok {
		c.refuse(0)
		return
	}
	p := c.peer(h.from)
	if p == nil || !p.want || h.number != p.getting.number {
		return // of an earlier question
	}
	if !c.parse(records, int(h.count)) {
		c.refuse(h.from)
		return
	}
	g := &p.getting
	g.heard, g.begun = c.now, true
	for i, n := range next {
		if l := p.lane(uint8(i)); l != nil && n != 0 {
			c.begin(p, l, n)
		}
	}
	c.applyAll(p)
	g.parts++
	g.records += uint64(h.count)
	if h.flags&snapLast != 0 {
		g.of = h.part + 1
	}
	if g.parts == g.of {
		c.synced(p)
	}
}

func (c *Core) refuse(from NodeID) {
	c.stats.Refused++
	c.act(Action{Kind: ActionReject, Peer: from})
}

// synced ends a snapshot: all of the peer's sessions are here.
func (c *Core) synced(p *peer) {
	p.want, p.synced, c.met[p.id] = false, c.now, true
	c.stats.SnapshotsGot++
	c.walk.urgent = true
	c.statusDue = c.now
	c.act(Action{Kind: ActionSynced, Peer: p.id, Count: p.getting.records})
}

// PeerView is what an operator sees of a peer.
type PeerView struct {
	ID       NodeID
	Syncing  bool          // its sessions are not all here yet
	Complete bool          // it says that it lacks nothing
	Behind   bool          // datagrams of its are missing here
	Lag      time.Duration // age of the oldest record that it does not have yet
	Sessions int           // that it has, all told, when it last summed up
	Got      uint64        // records that came from it
	Repaired uint64        // datagrams that it missed and got again
	Differ   int           // leaves of the digest that differed in the last round
	Settled  int           // of them, those that were not changing meanwhile
	Matched  time.Duration // since the digests were equal; negative: never
	Snapshot uint64        // sessions of the snapshot that came so far
}

// View returns what is known of each peer, by id, and how many sessions are shared here.
func (c *Core) View() (peers []PeerView, sessions int) {
	for _, p := range c.peers {
		v := PeerView{
			ID: p.id, Syncing: p.want, Complete: p.complete, Behind: p.behind(), Lag: c.lag(p),
			Sessions: int(p.sessions), Got: p.got, Repaired: p.repaired, Differ: p.differing, Settled: p.settled,
			Matched: -1, Snapshot: p.getting.records,
		}
		if p.hasMatch {
			v.Matched = c.now - p.matched
		}
		peers = append(peers, v)
	}
	return peers, c.walk.sessions
}

// Ready reports whether this director has everything that its peers have: it may take over from any of them
// without losing a session. Without peers there is nothing to wait for.
func (c *Core) Ready() bool {
	for _, p := range c.peers {
		if p.want || p.behind() || c.now-p.heard > lagLimit+statusEvery || !p.agrees() {
			return false
		}
	}
	return true
}
