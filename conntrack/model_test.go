package conntrack

import (
	"math/rand/v2"
	"slices"
	"testing"

	"ulvs/packet"
)

// modelConn is a conn in the model.
type modelConn struct {
	spec Spec
	ref  Ref
}

// model is an obviously correct table: a map of both keys, and who had a reply key before.
type model struct {
	byKey   map[Key]*modelConn   // both directions
	waiting map[Key][]*modelConn // NAT conns by reply key, the newest last
	list    []*modelConn
	collide uint64
}

func newModel() *model {
	return &model{byKey: map[Key]*modelConn{}, waiting: map[Key][]*modelConn{}}
}

func (m *model) insert(s Spec, r Ref) *modelConn {
	c := &modelConn{spec: s, ref: r}
	m.byKey[s.Key] = c
	if s.Flags.twoKeys() {
		reply := s.replyKey()
		if have := m.byKey[reply]; have == nil || have.spec.Key != reply {
			m.byKey[reply] = c
		}
		if len(m.waiting[reply]) > 0 {
			m.collide++
		}
		m.waiting[reply] = append(m.waiting[reply], c)
	}
	m.list = append(m.list, c)
	return c
}

func (m *model) remove(i int) {
	c := m.list[i]
	delete(m.byKey, c.spec.Key)
	if c.spec.Flags.twoKeys() {
		reply := c.spec.replyKey()
		left := slices.DeleteFunc(m.waiting[reply], func(o *modelConn) bool { return o == c })
		m.waiting[reply] = left
		if len(left) > 0 {
			m.byKey[reply] = left[len(left)-1]
		} else {
			delete(m.byKey, reply)
		}
	}
	m.list[i] = m.list[len(m.list)-1]
	m.list = m.list[:len(m.list)-1]
}

// randomSpec draws from few enough keys that they meet, and servers few enough that
// reply keys do.
func randomSpec(rng *rand.Rand, keys int) Spec {
	n := rng.Uint64N(uint64(keys))
	s := flow(n, rng.IntN(3) == 0, [3]Flags{0, FlagNAT, FlagNAT | FlagTemplate}[rng.IntN(3)])
	if rng.IntN(3) == 0 {
		s.L4 ^= rng.Uint64N(4) << 20 // the same client on other services with the same real server
	}
	return s
}

// ref is what a lookup of k must return.
func (m *model) ref(k Key) Ref {
	c := m.byKey[k]
	switch {
	case c == nil:
		return 0
	case c.spec.Key == k:
		return c.ref
	}
	return c.ref | refReply
}

func TestRandomOperationsAgreeWithAMap(t *testing.T) {
	rng := seeded(t)
	table := newTable(t, Options{Bits: MinBits, Heap: true, Seed: rng.Uint64() | 1})
	h := table.Worker(0)
	m := newModel()
	steps := 400_000
	if testing.Short() || raceEnabled {
		steps = 60_000
	}
	for step := range steps {
		// Waves: mostly inserts, then mostly deletes, so that it grows and empties.
		insert := 3
		if step/(steps/6)%2 == 1 {
			insert = 1
		}
		switch op := rng.IntN(8); {
		case op < insert:
			s := randomSpec(rng, 30_000)
			r, res := h.Insert(&s, 0)
			if have := m.ref(s.Key); have != 0 {
				if res != Exists || r != have {
					t.Fatalf("step %d: insert of a present key: %v %#x, want exists %#x", step, res, r, have)
				}
			} else if m.insert(s, r); res != Inserted || table.Entry(r).Flags()&FlagNoReply != 0 {
				t.Fatalf("step %d: insert: %v, flags %b", step, res, table.Entry(r).Flags())
			}
		case op < 4 && len(m.list) > 0:
			i := rng.IntN(len(m.list))
			if !h.Delete(m.list[i].ref) || h.Delete(m.list[i].ref) {
				t.Fatalf("step %d: a conn is deleted once and only once", step)
			}
			m.remove(i)
		default:
			checkKey(t, h, m, rng)
		}
		if step%32 == 0 {
			h.Quiesce()
		}
	}
	h.Quiesce()
	checkAll(t, table, h, m)
}

// checkKey compares one lookup, present or not, with the model.
func checkKey(t *testing.T, h *Handle, m *model, rng *rand.Rand) {
	t.Helper()
	s := randomSpec(rng, 30_000)
	k := s.Key
	if rng.IntN(2) == 0 && len(m.list) > 0 {
		s = m.list[rng.IntN(len(m.list))].spec
		k = s.Key
	}
	if rng.IntN(2) == 0 {
		k = s.replyKey()
	}
	if got, want := lookup(t, h, &k), m.ref(k); got != want {
		t.Fatalf("lookup %+v: %#x, want %#x", k, got, want)
	}
}

// checkAll compares everything: batches, contents, the walk, the counts.
func checkAll(t *testing.T, table *Table, h *Handle, m *model) {
	t.Helper()
	for _, v6 := range []bool{false, true} {
		var ps []packet.Parsed
		var want []Ref
		for k := range m.byKey {
			if k.V6 == v6 {
				ps, want = append(ps, frame(&k)), append(want, m.ref(k))
			}
		}
		got := make([]Ref, len(ps))
		h.Find(ps, got)
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("batch: %#x, want %#x", got[i], want[i])
			}
		}
	}
	walked := map[Ref]bool{}
	table.Walk(func(r Ref, _ *Entry, _ Info) bool { walked[r] = true; return true })
	for _, c := range m.list {
		if !walked[c.ref] {
			t.Errorf("Walk left out %+v", c.spec.Key)
		}
	}
	s := table.Stats()
	if len(walked) != len(m.list) || s.Conns != len(m.list) || s.ReplyCollisions != m.collide {
		t.Errorf("walked %d, counted %d with %d collisions; want %d with %d",
			len(walked), s.Conns, s.ReplyCollisions, len(m.list), m.collide)
	}
	if s.Grown == 0 {
		t.Error("the index never grew")
	}
	checkIndex(t, table)
}

// checkIndex checks what must hold of a table nobody uses: slots are where their hash belongs,
// and overflow buckets are in one chain each or free.
func checkIndex(t *testing.T, table *Table) {
	t.Helper()
	for _, p := range []*part{&table.v4, &table.v6} {
		depth, _ := p.level()
		linked, over := 0, 0
		for b := range p.buckets[:min(2<<depth, len(p.buckets))] {
			bk := &p.buckets[b]
			head := bk.head.Load()
			if head&(headLock|headSplit) != 0 {
				t.Fatalf("bucket %d is left locked: %#x", b, head)
			}
			for at := bk; ; {
				for i := range at.slot {
					if s := at.slot[i].Load(); s != 0 {
						linked++
						if p.home(uint64(b), head, s) != uint64(b) {
							t.Fatalf("a slot is in the wrong bucket %d", b)
						}
					}
				}
				o := next(at, bk, head)
				if o == 0 {
					break
				}
				over++
				at = &p.pool.buckets[o]
			}
		}
		want := 0
		for i := uint32(1); i < p.high.Load(); i++ {
			if e := p.entry(i); e.Live() && e.Flags()&FlagUnlinked == 0 {
				want++
				if f := e.Flags(); f.twoKeys() && f&FlagNoReply == 0 {
					want++
				}
			}
		}
		if linked != want {
			t.Errorf("%d slots are linked, want %d", linked, want)
		}
		if spare := len(table.handles) * cacheSize; over > int(p.pool.inUse.Load()) ||
			over+spare < int(p.pool.inUse.Load()) {
			t.Errorf("%d overflow buckets in chains, %d handed out", over, p.pool.inUse.Load())
		}
	}
}
