package afxdp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/packet"
)

// bonds are two ports: a bond of two members and an interface by itself, on the sockets 0, 1 and 2.
func bonds(first, second bool) []TrunkPort {
	member := func(index int, sends bool) Member { return Member{Interface{Index: index}, sends} }
	return []TrunkPort{
		{Name: "bond0", Policy: HashLayer34, Members: []Member{member(11, first), member(12, second)}},
		{Name: "eth9", Members: []Member{member(13, true)}},
	}
}

func newFakeTrunk(t testing.TB) (*Trunk, []*fakeKernel) {
	t.Helper()
	s, ks := newFakeSet(t, Options{Frames: 1024, RingSize: 256, Debug: true}, 3, 0, rand.New(rand.NewPCG(1, 2)))
	for range ks {
		s.info = append(s.info, PortInfo{})
	}
	s.opts.Interfaces = []Interface{{Index: 11}, {Index: 12}, {Index: 13}}
	return newTrunk(s, bonds(true, true)), ks
}

// udpFrame writes a frame of a flow into f.
func udpFrame(f *packet.Frame, flow uint16) {
	f.Resize(14 + 20 + 8)
	b := f.Bytes()
	clear(b)
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	b[14], b[23] = 0x45, protoUDP
	copy(b[26:], netip.MustParseAddr("192.0.2.1").AsSlice())
	copy(b[30:], netip.MustParseAddr("192.0.2.2").AsSlice())
	binary.BigEndian.PutUint16(b[34:], flow)
}

// sendFlows sends a frame of each flow to a port and returns how many each socket got.
func sendFlows(t *testing.T, tr *Trunk, ks []*fakeKernel, port uint8, flows int) (got []int) {
	t.Helper()
	frames := make([]packet.Frame, flows)
	if n := tr.Alloc(frames); n != flows {
		t.Fatalf("%d frames, want %d", n, flows)
	}
	for i := range frames {
		udpFrame(&frames[i], uint16(i))
		frames[i].Port = port
	}
	tr.Send(frames)
	for _, k := range ks {
		got = append(got, len(k.sent))
		k.complete(1000)
		k.sent = nil
	}
	tr.Recv(nil)
	return got
}

func TestABondSendsEachFlowOnOneOfTheMembersThatAreUp(t *testing.T) {
	tr, ks := newFakeTrunk(t)
	both := sendFlows(t, tr, ks, 0, 100)
	if both[0]+both[1] != 100 || both[0] < 20 || both[1] < 20 || both[2] != 0 {
		t.Errorf("100 flows went to the sockets as %v", both)
	}
	if again := sendFlows(t, tr, ks, 0, 100); again[0] != both[0] {
		t.Errorf("the same flows went as %v, before as %v", again, both)
	}
	tr.Follow(bonds(false, true))
	if got := sendFlows(t, tr, ks, 0, 100); got[1] != 100 {
		t.Errorf("with the first member down, 100 flows went as %v", got)
	}
	if got := sendFlows(t, tr, ks, 1, 10); got[2] != 10 {
		t.Errorf("10 frames for the other port went as %v", got)
	}
	tr.Follow(bonds(false, false))
	if got := sendFlows(t, tr, ks, 0, 10); got[0]+got[1]+got[2] != 0 {
		t.Errorf("with no member up, 10 frames went as %v", got)
	}
	if got := sendFlows(t, tr, ks, 2, 10); got[0]+got[1]+got[2] != 0 {
		t.Errorf("for a port that is none, 10 frames went as %v", got)
	}
	if err := tr.Account().Check(); err != nil {
		t.Error(err)
	}
}

func TestFramesOfAllMembersAreTheBonds(t *testing.T) {
	tr, ks := newFakeTrunk(t)
	for i, want := range []uint8{0, 0, 1} {
		frames := make([]packet.Frame, 8)
		tr.Recv(frames) // fills the rings
		ks[i].deliver(3)
		n := tr.Recv(frames)
		for _, f := range frames[:n] {
			if f.Port != want {
				t.Errorf("a frame from socket %d has port %d, want %d", i, f.Port, want)
			}
		}
		if n != 3 {
			t.Errorf("%d frames from socket %d, want 3", n, i)
		}
		tr.Release(frames[:n])
	}
	if st := tr.Stats(); len(st) != 2 || st[0].Name != "bond0" || st[0].RX != 6 || st[1].RX != 3 {
		t.Errorf("%+v", st)
	}
}

func TestABondSendsWithoutAllocating(t *testing.T) {
	tr, _ := newFakeTrunk(t)
	frames := make([]packet.Frame, 32)
	plan := &(*tr.plan.Load())[0]
	testutil.AllocFree(t, func() {
		n := tr.Alloc(frames)
		for i := range frames[:n] {
			udpFrame(&frames[i], uint16(i))
			plan.choose(&frames[i])
			frames[i].Resize(0) // the fake kernel allocates: it gets none of them
		}
		tr.Send(frames[:n])
		tr.Recv(frames[:0])
	})
}

func TestWhatAPolicyLeavesOutDoesNotMoveAFlow(t *testing.T) {
	var f packet.Frame
	f.Buf = make([]byte, 2048)
	hash := func(p HashPolicy, change func(b []byte)) uint32 {
		udpFrame(&f, 7)
		change(f.Bytes())
		return flowHash(f.Bytes(), p)
	}
	none := func([]byte) {}
	port := func(b []byte) { b[35]++ }
	addr := func(b []byte) { b[29]++ }
	mac := func(b []byte) { b[11]++ }
	ttl := func(b []byte) { b[22]++ }
	piece := func(b []byte) { b[20], b[35] = 0x20, b[35]+1 } // more fragments follow: ports are not looked at
	whole := func(b []byte) { b[20] = 0x20 }
	for _, c := range []struct {
		name    string
		policy  HashPolicy
		a, b    func([]byte)
		differs bool
	}{
		{"ports, layer 3+4", HashLayer34, none, port, true},
		{"ports, layer 2+3", HashLayer23, none, port, false},
		{"addresses, layer 2+3", HashLayer23, none, addr, true},
		{"addresses, layer 2", HashLayer2, none, addr, false},
		{"MAC addresses, layer 2", HashLayer2, none, mac, true},
		{"MAC addresses, layer 3+4", HashLayer34, none, mac, false},
		{"TTL, layer 3+4", HashLayer34, none, ttl, false},
		{"ports of fragments", HashLayer34, whole, piece, false},
		{"source MAC address", HashVLANSource, none, mac, true},
		{"addresses, source MAC address", HashVLANSource, none, addr, false},
	} {
		if got := hash(c.policy, c.a) != hash(c.policy, c.b); got != c.differs {
			t.Errorf("%s: differs %v, want %v", c.name, got, c.differs)
		}
	}
}

func FuzzFlowHash(f *testing.F) {
	var frame packet.Frame
	frame.Buf = make([]byte, 2048)
	udpFrame(&frame, 7)
	f.Add(frame.Bytes(), uint8(1))
	f.Add([]byte{12: 0x81, 15: 100, 16: 0x08}, uint8(5))
	f.Add([]byte{12: 0x86, 13: 0xdd, 20: protoIPIP, 60: 0}, uint8(4))
	f.Fuzz(func(t *testing.T, b []byte, policy uint8) {
		again := append(bytes.Clone(b), 1, 2, 3)[:len(b)] // with other bytes behind it
		if flowHash(b, HashPolicy(policy)) != flowHash(again, HashPolicy(policy)) {
			t.Error("a frame hashes in two ways")
		}
		if !bytes.Equal(b, again) {
			t.Error("hashing changes the frame")
		}
	})
}
