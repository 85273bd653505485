package gossip

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ulvs/conntrack"
)

// testDigest is as random as the real ones: small numbers do not mix.
var testDigest = testKeysDigest()

func testKeysDigest() conntrack.DigestKey {
	k, _ := ParseKeys(key1)
	return k.DigestKey()
}

// fakeStore is a table as a map: newest version holds.
type fakeStore struct {
	m     map[conntrack.Key]*fakeConn
	ends  map[conntrack.Key]conntrack.Version
	order []conntrack.Key
	now   *time.Duration
}

type fakeConn struct {
	rec   conntrack.Record
	own   bool
	heard time.Duration
}

func newFakeStore(now *time.Duration) *fakeStore {
	return &fakeStore{m: map[conntrack.Key]*fakeConn{}, ends: map[conntrack.Key]conntrack.Version{}, now: now}
}

func (f *fakeStore) put(r conntrack.Record, own bool) {
	if f.m[r.Key] == nil {
		f.order = append(f.order, r.Key)
	}
	f.m[r.Key] = &fakeConn{r, own, *f.now}
}

func (f *fakeStore) Apply(r *conntrack.Record) conntrack.Applied {
	old := f.m[r.Key]
	if r.Op == conntrack.OpClose {
		if !f.ends[r.Key].Newer(r.Version) {
			f.ends[r.Key] = r.Version
		}
		if old != nil && !old.rec.Version.Newer(r.Version) {
			delete(f.m, r.Key)
			return conntrack.AppliedClosed
		}
		return conntrack.AppliedNothing
	}
	if end, ok := f.ends[r.Key]; ok && !r.Version.Newer(end) {
		return conntrack.AppliedBuried
	}
	if old != nil && !r.Version.Newer(old.rec.Version) {
		old.heard = *f.now
		return conntrack.AppliedNothing
	}
	f.put(*r, false)
	return conntrack.AppliedInserted
}

func (f *fakeStore) Warm([]conntrack.Record) {}

func (f *fakeStore) Gone(rs []conntrack.Record) {
	for i := range rs {
		if r := &rs[i]; r.Op == conntrack.OpClose {
			f.ends[r.Key] = r.Version
		}
	}
}

func (f *fakeStore) Known(k *conntrack.Key) bool { return f.m[*k] != nil }

func (f *fakeStore) Scan(at uint64, n int, fn func(r *conntrack.Record, own bool)) uint64 {
	end := min(at+uint64(n), uint64(len(f.order)))
	seen := map[conntrack.Key]bool{}
	for _, k := range f.order[at:end] {
		if c := f.m[k]; c != nil && !seen[k] && f.last(k, at) {
			fn(&c.rec, c.own)
			seen[k] = true
		}
	}
	if end == uint64(len(f.order)) {
		f.compact()
		return 0
	}
	return end
}

// last makes a key that was put twice count once; compact keeps it so.
func (f *fakeStore) last(conntrack.Key, uint64) bool { return true }

// compact forgets what was deleted. The order is total, so that a seed gives the same run again.
func (f *fakeStore) compact() {
	f.order = f.order[:0]
	for k := range f.m {
		f.order = append(f.order, k)
	}
	slices.SortFunc(f.order, func(a, b conntrack.Key) int {
		return cmp.Or(slices.Compare(a.Addr[:], b.Addr[:]), cmp.Compare(a.L4, b.L4))
	})
}

func (f *fakeStore) Reap(k *conntrack.Key, since conntrack.Tick) bool {
	c := f.m[*k]
	if c == nil || c.own || conntrack.Ticks(*f.now-c.heard) < since {
		return false
	}
	delete(f.m, *k)
	return true
}

// network joins cores by links that lose, delay, double and reorder.
type network struct {
	tb    testing.TB
	rng   *rand.Rand
	now   time.Duration
	nodes []*fakeNode
	wire  []packetOnWire

	loss, double float64
	delay        time.Duration // at most
	cut          func(from, to NodeID) bool
	dropAcks     bool
	hold         func(*packetOnWire) bool // keeps a datagram; may be nil
}

type fakeNode struct {
	id     NodeID
	epoch  Epoch
	core   *Core
	store  *fakeStore
	lost   uint64
	synced int
	bad    int
}

type packetOnWire struct {
	at       time.Duration
	from, to NodeID
	data     []byte
	stream   bool
}

func newNetwork(tb testing.TB, rng *rand.Rand, n, lanes int) *network {
	w := &network{tb: tb, rng: rng, delay: time.Millisecond}
	for i := range n {
		w.nodes = append(w.nodes, w.node(i, lanes))
	}
	return w
}

func (w *network) node(i, lanes int) *fakeNode {
	f := &fakeNode{id: IDOf(fmt.Sprint("lvs", i)), epoch: Epoch{byte(i + 1), byte(w.rng.Uint32()), byte(w.rng.Uint32())}}
	f.store = newFakeStore(&w.now)
	f.core = NewCore(CoreOptions{
		ID: f.id, Epoch: f.epoch, Lanes: lanes, Store: f.store, Digest: testDigest,
	})
	return f
}

func (w *network) find(id NodeID) *fakeNode {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// join makes all see each other.
func (w *network) join() {
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if a != b {
				w.step(a, &Event{Kind: EventPeerUp, Peer: b.id, Epoch: b.epoch})
			}
		}
	}
}

func (w *network) step(n *fakeNode, ev *Event) {
	for _, a := range n.core.Step(w.now, ev) {
		switch a.Kind {
		case ActionDatagram:
			for _, to := range w.nodes {
				if to != n && (a.Peer == 0 || a.Peer == to.id) {
					w.send(n, to, a.Data)
				}
			}
		case ActionMessage:
			w.wire = append(w.wire, packetOnWire{w.now + w.delay, n.id, a.Peer, a.Data, true})
		case ActionReject:
			n.bad++
		case ActionSynced:
			n.synced++
		case ActionLost:
			n.lost += a.Count
		}
	}
}

func (w *network) send(from, to *fakeNode, data []byte) {
	if w.cut != nil && w.cut(from.id, to.id) || w.dropAcks && data[0] == typeAck {
		return
	}
	copies := 1
	if w.rng.Float64() < w.double {
		copies = 2
	}
	for range copies {
		if w.rng.Float64() < w.loss {
			continue
		}
		d := time.Duration(w.rng.Int64N(int64(w.delay)))
		p := packetOnWire{w.now + d, from.id, to.id, slices.Clone(data), false}
		if w.hold == nil || !w.hold(&p) {
			w.wire = append(w.wire, p)
		}
	}
}

// run lets time pass, a millisecond at a time.
func (w *network) run(d time.Duration) {
	for end := w.now + d; w.now < end; w.now += time.Millisecond {
		var later, due []packetOnWire
		for _, p := range w.wire {
			if p.at <= w.now {
				due = append(due, p)
			} else {
				later = append(later, p)
			}
		}
		w.wire = later
		slices.SortStableFunc(due, func(a, b packetOnWire) int { return cmp.Compare(a.at, b.at) })
		for _, p := range due {
			w.deliver(p)
		}
		for _, n := range w.nodes {
			w.step(n, &Event{Kind: EventTick})
		}
	}
}

func (w *network) deliver(p packetOnWire) {
	to, from := w.find(p.to), w.find(p.from)
	if to == nil {
		return
	}
	if !p.stream {
		w.step(to, &Event{Kind: EventDatagram, Peer: p.from, Data: p.data})
		return
	}
	w.step(to, &Event{Kind: EventMessage, Data: p.data})
	if from != nil {
		w.step(from, &Event{Kind: EventSent, Peer: p.to})
	}
}

// tell puts records into a director's own table and log.
func (w *network) tell(n *fakeNode, lane int, records ...conntrack.Record) {
	for i := range records {
		switch r := records[i]; r.Op {
		case conntrack.OpClose:
			delete(n.store.m, r.Key) // its end is remembered if the core says so
		default:
			n.store.put(r, true)
		}
	}
	w.step(n, &Event{Kind: EventRecords, Lane: lane, Records: records})
}

// rec makes record n in version v.
func rec(n int, v uint64) conntrack.Record {
	r := conntrack.Record{
		Op: conntrack.OpPut, State: conntrack.TCPEstablished, Version: conntrack.MakeVersion(1, v), Service: 77,
		Remaining: 7200, Timeout: 0, DestPort: 80 << 8, DestAddr: [2]uint64{uint64(n%5) + 1},
	}
	r.Addr[0], r.L4 = uint64(n)|0x64<<32, uint64(n%7)|80<<24|6<<32
	if n%4 == 3 {
		r.V6 = true
		r.Addr = [4]uint64{1, uint64(n), 2, 3}
		r.DestAddr[1] = 4
	}
	return r
}

func (w *network) same(what string) {
	w.tb.Helper()
	for _, n := range w.nodes[1:] {
		if a, b := w.nodes[0].table(), n.table(); !maps.Equal(a, b) {
			w.tb.Fatalf("%s: %d sessions at one director and %d at another", what, len(a), len(b))
		}
	}
}

func (n *fakeNode) table() map[conntrack.Key]conntrack.Version {
	out := map[conntrack.Key]conntrack.Version{}
	for k, c := range n.store.m {
		out[k] = c.rec.Version
	}
	return out
}
