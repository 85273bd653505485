package dataplane

import "ulvs/conntrack"

// tombstones remember the ends of sessions for up to 20 s, so that a record that was on the way for longer than the end
// does not bring one back. It is a table of sets of four, a cache line each: at a quarter of a million ends a second
// a map costs more than the sessions. It grows while it has to forget ends younger than 10 s.
type tombstones struct {
	sets    [][tombWays]tomb
	now     uint64 // seconds, 16 bits
	crowded int    // young ones that were forgotten since the last growth
}

// tomb is one end: the hash of a key, and its version << 16 | second.
type tomb struct{ key, end uint64 }

const (
	tombWays  = 4
	tombFirst = 1 << 10 // sets at first: 64 KiB
	tombMost  = 1 << 19 // sets at most: two million ends, 32 MiB
	tombDead  = 20      // seconds
	tombYoung = 10
)

func (t *tombstones) init() { t.sets = make([][tombWays]tomb, tombFirst) }

func (t *tombstones) turn(now conntrack.Tick) {
	t.now = uint64(now/conntrack.TicksPerSecond) & 0xffff
	if t.crowded > len(t.sets)/64 && len(t.sets) < tombMost {
		t.grow()
	}
}

func (t *tombstones) set(key uint64) *[tombWays]tomb { return &t.sets[key&uint64(len(t.sets)-1)] }

// age is how many seconds ago an end was; an empty place is as old as can be.
func (t *tombstones) age(b tomb) uint64 {
	if b.end == 0 {
		return 1 << 16
	}
	return (t.now - b.end) & 0xffff
}

// warm touches where a key's end would be, for the cache's sake.
func (t *tombstones) warm(key uint64) uint64 { return t.set(key)[0].key }

func (t *tombstones) bury(key uint64, v conntrack.Version) {
	set := t.set(key)
	oldest := &set[0]
	for i := range set {
		b := &set[i]
		if b.key == key && t.age(*b) < tombDead {
			if v.Newer(conntrack.Version(b.end >> 16)) {
				b.end = uint64(v)<<16 | t.now
			}
			return
		}
		if t.age(*b) > t.age(*oldest) {
			oldest = b
		}
	}
	if t.age(*oldest) < tombYoung {
		t.crowded++
	}
	*oldest = tomb{key, uint64(v)<<16 | t.now}
}

// buried reports whether v is of a session that ended. What came later by its counter is not: its term may only seem
// older, after 128 takeovers.
func (t *tombstones) buried(key uint64, v conntrack.Version) bool {
	for _, b := range t.set(key) {
		if b.key == key && t.age(b) < tombDead {
			end := conntrack.Version(b.end >> 16)
			return !v.Newer(end) && !v.Later(end)
		}
	}
	return false
}

// grow doubles the table.
func (t *tombstones) grow() {
	old := t.sets
	t.sets, t.crowded = make([][tombWays]tomb, 2*len(old)), 0
	for i := range old {
		for _, b := range old[i] {
			if t.age(b) >= tombDead {
				continue
			}
			set := t.set(b.key)
			for j := range set {
				if set[j].end == 0 {
					set[j] = b
					break
				}
			}
		}
	}
}
