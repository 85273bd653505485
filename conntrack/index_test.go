package conntrack

import (
	"testing"

	"ulvs/packet"
)

// TestTwoSlotsWithTheSameTagAreToldApart looks for keys whose 36 hash bits are the same
// (conntab.md trap 2: an index made of both is out of range).
func TestTwoSlotsWithTheSameTagAreToldApart(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true, Seed: 7})
	h := table.Worker(0)
	tags := map[uint64]uint64{}
	pairs := 0
	for n := uint64(0); pairs < 3 && n < 3<<20; n++ {
		a := flow(n, false, 0)
		tag := table.seeds.hash(&a.Key) >> idxBits
		other, ok := tags[tag]
		tags[tag] = n
		if !ok {
			continue
		}
		pairs++
		b := flow(other, false, 0)
		ra := mustInsert(t, h, a, 0)
		if got := lookup(t, h, &b.Key); got != 0 {
			t.Errorf("a key that is not there was found by its twin's tag: %#x", got)
		}
		rb := mustInsert(t, h, b, 0)
		if lookup(t, h, &a.Key) != ra || lookup(t, h, &b.Key) != rb {
			t.Error("two keys with one tag are confused")
		}
		h.Delete(ra)
		if lookup(t, h, &a.Key) != 0 || lookup(t, h, &b.Key) != rb {
			t.Error("deleting one of two with the same tag hit the other")
		}
	}
	if pairs == 0 {
		t.Error("no two keys with the same tag were found")
	}
}

// TestTheTagScanSelectsOneOfTwoEverywhere puts the same tag into every pair of slots.
func TestTheTagScanSelectsOneOfTwoEverywhere(t *testing.T) {
	const hash = uint64(0xabcdef123) << idxBits
	for i := range slotsPerBucket {
		for j := range i {
			var b batch
			buckets := make([]bucket, 1)
			buckets[0].slot[i].Store(hash | 0x0f0f0f0)
			buckets[0].slot[j].Store(hash | 0x0ff00ff)
			b.hash[0] = hash | 12345
			scanTags(&b, buckets, 1)
			if c := b.cand[0]; c != 0x0f0f0f0 && c != 0x0ff00ff {
				t.Errorf("slots %d and %d: candidate %#x", i, j, c)
			}
		}
	}
}

// TestADyingConnIsNotFound: dead already, and still linked, as seen by others during a Delete.
func TestADyingConnIsNotFound(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		table := newTable(t, Options{Bits: MinBits, Heap: true})
		h := table.Worker(0)
		s := flow(1, v6, FlagNAT)
		r := mustInsert(t, h, s, 0)
		table.Entry(r).kill()
		reply := s.replyKey()
		if lookup(t, h, &s.Key) != 0 || lookup(t, h, &reply) != 0 {
			t.Error("found")
		}
		again := mustInsert(t, h, s, 0)
		if again == r || lookup(t, h, &s.Key) != again || lookup(t, h, &reply) != again|refReply {
			t.Error("the new conn with the same keys is not found beside the dying one")
		}
	}
}

// TestMovedSlotsAreNeverSettled: whoever read a bucket's head before a slot moved must see by the
// head that it has to look again, even if it saw neither the old place nor the new.
func TestMovedSlotsAreNeverSettled(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	p, h := &table.v4, table.Worker(0)
	p.maxDepth = p.base
	rng := seeded(t)
	var refs []Ref
	for n := range uint64(560) {
		refs = append(refs, mustInsert(t, h, flow(n, false, 0), 0))
	}
	moves := 0
	for ; len(refs) > 0; refs = refs[1:] {
		at := rng.IntN(len(refs))
		refs[0], refs[at] = refs[at], refs[0]
		before := places(p)
		h.Delete(refs[0])
		for slot, now := range places(p) {
			was := before[slot]
			if was.at == now.at {
				continue
			}
			moves++
			if settled(was.head, now.head) {
				t.Fatalf("a slot moved under head %#x", was.head)
			}
		}
	}
	if moves == 0 {
		t.Error("no slot ever moved")
	}
}

// place is where a slot is, and the head over it.
type place struct {
	at   any
	head uint64
}

func places(p *part) map[uint64]place {
	m := map[uint64]place{}
	for b := range p.buckets[:1<<p.base] {
		bk := &p.buckets[b]
		head := bk.head.Load()
		for at := bk; ; {
			for i := range at.slot {
				if s := at.slot[i].Load(); s != 0 {
					m[s] = place{&at.slot[i], head}
				}
			}
			o := next(at, bk, head)
			if o == 0 {
				break
			}
			at = &p.pool.buckets[o]
		}
	}
	return m
}

// TestFindTakesAnyNumberOfFrames: none, one, a batch, more than a batch; hits, misses and
// overflow chains mixed.
func TestFindTakesAnyNumberOfFrames(t *testing.T) {
	table := newTable(t, Options{Bits: MinBits, Heap: true})
	table.v4.maxDepth, table.v6.maxDepth = table.v4.base, table.v6.base
	h := table.Worker(0)
	for _, v6 := range []bool{false, true} {
		var ps []packet.Parsed
		var want []Ref
		for n := range uint64(500) {
			s, r := flow(n, v6, 0), Ref(0)
			if n%8 != 0 {
				r = mustInsert(t, h, s, 0)
			}
			ps, want = append(ps, frame(&s.Key)), append(want, r)
		}
		for _, n := range []int{0, 1, 2, 63, 64, 65, 500} {
			got := make([]Ref, n+1)
			got[n] = 1
			h.Find(ps[:n], got)
			for i := range n {
				if got[i] != want[i] {
					t.Fatalf("%d frames: frame %d is %#x, want %#x", n, i, got[i], want[i])
				}
			}
			if got[n] != 1 {
				t.Errorf("Find of %d frames wrote a Ref more", n)
			}
		}
	}
}

// What is inserted after a Find is missing no longer, wherever the table has grown to meanwhile; most of the rest is.
func TestWhatWasMissingIsSeenWhenItComes(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		h := newTable(t, Options{Bits: 8, Heap: true}).Worker(0)
		ps, refs := make([]packet.Parsed, maxBatch), make([]Ref, maxBatch)
		still := 0
		for first := uint64(0); first < 4096; first += maxBatch {
			for i := range ps {
				s := flow(first+uint64(i), v6, 0)
				ps[i] = frame(&s.Key)
			}
			h.Find(ps, refs)
			for i := range ps {
				if h.StillMissing(i, v6) {
					still++
				}
				mustInsert(t, h, flow(first+uint64(i), v6, 0), 1)
				if h.StillMissing(i, v6) {
					t.Fatalf("IPv6 %v: conn %d is in the table and missing", v6, first+uint64(i))
				}
			}
		}
		if still < 2048 {
			t.Errorf("IPv6 %v: %d of 4096 were seen to be missing still, want most", v6, still)
		}
	}
}
