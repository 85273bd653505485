package conntrack

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"ulvs/packet"
)

// rounds scales concurrent tests: fewer under the race detector and -short.
func rounds(n int) int {
	if raceEnabled || testing.Short() {
		return max(1, n/5)
	}
	return n
}

// ownerSpec is the n-th conn of an owner. Aux tells which it is, so that anybody can check an
// entry against the key it was found by.
func ownerSpec(owner, n int) Spec {
	id := owner<<16 | n
	s := flow(uint64(id), n%3 == 0, [2]Flags{0, FlagNAT}[n%2])
	s.Aux = uint32(id)
	if n%5 == 0 {
		s.Timeout = 1 // the sweeper may take these once time 1 has come
	} else {
		s.Timeout = 1 << 30
	}
	return s
}

const (
	stressOwners  = 3
	stressReaders = 2
	stressKeys    = 6000 // per owner
)

// stress is several workers on one table: owners who insert and delete conns of their own and know
// exactly what must be there, readers of everything, a sweeper, a walker, and growth from 64 buckets.
type stress struct {
	*testing.T
	table *Table
	stop  atomic.Bool
	wg    sync.WaitGroup
	swept atomic.Int64
}

func TestSeveralWorkersKeepTheTableConsistent(t *testing.T) {
	rng := seeded(t)
	const workers = stressOwners + stressReaders + 1
	s := &stress{T: t}
	s.table = newTable(t, Options{
		Bits: MinBits, Heap: true, Workers: workers, Seed: rng.Uint64() | 1,
		entries: 1 << 20, // more goroutines than processors: epochs are long, removed conns pile up
	})
	for i := range stressReaders {
		h, seed := s.table.Worker(stressOwners+i), rng.Uint64()
		s.wg.Go(func() { s.runReader(h, rand.New(rand.NewPCG(seed, 2))) })
	}
	sweeper := s.table.Worker(workers - 1)
	s.wg.Go(func() { s.runSweeper(sweeper) })
	s.wg.Go(s.runWalker)
	var owners sync.WaitGroup
	for i := range stressOwners {
		h, seed := s.table.Worker(i), rng.Uint64()
		owners.Go(func() { s.runOwner(h, i, rand.New(rand.NewPCG(seed, 3))) })
	}
	owners.Wait()
	s.stop.Store(true)
	s.wg.Wait()
	checkIndex(t, s.table)
	st := s.table.Stats()
	t.Logf("%+v swept %d", st, s.swept.Load())
	if st.Grown == 0 || s.swept.Load() == 0 || st.Conns != 0 {
		t.Error("want growth, sweeping, and nothing left")
	}
}

func (s *stress) runOwner(h *Handle, owner int, rng *rand.Rand) {
	defer h.Park()
	have := map[int]Ref{}
	for op := range rounds(300_000) {
		if s.Failed() {
			return
		}
		s.ownerOp(h, ownerSpec(owner, rng.IntN(stressKeys)), have, rng.IntN(4))
		if op%64 == 0 {
			h.Quiesce()
		}
	}
	for n := range have {
		// Looked up again: a swept conn's Ref may be another's by now.
		spec := ownerSpec(owner, n)
		if !h.Delete(h.FindKey(&spec.Key)) && n%5 != 0 {
			s.Errorf("conn %d of owner %d was gone at the end", n, owner)
		}
		h.Quiesce()
	}
}

// ownerOp does one operation and compares it with what the owner knows.
func (s *stress) ownerOp(h *Handle, spec Spec, have map[int]Ref, op int) {
	n := int(spec.Aux & 0xffff)
	mortal := n%5 == 0
	r, present := have[n]
	got := h.FindKey(&spec.Key)
	if got != 0 && (!present || got != r) || got == 0 && present && !mortal {
		s.Errorf("conn %#x: found %#x, want %#x (present %v)", spec.Aux, got, r, present)
		return
	}
	switch {
	case got == 0 && op != 3:
		delete(have, n)
		nr, res := h.Insert(&spec, 0)
		if res != Inserted {
			s.Errorf("insert of absent conn %#x: %v", spec.Aux, res)
			return
		}
		have[n] = nr
	case got == 0:
		delete(have, n)
	case op == 0:
		if !h.Delete(got) && !mortal {
			s.Errorf("conn %#x was deleted by somebody else", spec.Aux)
		}
		delete(have, n)
	case op == 1:
		if nr, res := h.Insert(&spec, 0); res != Exists && !mortal {
			s.Errorf("second insert of conn %#x: %#x %v", spec.Aux, nr, res)
		} else if res == Inserted {
			have[n] = nr
		}
	default:
		s.ownerChange(h.Entry(got), mortal)
	}
}

func (s *stress) ownerChange(e *Entry, mortal bool) {
	from := e.State()
	to := NextTCP(Input, from, 16)
	if !e.SetState(from, to) && !mortal {
		s.Error("nobody else changes the state of an owner's conn")
	}
	e.SetAux(e.Aux())
	if !mortal {
		e.Touch(Tick(from), 1<<30)
	}
}

// runReader looks anything up, and checks that what it found is what it asked for, and still is when
// the batch ends, whatever others did meanwhile.
func (s *stress) runReader(h *Handle, rng *rand.Rand) {
	defer h.Park()
	var ps [maxBatch]packet.Parsed
	var refs [maxBatch]Ref
	var ids [maxBatch]uint32
	for !s.stop.Load() {
		for i, v6 := 0, rng.IntN(2) == 0; i < maxBatch; {
			spec := ownerSpec(rng.IntN(stressOwners), rng.IntN(stressKeys))
			if spec.V6 != v6 {
				continue
			}
			k := spec.Key
			if spec.Flags.twoKeys() && rng.IntN(2) == 0 {
				k = spec.replyKey()
			}
			ps[i], ids[i] = frame(&k), spec.Aux
			i++
		}
		h.Find(ps[:], refs[:])
		for range 3 {
			s.checkFound(h, refs[:], ids[:])
		}
		h.Quiesce()
	}
}

func (s *stress) checkFound(h *Handle, refs []Ref, ids []uint32) {
	for i, r := range refs {
		if r == 0 {
			continue
		}
		e := h.Entry(r)
		spec := ownerSpec(int(ids[i]>>16), int(ids[i]&0xffff))
		if e.Aux() != ids[i] || e.Dest() != spec.Dest || e.match(&spec.Key) != matchForward {
			s.Errorf("asked for %#x, hold %#x", ids[i], e.Aux())
			s.stop.Store(true)
			return
		}
	}
}

// match compares an entry of either family.
func (e *Entry) match(k *Key) match {
	if k.V6 {
		return e.wide().match6(&k.Addr, k.L4)
	}
	return e.match4(k.Addr[0], k.L4)
}

func (s *stress) runSweeper(h *Handle) {
	defer h.Park()
	for !s.stop.Load() {
		h.Advance(1, 256, s)
		h.Quiesce()
	}
}

// Expired implements Sweeper.
func (s *stress) Expired(_ Ref, e *Entry) bool {
	if e.Aux()&0xffff%5 != 0 {
		s.Errorf("conn %#x expired before its time", e.Aux())
	}
	return true
}

// Gone implements Goner.
func (s *stress) Gone(_ Ref, e *Entry) { s.swept.Add(1) }

func (s *stress) runWalker() {
	for !s.stop.Load() {
		s.table.Walk(func(_ Ref, e *Entry, i Info) bool {
			spec := ownerSpec(int(i.Aux>>16), int(i.Aux&0xffff))
			if e.match(&spec.Key) != matchForward || i.DestID != spec.Dest {
				s.Errorf("Walk shows %#x with another's key", i.Aux)
			}
			return !s.stop.Load()
		})
	}
}
