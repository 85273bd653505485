package afxdp

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"ulvs/packet"
)

func TestNoChunkIsEverLostOrInTwoPlaces(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		ports := 1 + r.IntN(3)
		// Start just below the wrap of the 32-bit indexes.
		s, ks := newFakeSet(t, Options{Frames: 1024, RingSize: 64, Debug: true}, ports, -uint32(r.IntN(200)), r)
		var w frameSet
		for op := range 3000 {
			randomOp(s, ks, &w, r)
			a := s.Account()
			for i, p := range a.Ports {
				if s.ports[i].inRX != p.RX || s.ports[i].inTX != p.TX {
					t.Fatalf("seed %d, operation %d: port %d counts %d, %d, has %d, %d", seed, op, i,
						s.ports[i].inRX, s.ports[i].inTX, p.RX, p.TX)
				}
			}
			if err := a.Check(); err != nil || a.Lent != len(w.held) {
				t.Fatalf("seed %d, operation %d: lent %d, held %d: %v", seed, op, a.Lent, len(w.held), err)
			}
		}
		for i, k := range ks {
			if err := ownedOnce(s, k, uint8(i)); err != "" {
				t.Fatalf("seed %d: %s", seed, err)
			}
		}
	}
}

// randomOp does one thing a worker or the kernel may do.
func randomOp(s *Set, ks []*fakeKernel, w *frameSet, r *rand.Rand) {
	k := ks[r.IntN(len(ks))]
	frames := make([]packet.Frame, 1+r.IntN(100))
	switch r.IntN(8) {
	case 0, 1:
		w.held = append(w.held, frames[:s.Recv(frames)]...)
	case 2:
		w.held = append(w.held, frames[:s.Alloc(frames)]...)
	case 3, 4:
		out := w.take(len(frames), r)
		for i := range out {
			out[i].Port = uint8(r.IntN(len(ks) + 1)) // one of them does not exist
			out[i].Resize(r.IntN(1500))
		}
		s.Send(out)
	case 5:
		s.Release(w.take(len(frames), r))
	case 6:
		k.deliver(r.IntN(80))
		k.complete(r.IntN(80))
	case 7:
		k.stuck = r.IntN(3) == 0
		k.perKick = r.IntN(40)
		k.errno = []unix.Errno{0, unix.EAGAIN, unix.EBUSY, unix.ENOBUFS, unix.ENETDOWN, unix.ENXIO}[r.IntN(6)]
	}
}

// ownedOnce checks that what the kernel's side holds is what the port thinks it has.
func ownedOnce(s *Set, k *fakeKernel, id uint8) string {
	seen := map[uint64]bool{}
	all := append(append([]uint64(nil), k.filled...), k.sending...)
	for _, addr := range all {
		i, _ := s.umem.index(addr)
		if seen[uint64(i)] {
			return "the kernel has a chunk twice"
		}
		seen[uint64(i)] = true
		if o := s.umem.owner[i]; o != rxOwner(id) && o != txOwner(id) {
			return "the kernel has a chunk that the port does not know of"
		}
	}
	return ""
}

func TestFramesGoThroughUnchangedAndInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s, ks := newFakeSet(t, Options{}, 2, 0, r)
	frames := make([]packet.Frame, 64)
	s.Recv(frames) // fills the rings
	ks[0].deliver(50)
	n := s.Recv(frames)
	if n != 50 {
		t.Fatalf("received %d", n)
	}
	for i := range frames[:n] {
		if frames[i].Port != 0 || frames[i].Off != Headroom || frames[i].Len != 60 {
			t.Fatalf("frame %d: %+v", i, frames[i])
		}
		frames[i].Port = 1
		frames[i].Prepend(i)
	}
	if s.Send(frames[:n]) != n || len(ks[1].sent) != n {
		t.Fatalf("sent %d", len(ks[1].sent))
	}
	for i, d := range ks[1].sent {
		if want := frames[i].Addr + Headroom - uint64(i); d.Addr != want || d.Len != uint32(60+i) {
			t.Errorf("frame %d sent as %+v, want address %d", i, d, want)
		}
	}
}

func TestPortsTakeTurnsInBeingFirst(t *testing.T) {
	s, ks := newFakeSet(t, Options{}, 3, 0, rand.New(rand.NewPCG(1, 1)))
	frames := make([]packet.Frame, 10)
	s.Recv(frames)
	for _, k := range ks {
		k.deliver(100)
	}
	var got [3]int
	for range 9 {
		n := s.Recv(frames)
		for i := range frames[:n] {
			got[frames[i].Port]++
		}
		s.Release(frames[:n])
	}
	if got != [3]int{30, 30, 30} {
		t.Errorf("got %v frames by port", got)
	}
}

func TestASmallBudgetIsMadeUpForByMoreKicks(t *testing.T) {
	s, ks := newFakeSet(t, Options{}, 1, 0, rand.New(rand.NewPCG(1, 1)))
	ks[0].perKick = kernelTXBudget
	frames := make([]packet.Frame, 200)
	n := s.Alloc(frames)
	for i := range frames {
		frames[i].Len = 60
	}
	if s.Send(frames[:n]) != 200 || len(ks[0].sent) != 200 {
		t.Errorf("the kernel took %d", len(ks[0].sent))
	}
	if st := s.Stats()[0]; st.Kicks != 7 || st.KickAgain != 6 || st.TX != 200 {
		t.Errorf("stats %+v", st)
	}
}

func TestWhatAStuckPortHoldsGoesLater(t *testing.T) {
	s, ks := newFakeSet(t, Options{RingSize: 64, Frames: 1024}, 1, 0, rand.New(rand.NewPCG(1, 1)))
	ks[0].stuck, ks[0].errno = true, unix.EAGAIN
	frames := make([]packet.Frame, 100)
	n := s.Alloc(frames)
	for i := range frames {
		frames[i].Len = 60
	}
	if sent := s.Send(frames[:n]); sent != 64 {
		t.Errorf("the ring took %d", sent)
	}
	if st := s.Stats()[0]; st.TXFull != 36 || st.Kicks > 3 {
		t.Errorf("stats %+v", st)
	}
	ks[0].stuck, ks[0].errno = false, 0
	s.Recv(frames)
	if len(ks[0].sent) != 64 {
		t.Errorf("the kernel took %d", len(ks[0].sent))
	}
	if err := s.Account().Check(); err != nil {
		t.Error(err)
	}
}

func TestADeadPortGivesItsChunksBack(t *testing.T) {
	s, ks := newFakeSet(t, Options{}, 2, 0, rand.New(rand.NewPCG(1, 1)))
	frames := make([]packet.Frame, 10)
	s.Recv(frames)
	n := s.Alloc(frames)
	for i := range frames {
		frames[i].Len, frames[i].Port = 60, 1
	}
	ks[1].stuck, ks[1].errno, ks[1].gone = true, unix.ENXIO, unix.ENETDOWN
	s.Send(frames[:n])
	a := s.Account()
	if a.Ports[1] != (PortAccount{}) || a.Check() != nil || !s.Stats()[1].Down {
		t.Errorf("account %+v", a)
	}
	n = s.Alloc(frames)
	for i := range frames[:n] {
		frames[i].Len, frames[i].Port = 60, 1
	}
	if s.Send(frames[:n]) != 0 {
		t.Error("a dead port sends")
	}
}

func TestADriverThatIsSetUpAnewKeepsItsChunks(t *testing.T) {
	s, ks := newFakeSet(t, Options{}, 1, 0, rand.New(rand.NewPCG(1, 1)))
	frames := make([]packet.Frame, 10)
	s.Recv(frames)
	n := s.Alloc(frames)
	for i := range frames {
		frames[i].Len = 60
	}
	ks[0].stuck, ks[0].errno = true, unix.ENXIO // but no error on the socket
	s.Send(frames[:n])
	if a := s.Account(); a.Ports[0].TX != n || a.Ports[0].RX == 0 || s.Stats()[0].Down {
		t.Errorf("account %+v", a)
	}
	ks[0].stuck, ks[0].errno = false, 0
	s.Recv(frames)
	if len(ks[0].sent) != n {
		t.Errorf("%d frames went later, want %d", len(ks[0].sent), n)
	}
}

func TestGivingAFrameBackTwiceIsCaught(t *testing.T) {
	s, _ := newFakeSet(t, Options{}, 1, 0, rand.New(rand.NewPCG(1, 1)))
	frames := make([]packet.Frame, 2)
	s.Alloc(frames)
	s.Release(frames)
	s.Release(frames[:1])
	s.Send([]packet.Frame{{Addr: 1 << 60, Len: 60}})
	if got := s.Stats()[0].Misused; got != 2 {
		t.Errorf("counted %d, want 2", got)
	}
	if err := s.Account().Check(); err != nil {
		t.Error(err)
	}
	s.opts.Debug = true
	defer func() {
		if recover() == nil {
			t.Error("no panic with Debug")
		}
	}()
	s.Release(frames[:1])
}

func TestNonsenseFromTheKernelIsCountedAndIgnored(t *testing.T) {
	s, ks := newFakeSet(t, Options{}, 1, 0, rand.New(rand.NewPCG(1, 1)))
	frames := make([]packet.Frame, 64)
	s.Recv(frames)
	owned := kernelTake(&ks[0].fill, 1)[0]
	free := uint64(s.umem.free[0]) << s.umem.shift
	for _, d := range []unix.XDPDesc{
		{Addr: 1 << 40, Len: 60}, {Addr: free, Len: 60}, {Addr: owned + 2000, Len: 60}, {Addr: ^uint64(0), Len: 1},
	} {
		kernelPut(&ks[0].rx, d)
	}
	kernelPut(&ks[0].completion, uint64(1<<50))
	s.ports[0].inTX = 1
	if n := s.Recv(frames); n != 0 {
		t.Errorf("received %d", n)
	}
	if got := s.Stats()[0].BadDescs; got != 5 {
		t.Errorf("counted %d, want 5", got)
	}
	*ks[0].rx.prod = 0x7fffffff // an index far beyond the ring
	s.Recv(frames)
}

func TestRecvSendReleaseAllocAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s, ks := newFakeSet(t, Options{}, 2, 0, rand.New(rand.NewPCG(1, 1)))
	for _, k := range ks {
		k.stuck = true // breathe plays the kernel: kickTX allocates
	}
	frames, made := make([]packet.Frame, 64), make([]packet.Frame, 4)
	s.Recv(frames)
	allocs := testing.AllocsPerRun(200, func() { breathe(s, ks, frames, made) })
	if allocs != 0 {
		t.Errorf("%v allocations per batch", allocs)
	}
}

// breathe is one batch of a worker that sends half, drops half and makes some.
func breathe(s *Set, ks []*fakeKernel, frames, made []packet.Frame) {
	for i := range ks[0].fill.used() {
		if i >= 64 {
			break
		}
		cons := *ks[0].fill.cons
		addr := ks[0].fill.entries[cons&ks[0].fill.mask]
		*ks[0].fill.cons++
		kernelPut(&ks[0].rx, unix.XDPDesc{Addr: addr + Headroom, Len: 60})
	}
	n := s.Recv(frames)
	for i := range frames[:n] {
		frames[i].Port = uint8(i & 1)
	}
	s.Send(frames[:n/2])
	s.Release(frames[n/2 : n])
	s.Release(made[:s.Alloc(made)])
	for _, k := range ks {
		for cons := *k.tx.cons; cons != *k.tx.prod; cons++ {
			kernelPut(&k.completion, k.tx.entries[cons&k.tx.mask].Addr)
			*k.tx.cons = cons + 1
		}
	}
}

func BenchmarkBatchOnAFakeKernel(b *testing.B) {
	s, ks := newFakeSet(b, Options{}, 2, 0, rand.New(rand.NewPCG(1, 1)))
	for _, k := range ks {
		k.stuck = true // breathe plays the kernel: kickTX allocates
	}
	frames, made := make([]packet.Frame, 64), make([]packet.Frame, 4)
	s.Recv(frames)
	for b.Loop() {
		breathe(s, ks, frames, made)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/frame")
}
