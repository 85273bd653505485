package afxdp

import (
	"testing"
	"time"

	"ulvs/packet"
)

// trunkOn opens a bond of wires on their queue 0 and registers its members.
func trunkOn(t *testing.T, st *Steering, wires ...*wire) *Trunk {
	t.Helper()
	q, err := OpenTrunk(Options{Debug: true}, bondOf(wires...))
	need(t, "afxdp", err)
	t.Cleanup(func() { q.Close() })
	for _, w := range wires {
		if err := st.Register(w.near.Index, 0, q.MemberFD(w.near.Index)); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

// bondOf is one port of wires, all of which send.
func bondOf(wires ...*wire) []TrunkPort {
	p := TrunkPort{Name: "bond0", Policy: HashLayer34}
	for _, w := range wires {
		p.Members = append(p.Members, Member{w.near, true})
	}
	return []TrunkPort{p}
}

// passes sends frames in by a wire and wants all of them out by another one.
func passes(t *testing.T, q *Trunk, in, out *wire) {
	t.Helper()
	const n = 20
	for i := range n {
		in.inject(t, in.udpFrame(testVIP, 1000, 80, frameText(i)))
		if got, sent := forward(t, q, 0, 1, 30*time.Second); got != 1 || sent != 1 {
			t.Fatalf("frame %d in by %s: received %d, sent %d", i, in.near.Name, got, sent)
		}
		if out.capture(t, frameText(i), 30*time.Second) == nil {
			t.Fatalf("frame %d in by %s did not leave by %s", i, in.near.Name, out.near.Name)
		}
	}
	if err := q.Account().Check(); err != nil {
		t.Fatal(err)
	}
}

// passesBy is passes over a bond of which only out sends, so that its choice is known.
func passesBy(t *testing.T, q *Trunk, bond []TrunkPort, in, out *wire) {
	t.Helper()
	for i := range bond[0].Members {
		bond[0].Members[i].Sends = bond[0].Members[i].Index == out.near.Index
	}
	q.Follow(bond)
	passes(t, q, in, out)
}

// enlist has a wire be a member of the bond: it gets a socket, and frames are steered there.
func enlist(t *testing.T, st *Steering, q *Trunk, w *wire) {
	t.Helper()
	if err := q.Add(0, w.near); err != nil {
		t.Fatal(err)
	}
	if err := st.Register(w.near.Index, 0, q.MemberFD(w.near.Index)); err != nil {
		t.Fatal(err)
	}
}

func TestMembersOfABondComeAndGoBesideOthersThatStay(t *testing.T) {
	enterNamespace(t)
	a, b, c := newWire(t, "a", 1), newWire(t, "b", 1), newWire(t, "c", 1)
	st := attachAll(t, a, b, c)
	q := trunkOn(t, st, a, b)
	stays := q.MemberFD(b.near.Index)
	leaveBy := func(members, out *wire) {
		t.Helper()
		passesBy(t, q, bondOf(a, b, c), members, out)
	}
	leaveBy(a, b)
	leaveBy(b, a)

	if err := q.Remove(a.near.Index); err != nil { // the socket whose memory the others share
		t.Fatal(err)
	}
	leaveBy(b, b)
	if err := q.Remove(a.near.Index); err != nil {
		t.Errorf("removed twice: %v", err)
	}

	enlist(t, st, q, c)
	leaveBy(b, c)
	leaveBy(c, b)
	if got := q.MemberFD(b.near.Index); got != stays {
		t.Errorf("the member that stayed has socket %d, had %d", got, stays)
	}
	if acc := q.Account(); len(acc.Ports) != 2 {
		t.Errorf("%d sockets, want the removed one's place taken", len(acc.Ports))
	}
}

func TestABondThatLostAllItsMembersGetsNewOnes(t *testing.T) {
	enterNamespace(t)
	a, b := newWire(t, "a", 1), newWire(t, "b", 1)
	st := attachAll(t, a, b)
	q := trunkOn(t, st, a)
	if err := q.Remove(a.near.Index); err != nil {
		t.Fatal(err)
	}
	frames := make([]packet.Frame, 4)
	n := q.Alloc(frames)
	for i := range frames[:n] {
		frames[i].Resize(60)
	}
	if sent := q.Send(frames[:n]); n != 4 || sent != 0 {
		t.Errorf("without members %d of %d frames were sent", sent, n)
	}
	enlist(t, st, q, b)
	q.Follow(bondOf(b))
	passes(t, q, b, b)
}

// A process that goes on has the members' sockets, and their places: those of a member that left, too.
func TestABondsSocketsGoOverWithThePlaceOfAMemberThatLeft(t *testing.T) {
	enterNamespace(t)
	a, b, c := newWire(t, "a", 1), newWire(t, "b", 1), newWire(t, "c", 1)
	st := attachAll(t, a, b, c)
	old := trunkOn(t, st, a, b)
	enlist(t, st, old, c)
	if err := old.Remove(a.near.Index); err != nil {
		t.Fatal(err)
	}
	h, files, err := old.HandOver()
	if err != nil {
		t.Fatal(err)
	}
	if below := h.Below(); len(below) != 2 || below[0] != b.near || below[1] != c.near || len(files) != 3 {
		t.Fatalf("%v goes over, with %d files", below, len(files))
	}
	b.inject(t, b.udpFrame(testVIP, 1000, 80, "in between")) // nobody looks: it waits
	next, err := AdoptTrunk(h, files, bondOf(a, b, c), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Close() })
	leaveBy := func(in, out *wire) {
		t.Helper()
		passesBy(t, next, bondOf(a, b, c), in, out)
	}
	next.Follow(bondOf(c))
	if got, sent := forward(t, next, 0, 1, 30*time.Second); got != 1 || sent != 1 {
		t.Fatalf("of what waited: received %d, sent %d", got, sent)
	}
	if c.capture(t, "in between", 30*time.Second) == nil {
		t.Error("what waited did not leave")
	}
	leaveBy(b, c)
	leaveBy(c, b)
	if next.MemberFD(a.near.Index) >= 0 || old.Same() {
		t.Error("the member that left has a socket, or nobody has touched the rings")
	}
	enlist(t, st, next, a)
	leaveBy(a, b)
	leaveBy(b, a)
	if acc := next.Account(); len(acc.Ports) != 3 {
		t.Errorf("%d sockets, want the place taken of the one that left", len(acc.Ports))
	}
}
