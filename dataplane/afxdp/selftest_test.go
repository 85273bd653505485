package afxdp

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ulvs/packet"
)

// granted is a Set of two ports that were granted zero-copy.
func granted(t *testing.T) (*Set, []*fakeKernel) {
	t.Helper()
	s, ks := newFakeSet(t, Options{Frames: 1024, RingSize: 128, Debug: true}, 2, 0, rand.New(rand.NewPCG(1, 2)))
	for i := range s.ports {
		s.ports[i].refill(false)
		s.info = append(s.info, PortInfo{ZeroCopy: true})
		s.opts.Interfaces[i] = Interface{Name: []string{"eth0", "eth1"}[i], Index: 2 + i}
	}
	return s, ks
}

var testMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}

// linked says that every link is up.
func linked(Interface) (net.HardwareAddr, bool) { return testMAC, true }

// looks lets the drivers do their work between so many looks.
func looks(n int, ks []*fakeKernel) func() bool {
	return func() bool {
		for _, k := range ks {
			k.complete(1)
		}
		n--
		return n > 0
	}
}

func TestZeroCopyThatWorksPassesItsTest(t *testing.T) {
	s, ks := granted(t)
	if err := s.selfTest(linked, looks(100, ks)); err != nil {
		t.Error(err)
	}
	for i, k := range ks {
		if len(k.sent) != 1 || k.sent[0].Len != 60 {
			t.Fatalf("port %d sent %v, want one frame", i, k.sent)
		}
		at, _ := s.umem.index(k.sent[0].Addr)
		b := s.umem.chunk(at)[Headroom:]
		if string(b[:6]) != string(testMAC) || string(b[6:12]) != string(testMAC) ||
			binary.BigEndian.Uint16(b[12:]) != etherTypeTest {
			t.Errorf("port %d sent % x, want a frame to itself", i, b[:14])
		}
	}
	if a := s.Account(); a.Check() != nil || a.Lent != 0 || a.Ports[0].TX != 0 {
		t.Errorf("afterwards %+v: %v", a, a.Check())
	}
}

func TestZeroCopyThatMovesNothingIsFound(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(ks []*fakeKernel) []*fakeKernel // and who completes
	}{
		{"nothing is sent", "eth1 has not sent a frame", func(ks []*fakeKernel) []*fakeKernel {
			ks[1].stuck, ks[1].errno = true, unix.EAGAIN
			return ks
		}},
		{"nothing comes back", "eth0 has not sent a frame", func(ks []*fakeKernel) []*fakeKernel { return ks[1:] }},
		{"nothing is filled", "eth1 has taken no chunk", func(ks []*fakeKernel) []*fakeKernel {
			ks[1].unfilled = true
			return ks
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			s, ks := granted(t)
			err := s.selfTest(linked, looks(100, c.spoil(ks)))
			if !errors.Is(err, errSelfTest) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestZeroCopyIsNotTriedOutWithoutALink(t *testing.T) {
	s, ks := granted(t)
	ks[1].stuck, ks[1].unfilled = true, true
	err := s.selfTest(func(i Interface) (net.HardwareAddr, bool) { return testMAC, i.Name == "eth0" }, looks(100, ks))
	if err != nil || len(ks[0].sent) != 1 || len(ks[1].sent) != 0 {
		t.Errorf("%v; sent %d and %d frames, want 1 and 0", err, len(ks[0].sent), len(ks[1].sent))
	}
}

func TestWhoInsistsOnZeroCopyGetsTheError(t *testing.T) {
	s, _ := granted(t)
	s.opts.Mode = ModeZeroCopy
	if err := s.tryOut(errSelfTest); !errors.Is(err, errSelfTest) {
		t.Errorf("got %v", err)
	}
}

func TestWhatFailsItsTestCopiesAndSaysWhy(t *testing.T) {
	enterNamespace(t)
	w := newWire(t, "a", 1)
	st := attachAll(t, w)
	q := backends()[0].openOn(t, st, Options{}, w).(*Set)
	if err := q.tryOut(errSelfTest); err != nil { // on real sockets, which copied all the time
		t.Fatal(err)
	}
	if info := q.Info(); len(info) != 1 || info[0].ZeroCopy || info[0].Fallback != errSelfTest.Error() {
		t.Errorf("%+v", info)
	}
	if err := st.Register(w.near.Index, 0, q.FD(0)); err != nil {
		t.Fatal(err)
	}
	w.inject(t, w.udpFrame(testVIP, 1000, 80, "after the fallback"))
	frames := make([]packet.Frame, 1)
	recvOne(t, q, frames)
	q.Release(frames)
	if err := q.Account().Check(); err != nil {
		t.Error(err)
	}
}
