package sched

import (
	"encoding/binary"
	"testing"

	"ulvs/internal/testutil"
	"ulvs/packet"
)

// visit is a session to the n-th destination address.
func visit(s *Scheduler, n int, now int64) {
	t := packet.Tuple{Dst: [16]byte{0x20, 1}}
	binary.BigEndian.PutUint32(t.Dst[8:], uint32(n))
	s.Pick(&t, now)
}

func cacheOf(s *Scheduler) *cache {
	if p, ok := s.policy.(lblc); ok {
		return p.cache
	}
	return s.policy.(lblcr).cache
}

func TestTheCacheStopsAtItsLimitAndShrinks(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		s := newUpdated(t, name, someDests(20))
		c := cacheOf(s)
		for n := range cacheHard + 1000 {
			visit(s, n, 0)
		}
		if c.count != cacheHard {
			t.Fatalf("%s: %d entries, want %d", name, c.count, cacheHard)
		}
		want := cacheHard
		for minute := int64(1); minute < 12; minute++ {
			for range cacheBuckets / cacheSweep {
				visit(s, 0, minute*cachePeriod)
			}
			if minute*cachePeriod < cacheIdle || want <= cacheMax {
				if c.count != want {
					t.Fatalf("%s: %d entries in minute %d, want %d", name, c.count, minute, want)
				}
				continue
			}
			want -= min((want-cacheMax)*4/3, cacheMax/2)
			if c.count > want || c.count < want-200 { // it stops after a whole bucket
				t.Fatalf("%s: %d entries in minute %d, want about %d", name, c.count, minute, want)
			}
			want = c.count
		}
		consistent(t, c)
	}
}

func TestAFullCollectionFreesWhatIsIdleForTheExpiration(t *testing.T) {
	s, err := New("lblc", 0, Options{Expiration: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(someDests(2)); err != nil {
		t.Fatal(err)
	}
	c := cacheOf(s)
	for n := range 100 {
		visit(s, n, int64(n)*10)
	}
	// Collection 30, at 1800 s, frees what was last used by 800 s: 0 to 80.
	for range cacheBuckets / cacheSweep {
		visit(s, 99, 1801)
	}
	if c.count != 19 {
		t.Errorf("%d entries are left, want 19", c.count)
	}
	visit(s, 99, 1<<40)
	visit(s, 99, 1<<41)
	if c.count != 1 {
		t.Errorf("%d entries after ages, want 1", c.count)
	}
	consistent(t, c)
}

func TestMembersAreForgottenWhenNobodyNamesThem(t *testing.T) {
	r := testutil.Rand(t)
	pool := someDests(400)
	s := newUpdated(t, "lblcr", pool[:1])
	c := cacheOf(s)
	for i := range 300 {
		from := r.IntN(len(pool) - 20)
		if err := s.Update(pool[from : from+20]); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			visit(s, r.IntN(4), int64(i))
		}
		consistent(t, c)
	}
	if n := len(c.all); n > 20+20+4*300 {
		t.Errorf("%d members for 4 entries", n)
	}
}

// consistent recounts everything that the cache counts.
func consistent(t *testing.T, c *cache) {
	t.Helper()
	refs, count, links := make([]int32, len(c.all)), 0, int32(0)
	for head := range c.heads {
		for i := c.heads[head]; i != 0; i = c.entries[i].next {
			count++
			size := int32(0)
			for l := c.entries[i].set; l != 0; l = c.links[l].next {
				refs[c.links[l].member]++
				size++
			}
			if size != c.entries[i].size {
				t.Fatalf("entry %d has %d links and size %d", i, size, c.entries[i].size)
			}
			links += size
		}
	}
	for i := range refs {
		if refs[i] != c.refs[i] {
			t.Fatalf("member %d has %d references and counts %d", i, refs[i], c.refs[i])
		}
	}
	for l := c.freeLnk; l != 0; l = c.links[l].next {
		links++
	}
	if count != c.count || links != c.madeLnk {
		t.Fatalf("%d entries counted %d, %d links of %d", count, c.count, links, c.madeLnk)
	}
}
