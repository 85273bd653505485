package gossip

import (
	"slices"
	"time"

	"ulvs/conntrack"
)

// Store is the table whose sessions directors share.
type Store interface {
	// Warm is called with records that Apply is about to be called with, a few dozen at a time.
	Warm(rs []conntrack.Record)
	// Apply brings a peer's record in.
	Apply(r *conntrack.Record) conntrack.Applied
	// Gone is shown what this director tells of its own sessions: what a peer still has of those that ended does not
	// come back.
	Gone(rs []conntrack.Record)
	// Known reports whether there is a session with that key that peers know.
	Known(k *conntrack.Key) bool
	// Scan calls fn for each shared session among the next n entries from position at on (0: the beginning)
	// and returns where to go on, 0 after the last. own: no peer told us of it.
	Scan(at uint64, n int, fn func(r *conntrack.Record, own bool)) uint64
	// Reap removes a session that a peer told us of, unless it did so during the last ticks.
	Reap(k *conntrack.Key, since conntrack.Tick) bool
}

// EventKind says what happened to a Core.
type EventKind uint8

// Events.
const (
	EventTick     EventKind = iota // time passed; at least every 5 ms while anything is under way
	EventRecords                   // Records of worker Lane
	EventDatagram                  // Data came from Peer in the session lane
	EventMessage                   // Data came in a stream
	EventSent                      // an ActionMessage to Peer is through, or failed
	EventPeerUp                    // Peer is there, with Epoch
	EventPeerDown                  // Peer is gone
	EventDirty                     // Leaves: records of them were lost before they got here
)

// Event is one thing that happened. What it points to is the caller's again after Step.
type Event struct {
	Kind    EventKind
	Peer    NodeID
	Epoch   Epoch
	Lane    int
	Records []conntrack.Record
	Data    []byte
	Leaves  *conntrack.LeafSet
}

// ActionKind says what is to be done.
type ActionKind uint8

// Actions.
const (
	ActionDatagram ActionKind = iota // send Data in the session lane to Peer, or, if that is 0, to all peers
	ActionMessage                    // send Data to Peer over a stream, and answer with EventSent
	ActionReject                     // Data from Peer was not understood
	ActionSynced                     // Peer's sessions are all here, for the first time since it came
	ActionLost                       // Count datagrams of Peer's can not be had any more: digests repair
)

// Action is one thing to do. Data is good until the next Step.
type Action struct {
	Kind  ActionKind
	Peer  NodeID
	Data  []byte
	Count uint64
}

// CoreOptions are what a Core is made of.
type CoreOptions struct {
	ID     NodeID
	Epoch  Epoch
	Lanes  int // workers, and one for what the control path tells
	Store  Store
	Digest conntrack.DigestKey
	// Payload bounds a datagram; 0: what fits an MTU of 1500.
	Payload int
}

// Times of a Core.
const (
	flushAfter  = time.Millisecond      // a datagram that is not full waits for so long
	ackEvery    = 20 * time.Millisecond // while something came
	ackGap      = 5 * time.Millisecond  // while something is missing, or the sender asks
	ackIdle     = time.Second
	gapPatience = 5 * time.Millisecond // before a gap is complained about for the first time
	statusSoon  = 5 * time.Millisecond // after the last delta: its loss would not be noticed otherwise
	statusEvery = 100 * time.Millisecond
	digestEvery = 5 * time.Second
	digestSoon  = 500 * time.Millisecond // between two walks when something waits for one
	askEvery    = 500 * time.Millisecond // for a snapshot that does not begin
	askStalled  = 5 * time.Second        // or does not go on
	// snapshotAgain is how soon after a snapshot another one can help: it brings what is missing and ends nothing. What
	// differs still are ends that nobody heard of, and lists of leaves tell.
	snapshotAgain = time.Minute
	reapSilence   = 2 * conntrack.TicksPerSecond
	workEvery     = time.Millisecond // between two pieces of what takes long: digests, snapshots
	workMost      = 8                // milliseconds' worth of it at once
	scanBudget    = 1024             // entries of the table per millisecond
	lagLimit      = 100 * time.Millisecond
	snapshotFrac  = 10 * conntrack.DigestLeaves / 32 // leaves that differ: then a snapshot is cheaper (30 %)
)

// Core decides what a director tells the others and asks of them. It is pure: no clock, no
// socket, no goroutine; the same events give the same actions.
type Core struct {
	opt     CoreOptions
	now     time.Duration
	acts    []Action
	lanes   []sendLane
	peers   []*peer                  // by id
	met     map[NodeID]bool          // that ever were peers; true: all of its sessions were here at some time
	origins [256]NodeID              // by term: who claimed it, or told of its own; several if more than one
	refused map[uint64]time.Duration // ends of ours that a peer does not know, by key: since when
	got     []conntrack.Record       // of the datagram or message under way
	standby []bool                   // of each of them: the sender has it from another director
	walk    walk

	term      uint8 // of this director, 0: it claims nothing
	statusDue time.Duration
	workedAt  time.Duration
	arena     [][]byte // of this Step's datagrams that are not in a ring
	used      int
	stats     CoreStats
}

// CoreStats count what a Core did.
type CoreStats struct {
	SentRecords, SentDatagrams, ResentDatagrams uint64
	GotRecords, GotDatagrams, Duplicates        uint64
	Missed, Lost                                uint64 // datagrams complained about, given up
	Walks, LeavesListed, Reaped, Refused        uint64
	SnapshotsSent, SnapshotsGot                 uint64
}

// NewCore makes a Core.
func NewCore(o CoreOptions) *Core {
	if o.Payload == 0 {
		o.Payload = maxPayload
	}
	c := &Core{opt: o, lanes: make([]sendLane, o.Lanes), met: map[NodeID]bool{}, refused: map[uint64]time.Duration{}}
	for i := range c.lanes {
		c.lanes[i].next, c.lanes[i].tail = 1, 1
	}
	c.walk.init(o.Digest)
	return c
}

// SetTerm tells the core the term that this director claims; 0: none.
func (c *Core) SetTerm(term uint8) {
	if c.term == term {
		return
	}
	c.term, c.statusDue = term, c.now
	for _, p := range c.peers {
		c.compareAnew(p)
	}
}

// compareAnew has digests be compared with a peer, now that another director owns the VIPs: the one before may have
// told some of what it did last to one of us only. If there never was a third one, it was the peer.
func (c *Core) compareAnew(p *peer) {
	if len(c.met) > 1 {
		c.walk.urgent = true
		p.doubt()
		p.rounds = -1 // in the first one, what it did last counts as changing still
	}
}

// Stats returns the counters.
func (c *Core) Stats() CoreStats { return c.stats }

// Step takes one event at time now, which never goes back, and returns what to do. The actions are good until
// the next Step.
func (c *Core) Step(now time.Duration, ev *Event) []Action {
	c.now, c.acts, c.used = max(now, c.now), c.acts[:0], 0
	switch ev.Kind {
	case EventRecords:
		c.tell(ev.Lane, ev.Records)
	case EventDatagram:
		c.datagram(ev.Peer, ev.Data)
	case EventMessage:
		c.message(ev.Data)
	case EventSent:
		if p := c.peer(ev.Peer); p != nil && p.serving.inFlight > 0 {
			p.serving.inFlight--
			c.serve(p)
		}
	case EventPeerUp:
		c.up(ev.Peer, ev.Epoch)
	case EventPeerDown:
		c.down(ev.Peer)
	case EventDirty:
		c.dirty(ev.Leaves)
	}
	c.tick()
	return c.acts
}

// tick does what is due.
func (c *Core) tick() {
	if len(c.peers) == 0 {
		return
	}
	for i := range c.lanes {
		if l := &c.lanes[i]; l.count > 0 && c.now-l.since >= flushAfter {
			c.flush(i)
		}
	}
	for _, p := range c.peers {
		c.ackPeer(p)
	}
	if c.now >= c.statusDue {
		c.sendStatus()
	}
	if since := c.now - c.workedAt; since >= workEvery {
		c.workedAt = c.now
		c.work(int(min(since/workEvery, workMost)))
	}
}

// work goes on with what takes long, as much as is due after so many milliseconds: datagrams and records that come
// meanwhile wait for it, so it is the same however many of them there are.
func (c *Core) work(millis int) {
	for _, p := range c.peers {
		c.askSnapshot(p)
		c.serve(p)
		c.sendLeaves(p, millis)
	}
	c.walkOn(millis)
}

// peer returns a live peer, nil if it is not there.
func (c *Core) peer(id NodeID) *peer {
	i, ok := slices.BinarySearchFunc(c.peers, id, func(p *peer, id NodeID) int {
		switch {
		case p.id < id:
			return -1
		case p.id > id:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return c.peers[i]
}

// up begins with a peer that came, came back, or was started anew.
func (c *Core) up(id NodeID, e Epoch) {
	if id == c.opt.ID {
		return
	}
	if p := c.peer(id); p != nil {
		if p.epoch == e {
			return
		}
		c.down(id)
	}
	if _, known := c.met[id]; !known {
		c.met[id] = false
	}
	p := &peer{id: id, epoch: e, since: c.now, want: true}
	at, _ := slices.BinarySearchFunc(c.peers, p, func(a, b *peer) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	c.peers = slices.Insert(c.peers, at, p)
	c.statusDue = c.now
}

func (c *Core) down(id NodeID) {
	c.peers = slices.DeleteFunc(c.peers, func(p *peer) bool { return p.id == id })
}

func (c *Core) act(a Action) { c.acts = append(c.acts, a) }

// send sends a datagram that is not numbered. b is the core's until the next Step.
func (c *Core) send(to NodeID, b []byte) { c.act(Action{Kind: ActionDatagram, Peer: to, Data: b}) }

// buffer returns an empty datagram's buffer with room for a header, good for this Step.
func (c *Core) buffer() []byte {
	if c.used == len(c.arena) {
		c.arena = append(c.arena, make([]byte, 0, maxPayload))
	}
	b := c.arena[c.used][:laneHeader]
	clear(b)
	c.used++
	return b
}

// micros is the core's clock on the wire.
func (c *Core) micros() uint64 { return uint64(c.now / time.Microsecond) }

// complete reports whether this director has all sessions of all peers that are there.
func (c *Core) complete() bool {
	for _, p := range c.peers {
		if p.want {
			return false
		}
	}
	return true
}
