package gossip

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
)

// lockedStore is a fakeStore for the loop of a Node and a test that looks into it.
type lockedStore struct {
	sync.Mutex
	fakeStore
}

func (l *lockedStore) Begin() { l.Lock() }
func (l *lockedStore) End()   { l.Unlock() }

func (l *lockedStore) len() int {
	l.Lock()
	defer l.Unlock()
	return len(l.m)
}

type testNode struct {
	*Node
	store *lockedStore
	log   *conntrack.Log

	mu      sync.Mutex
	heard   []string
	notices []Notice
}

func (t *testNode) has(kind NoticeKind) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.notices, func(n Notice) bool { return n.Kind == kind })
}

func startNode(t *testing.T, name string, o NodeOptions) *testNode {
	t.Helper()
	n := &testNode{store: &lockedStore{fakeStore: *newFakeStore(new(time.Duration))}}
	wake := make(chan struct{}, 1)
	n.log = conntrack.NewLog(conntrack.LogOptions{Digest: o.Keys.DigestKey(), Wake: wake})
	if !o.Addr.IsValid() {
		o.Addr = ownHost
	}
	o.Name, o.Table, o.Logs, o.Wake = name, n.store, []*conntrack.Log{n.log}, wake
	o.Heard = func(from, topic string, b []byte) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.heard = append(n.heard, from+" "+topic+" "+string(b))
	}
	o.Notify = func(x Notice) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.notices = append(n.notices, x)
	}
	var err error
	if n.Node, err = Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// write logs records as a worker would, and has them in the director's own table.
func (t *testNode) write(records ...conntrack.Record) {
	t.store.Lock()
	for _, r := range records {
		t.store.put(r, true)
	}
	t.store.Unlock()
	for i := range records {
		if r := t.log.Next(); r != nil {
			*r = records[i]
		} else {
			t.log.Drop(&records[i].Key)
		}
	}
	t.log.Flush()
}

func TestDirectorsFindEachOtherAndShareSessions(t *testing.T) {
	for _, gossip := range []bool{false, true} {
		keys := testKeys(t)
		a := startNode(t, "lvs1", NodeOptions{Keys: keys, Gossip: gossip})
		for i := range 1000 {
			a.write(rec(i, 1))
		}
		b := startNode(t, "lvs2", NodeOptions{Keys: keys, Gossip: gossip, Peers: []netip.AddrPort{a.Addr()}})
		testutil.Await(t, "the newcomer has everything", func() bool { return b.store.len() == 1000 })
		for i := range 2000 {
			a.write(rec(5000+i, 1))
			if i%200 == 0 {
				b.write(rec(20_000+i, 1))
			}
		}
		testutil.Await(t, "both have everything", func() bool { return a.store.len() == 3010 && b.store.len() == 3010 })
		ctx, cancel := context.WithTimeout(t.Context(), testutil.AwaitLimit)
		if err := a.Drain(ctx, ""); err != nil {
			t.Error(err)
		}
		cancel()
		testutil.Await(t, "it is ready to take over", func() bool { return b.Ready() })
		v, _ := b.View()
		if len(v.Peers) != 1 || v.Peers[0].Name != "lvs1" || v.Peers[0].Addr != a.Addr().String() || !b.has(NoticeSynced) {
			t.Errorf("it sees %+v", v)
		}
	}
}

func TestADirectorsWordReachesAllAndThoseThatComeLater(t *testing.T) {
	keys := testKeys(t)
	a := startNode(t, "lvs1", NodeOptions{Keys: keys})
	peers := []netip.AddrPort{a.Addr()}
	b := startNode(t, "lvs2", NodeOptions{Keys: keys, Peers: peers})
	testutil.Await(t, "they met", func() bool { return a.has(NoticeUp) && b.has(NoticeUp) })
	heard := func(n *testNode, what string) func() bool {
		return func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return slices.Contains(n.heard, what)
		}
	}
	for _, word := range []string{"1", "2", "3"} {
		if !a.Broadcast("claim/web", []byte("term "+word)) {
			t.Fatal("refused")
		}
	}
	testutil.Await(t, "the claim arrives", heard(b, "lvs1 claim/web term 3"))
	c := startNode(t, "lvs3", NodeOptions{Keys: keys, Peers: peers})
	testutil.Await(t, "who comes later hears the newest word", heard(c, "lvs1 claim/web term 3"))
	if heard(c, "lvs1 claim/web term 1")() {
		t.Error("and an old one")
	}
	testutil.Await(t, "a direct message arrives", func() bool {
		return b.Tell("lvs1", "ask", []byte("serving?")) && heard(a, "lvs2 ask serving?")()
	})
	if b.Tell("lvs9", "ask", nil) || b.Broadcast("x", make([]byte, bodyMax+1)) {
		t.Error("told nobody, or too much")
	}
}

func TestADirectorThatDiesIsNoticed(t *testing.T) {
	keys := testKeys(t)
	a := startNode(t, "lvs1", NodeOptions{Keys: keys})
	b := startNode(t, "lvs2", NodeOptions{Keys: keys, Peers: []netip.AddrPort{a.Addr()}})
	testutil.Await(t, "they met", func() bool { return a.has(NoticeUp) && b.has(NoticeUp) })
	_ = b.transport.udp.Close() // as if it was cut off
	_ = b.transport.tcp.Close()
	testutil.Await(t, "it is missed", func() bool { return a.has(NoticeDown) })
}

func TestADirectorOfAnotherClusterIsNeverAPeer(t *testing.T) {
	a := startNode(t, "lvs1", NodeOptions{Keys: testKeys(t)})
	b := startNode(t, "lvs2", NodeOptions{Keys: testKeys(t, key2), Peers: []netip.AddrPort{a.Addr()}})
	testutil.Await(t, "it was refused", func() bool { return a.Rejects()[RejectKey].Load() > 0 })
	if a.has(NoticeUp) || b.has(NoticeUp) {
		t.Error("they met")
	}
}

func TestMessagesThatAreNoneAreCounted(t *testing.T) {
	n := startNode(t, "lvs1", NodeOptions{Keys: testKeys(t)})
	for _, b := range [][]byte{
		nil, {0}, {messageBroadcast}, {messageBroadcast, 0, 0, 0, 0, 0, 0, 0, 1, 200}, {messageTell, 5, 1},
		make([]byte, snapshotMax+1),
	} {
		n.delegate.NotifyMsg(b)
	}
	n.delegate.MergeRemoteState([]byte{0, 9, 1}, true)
	if got := n.Rejects()[RejectRecord].Load(); got != 7 {
		t.Errorf("%d were counted, want 7", got)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte{messageBroadcast, 0, 0, 0, 0, 0, 0, 0, 1, 1, 'a', 1, 'b', 'c'}, true)
	f.Add([]byte{messageTell, 1, 'a', 1, 'b'}, false)
	f.Add([]byte{0, 14, messageBroadcast, 0, 0, 0, 0, 0, 0, 0, 1, 1, 'a', 1, 'b', 'c'}, true)
	f.Fuzz(func(t *testing.T, b []byte, merge bool) {
		n := &Node{opt: NodeOptions{Name: "lvs1", Keys: InsecureKeys()}, transport: &Transport{}}
		n.inbox, n.free = make(chan *slab, 1), make(chan *slab, 1)
		n.events, n.stop = make(chan nodeEvent, 1), make(chan struct{})
		n.delegate = newDelegate(n)
		if merge {
			n.delegate.MergeRemoteState(b, false)
		}
		n.delegate.NotifyMsg(b)
		if len(b) > 0 && (len(n.delegate.topics) > topicsMax || len(n.delegate.LocalState(true)) > 2*len(b)+64) {
			t.Fatal("more came out than in")
		}
		parseMeta(b)
	})
}
