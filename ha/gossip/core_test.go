package gossip

import (
	"fmt"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
)

func TestWhatOneDirectorTellsAllHave(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 3, 2)
	w.join()
	w.run(10 * time.Millisecond)
	for i := range 500 {
		w.tell(w.nodes[i%3], i%2, rec(i, 1))
	}
	w.run(10 * time.Millisecond)
	w.same("10 ms later")
	for i := range 250 {
		r := rec(2*i, 2)
		r.Op = conntrack.OpClose
		w.tell(w.nodes[2*i%3], 0, r)
	}
	w.run(10 * time.Millisecond)
	w.same("after half of them ended")
	if n := len(w.nodes[0].store.m); n != 250 {
		t.Errorf("%d sessions are left, want 250", n)
	}
	w.run(6 * time.Second)
	for _, n := range w.nodes {
		peers, sessions := n.core.View()
		for _, p := range peers {
			if p.Matched < 0 || p.Lag != 0 || p.Syncing || p.Sessions != 250 || sessions != 250 {
				t.Errorf("after a while a peer is %+v, with %d sessions here", p, sessions)
			}
		}
		if !n.core.Ready() || !n.core.Drained() {
			t.Error("a director that has everything is not ready")
		}
	}
}

func TestLossIsRepairedWithinATenthOfASecond(t *testing.T) {
	for _, loss := range []float64{0.01, 0.1, 0.5} {
		w := newNetwork(t, testutil.Rand(t), 2, 1)
		w.join()
		w.run(20 * time.Millisecond)
		w.loss, w.double, w.delay = loss, 0.02, 3*time.Millisecond
		for i := range 20_000 {
			w.tell(w.nodes[0], 0, rec(i, 1))
			if i%100 == 0 {
				w.run(time.Millisecond)
			}
		}
		limit := 100 * time.Millisecond
		if loss > 0.2 {
			limit = 2 * time.Second
		}
		w.run(limit)
		w.same("after loss")
		if w.nodes[1].lost != 0 || w.nodes[0].core.Stats().ResentDatagrams == 0 {
			t.Errorf("%.0f %%: %d datagrams lost; %+v", 100*loss, w.nodes[1].lost, w.nodes[0].core.Stats())
		}
	}
}

func TestADirectorThatComesGetsEverythingWhileSessionsGoOn(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 2)
	for i := range 60_000 { // more than one message
		w.nodes[0].store.put(rec(i, 1), true)
	}
	w.join()
	w.loss = 0.02
	for i := range 3000 {
		w.tell(w.nodes[0], i%2, rec(i*7, 2), rec(100_000+i, 1))
		if i%10 == 0 {
			w.run(time.Millisecond)
		}
	}
	w.run(1500 * time.Millisecond)
	w.same("after joining")
	if w.nodes[1].synced != 1 || w.nodes[0].synced != 1 {
		t.Errorf("synced %d and %d times, want once each", w.nodes[0].synced, w.nodes[1].synced)
	}
	w.run(10 * time.Second)
	if !w.nodes[1].core.Ready() {
		peers, _ := w.nodes[1].core.View()
		t.Errorf("it is not ready: %+v", peers)
	}
}

func TestWhatNumbersCannotRepairDigestsDo(t *testing.T) {
	for _, term := range []uint8{1, 0} { // of a director that owns VIPs, and of one that claims nothing
		t.Run(fmt.Sprint("term ", term), func(t *testing.T) { repairByDigests(t, term) })
	}
}

func repairByDigests(t *testing.T, term uint8) {
	rng := testutil.Rand(t)
	w := newNetwork(t, rng, 2, 1)
	w.join()
	a, b := w.nodes[0], w.nodes[1]
	of := func(n int, v uint64) conntrack.Record {
		r := rec(n, v)
		r.Version = conntrack.MakeVersion(term, v)
		return r
	}
	for i := range 5000 {
		w.tell(a, 0, of(i, 1))
	}
	w.run(11 * time.Second)
	w.same("at first")
	a.core.SetTerm(term)
	gone := map[conntrack.Key]bool{}
	for range 200 { // records and ends that never got into the log
		i := rng.IntN(5000)
		switch rng.IntN(3) {
		case 0:
			delete(a.store.m, of(i, 1).Key)
			gone[of(i, 1).Key] = true
		case 1:
			a.store.put(of(i, 2), true)
			delete(gone, of(i, 2).Key)
		case 2:
			a.store.put(of(10_000+i, 1), true)
		}
	}
	w.run(16 * time.Second)
	w.same("after some rounds of digests")
	for key := range gone {
		if a.store.m[key] != nil {
			t.Fatalf("the session %+v, which ended, is back", key)
		}
	}
	if st := b.core.Stats(); st.Reaped == 0 || a.core.Stats().LeavesListed == 0 || st.SnapshotsGot != 1 {
		t.Errorf("repaired by %+v", st)
	}
}

// Digests look at sessions that end meanwhile: neither director brings one back for the other's sake.
func TestDigestsOfSessionsThatComeAndGoBringNothingBack(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 1)
	w.join()
	a := w.nodes[0]
	w.delay = 40 * time.Millisecond
	stale := 0
	w.hold = func(p *packetOnWire) bool {
		if p.from == a.id && p.data[0] == typeList {
			stale += a.ended(p.data[laneHeader:])
		}
		return false
	}
	const living = 2000
	for i := range 40_000 {
		w.tell(a, 0, rec(i, uint64(2*i+2)))
		if i >= living {
			end := rec(i-living, uint64(2*i+3))
			end.Op = conntrack.OpClose
			w.tell(a, 0, end)
		}
		if i%3 == 0 {
			w.run(time.Millisecond)
		}
	}
	w.run(w.delay + 10*time.Millisecond)
	for _, n := range w.nodes {
		if len(n.store.m) != living || n.core.Stats().LeavesListed == 0 {
			t.Errorf("%d sessions after many came and went, want %d; %+v", len(n.store.m), living, n.core.Stats())
		}
	}
	if stale > 0 {
		t.Errorf("%d sessions were listed that had ended", stale)
	}
}

// ended counts the records of sessions that are not here.
func (n *fakeNode) ended(b []byte) (count int) {
	for len(b) > 0 {
		var r conntrack.Record
		size, _ := parseRecord(b, &r)
		if b = b[size:]; !n.store.Known(&r.Key) {
			count++
		}
	}
	return count
}

// What a peer listed of a leaf says nothing of sessions that it told of after it had begun to look: lists may be late.
func TestALateListEndsNoSessionThatCameMeanwhile(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 1)
	w.join()
	a, b := w.nodes[0], w.nodes[1]
	for i := range 2000 {
		w.tell(a, 0, rec(i, 1))
	}
	w.run(11 * time.Second)
	a.store.put(rec(0, 2), true) // differs: its leaf is listed
	var late []packetOnWire
	w.hold = func(p *packetOnWire) bool {
		if p.from != a.id || p.data[0] != typeList {
			return false
		}
		late = append(late, *p)
		return true
	}
	for len(late) == 0 {
		w.run(time.Millisecond)
	}
	w.hold = nil
	leaf := func(r conntrack.Record) uint32 { return testDigest.Leaf(&r.Key) }
	n := 10_000
	for leaf(rec(n, 3)) != leaf(rec(0, 1)) {
		n++
	}
	w.tell(a, 0, rec(n, 3))
	w.run(4 * time.Second)
	w.deliver(late[0])
	for range 7000 {
		if w.run(time.Millisecond); b.store.m[rec(n, 3).Key] == nil {
			t.Fatalf("a session that came four seconds before a late list is gone")
		}
	}
}

func TestLostRecordsOfAFullLogAreSentAgain(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 1)
	w.join()
	w.run(12 * time.Second)
	ev := Event{Kind: EventDirty, Leaves: new(conntrack.LeafSet)}
	key := testDigest
	for i := range 300 {
		r := rec(i, 1)
		w.nodes[0].store.put(r, true)
		ev.Leaves.Add(key.Leaf(&r.Key))
	}
	w.step(w.nodes[0], &ev)
	w.run(2 * time.Second)
	w.same("two seconds after")
}

func TestAfterASplitEachHasWhatTheOtherLacked(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 1)
	w.join()
	for i := range 1000 {
		w.tell(w.nodes[0], 0, rec(i, 1))
	}
	w.run(time.Second)
	a, b := w.nodes[0], w.nodes[1]
	w.step(a, &Event{Kind: EventPeerDown, Peer: b.id})
	w.step(b, &Event{Kind: EventPeerDown, Peer: a.id})
	for i := range 100 {
		w.tell(a, 0, rec(2000+i, 1))
		w.tell(b, 0, rec(3000+i, 1))
		newer := rec(i, 5)
		w.tell(b, 0, newer)
	}
	w.run(20 * time.Second)
	w.join()
	w.run(500 * time.Millisecond)
	w.same("healed")
	if n := len(a.store.m); n != 1200 {
		t.Errorf("%d sessions, want 1200: nothing may be thrown away", n)
	}
}

// The owner told one of two others a session, and died: that one hands nothing over to the other until it has it.
func TestNobodyHasEverythingWhoseDigestDiffersSinceTheTakeover(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 3, 1)
	w.run(time.Millisecond)
	w.join()
	a, b, owner := w.nodes[0], w.nodes[1], w.nodes[2]
	owner.core.SetTerm(1)
	w.run(16 * time.Second)
	if !a.core.Has(b.id) {
		t.Fatal("a director that has everything is said to lack something")
	}
	w.cut = func(from, to NodeID) bool { return from == owner.id && to == b.id }
	told := rec(1, 1)
	w.tell(owner, 0, told)
	w.run(20 * time.Millisecond)
	w.cut = func(from, _ NodeID) bool { return from == owner.id }
	a.core.SetTerm(2)
	for n := 0; !a.core.Has(b.id) || !a.core.Drained(); n++ {
		if n > 20_000 {
			t.Fatal("not even 20 s later")
		}
		w.run(time.Millisecond)
	}
	if !a.store.Known(&told.Key) || !b.store.Known(&told.Key) {
		t.Error("it is said to have everything and lacks a session")
	}
}

// A snapshot's messages are never larger than a peer takes, however IPv6's larger records lie in the table.
func TestASnapshotOfIPv6SessionsWithHolesArrives(t *testing.T) {
	for _, keep := range []int{4, 5} {
		w := newNetwork(t, testutil.Rand(t), 2, 1)
		a, b := w.nodes[0], w.nodes[1]
		for i := range 9000 {
			a.store.put(rec(4*i+3, 1), true)
		}
		for i := range 4096 {
			if i%keep == 0 {
				delete(a.store.m, rec(4*i+3, 1).Key)
			}
		}
		w.join()
		w.run(400 * time.Millisecond)
		if b.bad != 0 || b.synced != 1 {
			t.Errorf("one hole in %d: %d messages refused, %d snapshots", keep, b.bad, b.synced)
		}
		w.same("after the snapshot")
	}
}

// Where more leaves differ than a snapshot is cheaper for, and it is ends that are missing, lists go on after it.
func TestMoreEndsThanASnapshotIsCheaperForAreRepaired(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 1)
	a, b := w.nodes[0], w.nodes[1]
	a.core.SetTerm(1)
	const all, ended = 52_000, 50_000
	for i := range all {
		a.store.put(rec(i, 1), true)
	}
	w.join()
	w.run(time.Second)
	w.same("at first")
	for i := range ended {
		delete(a.store.m, rec(i, 1).Key) // a full log
	}
	for n := 0; len(b.store.m) > all-ended && n < 60; n++ {
		w.run(time.Second)
	}
	w.same("a minute later")
	if len(a.store.m) != all-ended || a.synced != 1 {
		t.Errorf("%d sessions after %d snapshots, want %d after 1", len(a.store.m), a.synced, all-ended)
	}
}

// A peer that was away has sessions whose ends it did not hear of: its snapshot does not bring them back.
func TestASnapshotBringsNothingBackThatEndedHere(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 1)
	w.join()
	a, b := w.nodes[0], w.nodes[1]
	a.core.SetTerm(1)
	for i := range 1000 {
		w.tell(a, 0, rec(i, 1))
	}
	w.run(time.Second)
	w.step(a, &Event{Kind: EventPeerDown, Peer: b.id})
	w.step(b, &Event{Kind: EventPeerDown, Peer: a.id})
	for i := range 100 {
		delete(a.store.m, rec(i, 1).Key) // a full log
	}
	w.run(20 * time.Second)
	w.join()
	w.run(20 * time.Second)
	w.same("healed")
	if n := len(a.store.m); n != 900 || a.synced != 2 {
		t.Errorf("%d sessions after %d snapshots, want 900 after 2", n, a.synced)
	}
}

func TestADirectorThatWasStartedAnewLosesNobodysSessions(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 1)
	w.join()
	for i := range 1000 {
		w.tell(w.nodes[0], 0, rec(i, 1))
	}
	w.run(6 * time.Second)
	fresh := w.node(0, 1)
	fresh.epoch = Epoch{99}
	w.nodes[0] = fresh
	fresh.core = NewCore(CoreOptions{ID: fresh.id, Epoch: fresh.epoch, Lanes: 1, Store: fresh.store, Digest: testDigest})
	fresh.core.SetTerm(1) // as before: what it told then is its own still
	w.join()
	w.run(20 * time.Second)
	w.same("after a restart")
	if n := len(fresh.store.m); n != 1000 {
		t.Errorf("%d sessions came back, want 1000", n)
	}
	w.tell(fresh, 0, rec(5000, 1))
	w.run(20 * time.Millisecond)
	w.same("and a new one")
}

func TestForgedAndOldDatagramsChangeNothing(t *testing.T) {
	rng := testutil.Rand(t)
	w := newNetwork(t, rng, 2, 1)
	w.join()
	var kept [][]byte
	b := w.nodes[1]
	for i := range 200 {
		w.tell(w.nodes[0], 0, rec(i, 1))
		for _, p := range w.wire {
			if p.to == b.id && !p.stream {
				kept = append(kept, p.data)
			}
		}
		w.run(time.Millisecond)
	}
	w.run(50 * time.Millisecond)
	for i := range 200 {
		end := rec(i, 3)
		end.Op = conntrack.OpClose
		w.tell(w.nodes[0], 0, end)
	}
	w.run(50 * time.Millisecond)
	before := len(b.store.m)
	for _, d := range kept { // the seal refuses a replay; if it did not, versions would
		w.step(b, &Event{Kind: EventDatagram, Peer: w.nodes[0].id, Data: d})
	}
	for range 5000 {
		d := append([]byte(nil), kept[rng.IntN(len(kept))]...)
		d = d[:rng.IntN(len(d)+1)]
		w.step(b, &Event{Kind: EventDatagram, Peer: w.nodes[0].id, Data: d})
		w.step(b, &Event{Kind: EventDatagram, Peer: IDOf("nobody"), Data: kept[0]})
	}
	if len(b.store.m) != before || before != 0 {
		t.Errorf("%d sessions after replays, want %d, none", len(b.store.m), before)
	}
	if b.bad == 0 {
		t.Error("nothing was refused")
	}
}

func TestAHandoverWaitsUntilEverythingIsThere(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 1)
	w.join()
	w.run(10 * time.Millisecond)
	w.dropAcks = true
	w.tell(w.nodes[0], 0, rec(1, 1))
	for _, a := range w.nodes[0].core.Flush(w.now) {
		if a.Kind == ActionDatagram {
			w.send(w.nodes[0], w.nodes[1], a.Data)
		}
	}
	if w.nodes[0].core.Drained() {
		t.Error("drained before anybody acknowledged")
	}
	w.run(50 * time.Millisecond)
	peers, _ := w.nodes[0].core.View()
	if w.nodes[0].core.Drained() || peers[0].Lag < 40*time.Millisecond {
		t.Errorf("drained without an acknowledgement; lag %s", peers[0].Lag)
	}
	w.dropAcks = false
	w.run(1100 * time.Millisecond)
	if !w.nodes[0].core.Drained() {
		t.Error("not drained after everything arrived")
	}
}

func TestSteppingAllocatesNothingOnceItRuns(t *testing.T) {
	w := newNetwork(t, testutil.Rand(t), 2, 1)
	w.join()
	w.run(20 * time.Millisecond)
	a := w.nodes[0]
	records := make([]conntrack.Record, recordsMax)
	for i := range records {
		records[i] = rec(4*i, 1)
	}
	ev := &Event{Kind: EventRecords, Records: records}
	for range 2 * resendRing {
		a.core.Step(w.now, ev)
	}
	testutil.AllocFree(t, func() { a.core.Step(w.now, ev) })
}
