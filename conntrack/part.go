package conntrack

import (
	"fmt"
	"math/bits"
	"sync/atomic"
)

// part is the table of one family: entries, the pool of free ones, and the index.
type part struct {
	index
	v6     bool
	narrow []Entry  // IPv4
	broad  []entry6 // IPv6
	limit  uint32   // entries there can be, entry 0 included
	chunk  uint32   // entries a worker takes from the pool at once

	high   atomic.Uint32 // entries ever used, entry 0 included; written under lock
	lock   spinLock
	chunks uint32 // free chains given back by workers, linked by their first entries; under lock

	entryArea, bucketArea, overArea area
}

// sizes says how much address space a part reserves.
type sizes struct {
	v6       bool
	base     uint8 // index depth at start
	maxDepth uint8
	entries  int
	workers  int
}

// sizesFor derives the index from the number of entries: room for two slots each at 75 % load.
func sizesFor(tableBits uint8, entries, workers int) sizes {
	// Four conns to a bucket of seven slots: 57 % load at the size asked for.
	base := tableBits - 2
	need := bits.Len64(uint64(entries) * 2 * 4 / 21)
	return sizes{base: base, maxDepth: max(base, uint8(need)), entries: entries, workers: workers}
}

// overflowSize is the number of overflow buckets for the largest index. At 75 % load 16 in a
// hundred buckets have one; the rest is for the time that a doubling lags.
func (s sizes) overflowSize() int { return min(1<<s.maxDepth/4+64, maxOverflow) }

func (p *part) init(m *memory, s sizes) error {
	p.v6, p.base, p.maxDepth = s.v6, s.base, s.maxDepth
	p.limit = uint32(s.entries)
	p.chunk = uint32(min(512, max(8, s.entries/(64*s.workers))))
	p.high.Store(1)
	p.pool.high.Store(1)
	p.state.Store(uint64(s.base) << levelShift)
	var err error
	if s.v6 {
		p.broad, err = array[entry6](m, &p.entryArea, s.entries, fileBroad)
	} else {
		p.narrow, err = array[Entry](m, &p.entryArea, s.entries, fileNarrow)
	}
	if err != nil {
		return fmt.Errorf("entries: %w", err)
	}
	if p.buckets, err = array[bucket](m, &p.bucketArea, 1<<s.maxDepth, private); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if p.pool.buckets, err = array[bucket](m, &p.overArea, s.overflowSize(), private); err != nil {
		return fmt.Errorf("overflow buckets: %w", err)
	}
	return nil
}

// entry returns an entry by index.
func (p *part) entry(i uint32) *Entry {
	if p.v6 {
		return &p.broad[i].Entry
	}
	return &p.narrow[i]
}

// stride is the bytes per entry.
func (p *part) stride() int {
	if p.v6 {
		return 128
	}
	return 64
}

// ref makes a Ref of an entry of this part.
func (p *part) ref(slot uint64, m match) Ref {
	r := Ref(slot & idxMask)
	if p.v6 {
		r |= refV6
	}
	if m == matchReply {
		r |= refReply
	}
	return r
}

func (p *part) match(slot uint64, k *Key) match {
	i := slot & idxMask
	if p.v6 {
		return p.broad[i].match6(&k.Addr, k.L4)
	}
	return p.narrow[i].match4(k.Addr[0], k.L4)
}

// find looks for the live conn of a key with hash h, carefully: a miss is proven.
func (p *part) find(k *Key, h uint64) Ref {
	b := p.view().bucket(h)
	for spin := 0; ; {
		bk := &p.buckets[b]
		head := bk.head.Load()
		if to := p.home(b, head, h); to != b {
			b = to
			continue
		}
		if r := p.scan(bk, head, scanKey{k, h}).ref; r != 0 {
			return r
		}
		if settled(head, bk.head.Load()) {
			return 0
		}
		spin = pause(spin)
	}
}

type scanKey struct {
	key  *Key
	hash uint64
}

// found is what a scan of a chain met.
type found struct {
	ref     Ref // the live conn of the key
	pending Ref // a conn of the key that is being inserted
	hole    *atomic.Uint64
}

// scan looks through a bucket's chain for a key.
func (p *part) scan(bk *bucket, head uint64, k scanKey) (f found) {
	for at := bk; ; {
		for i := range at.slot {
			s := at.slot[i].Load()
			if s == 0 {
				if f.hole == nil {
					f.hole = &at.slot[i]
				}
			} else if (s^k.hash)>>idxBits == 0 && p.check(s, k.key, &f) {
				return f
			}
		}
		o := next(at, bk, head)
		if o == 0 {
			return f
		}
		at = &p.pool.buckets[o]
	}
}

// check looks at the entry of a slot with the right hash and reports whether it is the live conn.
func (p *part) check(slot uint64, k *Key, f *found) bool {
	m := p.match(slot, k)
	if m == matchNone {
		return false
	}
	switch p.entry(uint32(slot&idxMask)).load(3) & lifeMask {
	case lifeLive:
		f.ref = p.ref(slot, m)
		return true
	case lifePending:
		f.pending = p.ref(slot, m)
	}
	return false
}
