package sched

import (
	"encoding/binary"
	"net/netip"

	"ulvs/lvs"
	"ulvs/packet"
)

// Sizes and times of lblc's and lblcr's cache (ip_vs_lblc.c), seconds.
const (
	defaultExpiration = 24 * 60 * 60 // sysctl lblc_expiration, lblcr_expiration
	cacheIdle         = 6 * 60       // idle time after which an entry may go when there are too many
	cachePeriod       = 60           // between two collections
	cacheFullEvery    = 30           // every so many collections one looks at all entries

	cacheMax  = 16384            // entries above which collections free some
	cacheHard = cacheMax * 3 / 2 // entries at which no new one is made

	cacheBits    = 10 // the kernel's buckets, which collections walk
	cacheSubBits = 4  // each of them in parts, to keep chains short
	cacheHeads   = 1 << (cacheBits + cacheSubBits)

	// cacheLinks bounds the destinations that all sets together name; at the limit a destination is
	// used without being remembered.
	cacheLinks = 4 * cacheMax

	// cacheSweep is how many of the kernel's buckets one pick collects.
	cacheSweep = 8
)

// cache remembers which destinations serve a destination address. Its memory, 1.8 MB,
// is reserved once; the system provides it as it is used. Number 0 is none.
type cache struct {
	spin // guards the rest
	*members
	field   *field
	rule    *rule
	expire  int64
	heads   []int32
	entries []entry
	links   []link
	freed   int32 // chain of free entries
	made    int32 // entries ever made
	freeLnk int32
	madeLnk int32
	count   int
	gc      collector
}

// entry is one destination address with its set of destinations, newest first;
// lblc's has one.
type entry struct {
	key     [2]uint64
	lastUse int64
	lastMod int64 // of the set
	next    int32 // in its chain
	set     int32 // first link
	size    int32
	_       int32
}

// link is a destination in a set.
type link struct{ member, next int32 }

func newCache(opt Options) *cache {
	c := &cache{rule: wlcRule(), expire: opt.Expiration, members: &members{}}
	c.rule.roomy = true
	c.field = newField(c.rule, nil)
	c.heads = make([]int32, cacheHeads)
	c.entries = make([]entry, cacheHard+1)
	c.links = make([]link, cacheLinks+1)
	return c
}

// update builds outside the lock and swaps inside it.
func (c *cache) update(ch *change) error {
	f := newField(c.rule, ch.dests)
	refs := make([]int32, len(c.refs))
	c.lock()
	copy(refs, c.refs)
	c.unlock()
	next := c.members.next(ch, refs)
	c.lock()
	copy(next.refs, c.refs)
	c.members, c.field = next, f
	c.unlock()
	f.follow()
	return nil
}

// remembers reports whether an entry names the destination at an address.
func (c *cache) remembers(a netip.AddrPort) bool {
	c.lock()
	defer c.unlock()
	i, ok := c.number[a]
	return ok && c.refs[i] > 0
}

// overloaded is the kernel's is_overloaded: more active sessions than its weight,
// while some other destination has room.
func (c *cache) overloaded(m *member) bool {
	return int64(m.load.Active()) > int64(m.weight) && c.field.hasRoom()
}

// least is the number of wlc's choice.
func (c *cache) least() (int32, bool) {
	pos, ok := c.field.least()
	if !ok {
		return 0, false
	}
	return c.byPos[pos], true
}

// keyOf is the destination address with its chain: the kernel's bucket, then a
// part of it by a mix of all the bits.
func keyOf(t *packet.Tuple) (key [2]uint64, head int) {
	key[0] = binary.BigEndian.Uint64(t.Dst[:8])
	key[1] = binary.BigEndian.Uint64(t.Dst[8:])
	mix := (key[0]*0x9E3779B97F4A7C15 ^ key[1]) * 0xD6E8FEB86659FD93
	return key, int(hash32(fold(&t.Dst), cacheBits))<<cacheSubBits | int(mix>>(64-cacheSubBits))
}

// find returns the number of the key's entry, 0 if there is none, and marks it used.
func (c *cache) find(key [2]uint64, head int, now int64) int32 {
	c.gc.catchUp(c, head>>cacheSubBits)
	for i := c.heads[head]; i != 0; i = c.entries[i].next {
		if c.entries[i].key == key {
			c.entries[i].lastUse = now
			return i
		}
	}
	return 0
}

// insert makes an entry for key with one destination, if there is room for both.
func (c *cache) insert(key [2]uint64, head int, number int32, now int64) {
	if c.count >= cacheHard {
		return
	}
	i := c.freed
	if i != 0 {
		c.freed = c.entries[i].next
	} else {
		c.made++
		i = c.made
	}
	c.entries[i] = entry{key: key, lastUse: now, next: c.heads[head]}
	if !c.join(&c.entries[i], number, now) {
		c.entries[i].next, c.freed = c.freed, i
		return
	}
	c.heads[head] = i
	c.count++
}

// join puts a destination at the front of the entry's set.
func (c *cache) join(e *entry, number int32, now int64) bool {
	l := c.freeLnk
	switch {
	case l != 0:
		c.freeLnk = c.links[l].next
	case c.madeLnk < cacheLinks:
		c.madeLnk++
		l = c.madeLnk
	default:
		return false
	}
	c.links[l] = link{number, e.set}
	e.set, e.lastMod = l, now
	e.size++
	c.refs[number]++
	return true
}

// leave takes the link that at points to out of the entry's set.
func (c *cache) leave(e *entry, at *int32) {
	l := *at
	*at = c.links[l].next
	c.refs[c.links[l].member]--
	c.links[l].next, c.freeLnk = c.freeLnk, l
	e.size--
}

// drop removes the entry that at, a chain's head or an entry's next, points to.
func (c *cache) drop(at *int32) {
	i := *at
	e := &c.entries[i]
	for e.set != 0 {
		c.leave(e, &e.set)
	}
	*at = e.next
	e.next, c.freed = c.freed, i
	c.count--
}

// pickLocked is a pick by choose, which gets the key of t and its place, with the cache locked and its
// collection done. lblc and lblcr differ in what they choose only.
func (c *cache) pickLocked(
	t *packet.Tuple, now int64, choose func(key [2]uint64, head int, now int64) (int32, bool),
) (lvs.DestID, bool) {
	key, head := keyOf(t)
	c.lock()
	c.gc.tick(c, now)
	number, ok := choose(key, head, now)
	var id lvs.DestID
	if ok {
		id = c.all[number].id
	}
	c.unlock()
	return id, ok
}
