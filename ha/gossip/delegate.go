package gossip

import (
	"context"
	"encoding/binary"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Messages to memberlist's delegate, by their first byte. 'S' is a snapshot's (wire.go).
const (
	messageLane      = 'L' // sender u64, a datagram of the lane (session_sync = "gossip")
	messageBroadcast = 'B' // sequence u64, from, topic, body; strings with their length u8 before
	messageTell      = 'T' // from, topic, body

	gossipOverhead = 32 // of messageLane and memberlist around a datagram
	topicMax       = 200
	bodyMax        = 800
	topicsMax      = 1024 // remembered; of real clusters a handful
)

// meta is what memberlist tells of a director.
type meta struct {
	epoch      Epoch
	digest     uint16 // names the key of digests
	generation uint64 // of the configuration
}

const metaSize = 1 + 16 + 2 + 8

func (m *meta) bytes() []byte {
	b := append([]byte{wireVersion}, m.epoch[:]...)
	b = binary.BigEndian.AppendUint16(b, m.digest)
	return binary.BigEndian.AppendUint64(b, m.generation)
}

func parseMeta(b []byte) (m meta, ok bool) {
	if len(b) < metaSize || b[0] != wireVersion {
		return m, false
	}
	m.epoch, m.digest = Epoch(b[1:17]), binary.BigEndian.Uint16(b[17:])
	m.generation = binary.BigEndian.Uint64(b[19:])
	return m, true
}

// delegate is what memberlist calls. Its methods run on memberlist's goroutines.
type delegate struct {
	n     *Node
	queue *memberlist.TransmitLimitedQueue

	mu     sync.Mutex
	ml     *memberlist.Memberlist
	meta   meta
	topics map[string]broadcast // newest of each, by sender and topic
	seq    uint64
}

var _ interface {
	memberlist.Delegate
	memberlist.EventDelegate
	memberlist.ConflictDelegate
} = (*delegate)(nil)

func newDelegate(n *Node) *delegate {
	d := &delegate{n: n, topics: map[string]broadcast{}, seq: uint64(time.Now().UnixNano())}
	d.meta = meta{n.epoch, n.opt.Keys.DigestID(), n.opt.Meta}
	d.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: 4, NumNodes: d.members}
	return d
}

func (d *delegate) ready(ml *memberlist.Memberlist) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ml = ml
}

func (d *delegate) members() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ml == nil {
		return 1
	}
	return d.ml.NumMembers()
}

func (n *Node) config() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name, c.Transport = n.opt.Name, n.transport
	c.BindAddr, c.BindPort = n.transport.Addr().Addr().String(), int(n.transport.Addr().Port())
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	c.Delegate, c.Events, c.Conflict = n.delegate, n.delegate, n.delegate
	c.ProbeInterval, c.ProbeTimeout, c.GossipInterval = n.opt.Timings.Probe, n.opt.Timings.Timeout, n.opt.Timings.Gossip
	c.SuspicionMult = 2
	c.TCPTimeout = streamWait
	c.EnableCompression = false // records do not compress; it costs more than the network
	c.UDPBufferSize = maxPayload
	c.HandoffQueueDepth = 8192
	c.DeadNodeReclaimTime = time.Second // a director that comes back with another address
	c.Logger = log.New(&logWriter{n.opt.Log}, "", 0)
	return c
}

// logWriter hands memberlist's lines to the log, a level below what they say: it calls common things errors.
type logWriter struct{ log *slog.Logger }

func (w *logWriter) Write(b []byte) (int, error) {
	if w.log == nil {
		return len(b), nil
	}
	level := slog.LevelDebug
	if s := string(b); strings.Contains(s, "[ERR") {
		level = slog.LevelInfo
	}
	w.log.Log(context.Background(), level, "memberlist", "says", strings.TrimSpace(string(b)))
	return len(b), nil
}

// broadcast is the newest word of a director on a topic.
type broadcast struct {
	key     string // sender and topic
	seq     uint64
	message []byte
}

var _ memberlist.NamedBroadcast = broadcast{}

// Invalidates implements memberlist.Broadcast; memberlist compares names.
func (b broadcast) Invalidates(o memberlist.Broadcast) bool {
	other, ok := o.(broadcast)
	return ok && other.key == b.key
}

// Name implements memberlist.NamedBroadcast.
func (b broadcast) Name() string { return b.key }

// Message implements memberlist.Broadcast.
func (b broadcast) Message() []byte { return b.message }

// Finished implements memberlist.Broadcast.
func (b broadcast) Finished() {}

func appendString(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// cutString takes a string off b; false if there is none.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	return string(b[1 : 1+b[0]]), b[1+b[0]:], true
}

// Broadcast tells all directors, those that come later included, this director's newest word on a topic. What it said
// before on that topic is forgotten. topic and body are bounded by 200 and 800 bytes; more is cut off by refusal:
// false.
func (n *Node) Broadcast(topic string, body []byte) bool {
	if len(topic) > topicMax || len(body) > bodyMax || len(n.opt.Name) > topicMax {
		return false
	}
	d := n.delegate
	d.mu.Lock()
	d.seq++
	m := binary.BigEndian.AppendUint64([]byte{messageBroadcast}, d.seq)
	m = append(appendString(appendString(m, n.opt.Name), topic), body...)
	b := broadcast{n.opt.Name + "\x00" + topic, d.seq, m}
	d.topics[b.key] = b
	d.mu.Unlock()
	d.queue.QueueBroadcast(b)
	return true
}

// Tell sends one director a message, once: it may be lost. false: it is not there.
func (n *Node) Tell(name, topic string, body []byte) bool {
	m := append(appendString(appendString([]byte{messageTell}, n.opt.Name), topic), body...)
	for _, node := range n.ml.Members() {
		if node.Name == name {
			return n.ml.SendBestEffort(node, m) == nil
		}
	}
	return false
}

func (d *delegate) wrapLane(b []byte) []byte {
	m := binary.BigEndian.AppendUint64([]byte{messageLane}, uint64(d.n.id))
	return append(m, b...)
}

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(limit int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if limit < metaSize {
		return nil
	}
	return d.meta.bytes()
}

// SetGeneration tells peers the generation of the configuration.
func (n *Node) SetGeneration(g uint64) {
	n.delegate.mu.Lock()
	n.delegate.meta.generation = g
	n.delegate.mu.Unlock()
	_ = n.ml.UpdateNode(time.Second) // it is gossiped later, too
}

// NotifyMsg implements memberlist.Delegate. b is memberlist's.
func (d *delegate) NotifyMsg(b []byte) {
	if len(b) == 0 || len(b) > snapshotMax {
		d.n.transport.reject(RejectRecord)
		return
	}
	switch b[0] {
	case snapshotMark: // on a goroutine of its stream, which may wait
		d.n.tell(nodeEvent{kind: EventMessage, data: append([]byte(nil), b...)})
	case messageLane:
		if len(b) > 9 {
			d.n.receive(NodeID(binary.BigEndian.Uint64(b[1:])), d.n.Addr(), b[9:])
		}
	case messageBroadcast:
		d.heard(b)
	case messageTell:
		from, topic, body, ok := parseTell(b[1:])
		if !ok {
			d.n.transport.reject(RejectRecord)
			return
		}
		d.deliver(from, topic, body)
	default:
		d.n.transport.reject(RejectRecord)
	}
}

func parseTell(b []byte) (from, topic string, body []byte, ok bool) {
	if from, b, ok = cutString(b); !ok {
		return "", "", nil, false
	}
	topic, body, ok = cutString(b)
	return from, topic, body, ok
}

// heard takes a broadcast, and passes it on if it is news.
func (d *delegate) heard(b []byte) {
	if len(b) < 9 || len(b) > 9+2*(1+topicMax)+bodyMax {
		d.n.transport.reject(RejectRecord)
		return
	}
	from, topic, body, ok := parseTell(b[9:])
	if !ok {
		d.n.transport.reject(RejectRecord)
		return
	}
	if from == d.n.opt.Name {
		return // our own came around
	}
	news := broadcast{from + "\x00" + topic, binary.BigEndian.Uint64(b[1:]), append([]byte(nil), b...)}
	d.mu.Lock()
	old, known := d.topics[news.key]
	if known && old.seq >= news.seq || !known && len(d.topics) >= topicsMax {
		d.mu.Unlock()
		return
	}
	d.topics[news.key] = news
	d.mu.Unlock()
	d.queue.QueueBroadcast(news)
	d.deliver(from, topic, body)
}

func (d *delegate) deliver(from, topic string, body []byte) {
	if d.n.opt.Heard != nil {
		d.n.opt.Heard(from, topic, append([]byte(nil), body...))
	}
}

// GetBroadcasts implements memberlist.Delegate.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

// LocalState implements memberlist.Delegate: the newest word of everybody, for who comes.
func (d *delegate) LocalState(bool) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []byte
	for _, b := range d.topics {
		out = binary.BigEndian.AppendUint16(out, uint16(len(b.message)))
		out = append(out, b.message...)
	}
	return out
}

// MergeRemoteState implements memberlist.Delegate.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	for len(b) >= 2 {
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; n > len(b) || n == 0 || b[0] != messageBroadcast {
			d.n.transport.reject(RejectRecord)
			return
		}
		d.heard(b[:n])
		b = b[n:]
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (d *delegate) NotifyJoin(node *memberlist.Node) {
	m, ok := parseMeta(node.Meta)
	if node.Name == d.n.opt.Name {
		return
	}
	if !ok {
		d.n.transport.reject(RejectRecord)
		return
	}
	c := *node
	d.n.tell(nodeEvent{kind: EventPeerUp, id: IDOf(node.Name), meta: m, node: &c})
}

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(node *memberlist.Node) { d.NotifyJoin(node) }

// NotifyLeave implements memberlist.EventDelegate.
func (d *delegate) NotifyLeave(node *memberlist.Node) {
	if node.Name != d.n.opt.Name {
		d.n.tell(nodeEvent{kind: EventPeerDown, id: IDOf(node.Name)})
	}
}

// NotifyConflict implements memberlist.ConflictDelegate.
func (d *delegate) NotifyConflict(_, other *memberlist.Node) {
	d.n.notify(NoticeConflict, other.Name, 0)
}
