package sched

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"

	"ulvs/lvs"
	"ulvs/packet"
)

// mh is Maglev hashing (ip_vs_mh.c, "Maglev: A Fast and Reliable Software Network
// Load Balancer", NSDI 2016): like sh over a larger table that an edit hardly disturbs.
type mh struct {
	hashed
	flags lvs.SchedFlags
	index int     // see Options.TableIndex
	v4    bool    // see Options.IPv4
	last  []int32 // by position in the list: the latest weight that was not 0; control path only
}

const (
	minTableIndex, defaultTableIndex, maxTableIndex = 8, 12, 17

	mhKey1 = 2654435761 // of the lookup and of a destination's offset
	mhKey2 = 2654446892 // of a destination's skip
)

// mhSlots are the table sizes by Options.TableIndex: the primes below powers of two.
var mhSlots = [...]uint32{251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071}

func newMH(flags lvs.SchedFlags, opt Options) policy {
	h := &mh{flags: flags, index: opt.TableIndex, v4: opt.IPv4}
	h.set(nil, nil)
	return h
}

// update builds the table from the last weights that were not 0: quiescing a
// destination moves nobody's slots, and its clients return when it does.
func (h *mh) update(c *change) error {
	size := mhSlots[h.index-minTableIndex]
	if len(c.dests) > int(size) {
		return fmt.Errorf("%d real servers, mh's table of %d slots allows no more than that", len(c.dests), size)
	}
	last := make([]int32, len(c.dests))
	for i := range c.dests {
		last[i] = c.dests[i].weight
		if last[i] == 0 && c.was[i] >= 0 {
			last[i] = h.last[c.was[i]]
		} else if last[i] == 0 && c.bind { // it had a weight under the scheduler before
			last[i] = c.dests[i].load.LastWeight()
		}
	}
	h.set(c.dests, populate(h.permutations(c.addrs, last), size))
	h.last = last
	return nil
}

func (h *mh) pick(t *packet.Tuple, _ int64) (lvs.DestID, bool) {
	b := h.table.Load()
	size := uint32(len(b.slots))
	if size == 0 {
		return 0, false
	}
	v := client(t, h.flags)
	slot := sipHash13(v, mhKey1) % size
	if id, ok := b.at(slot); ok {
		return id, true
	}
	if h.flags&lvs.SchedFallback == 0 || !b.live {
		return 0, false
	}
	for o := range size {
		if id, ok := b.at(sipHash13(v+(o+slot)%size, mhKey1) % size); ok {
			return id, true
		}
	}
	return 0, false
}

// permutation is the order in which one destination claims slots: at, at + skip,
// at + 2*skip, ... modulo the size, turns of them whenever it is its turn.
type permutation struct {
	at, skip uint32
	turns    int32 // 0: claims none
}

func (h *mh) permutations(addrs []netip.AddrPort, last []int32) []permutation {
	all := span{}
	for _, w := range last {
		all = all.with(w)
	}
	out := make([]permutation, len(addrs))
	if all.gcd == 0 {
		return out
	}
	size := mhSlots[h.index-minTableIndex]
	shift := max(0, bits.Len32(uint32(all.max/all.gcd))-h.index/2)
	for i, a := range addrs {
		v := foldAddr(a.Addr())
		if b := a.Addr().As16(); h.v4 && a.Addr().Is6() {
			v = binary.BigEndian.Uint32(b[:])
		}
		v += uint32(a.Port())
		out[i] = permutation{at: sipHash13(v, mhKey1) % size, skip: sipHash13(v, mhKey2)%(size-1) + 1}
		if last[i] != 0 {
			out[i].turns = max(1, last[i]/all.gcd>>shift)
		}
	}
	return out
}

// populate lets the destinations claim slots in turn until none is free. It
// returns nil when nobody claims any.
func populate(perms []permutation, size uint32) []uint32 {
	claims := false
	for i := range perms {
		claims = claims || perms[i].turns > 0
	}
	if !claims {
		return nil
	}
	slots, taken := make([]uint32, size), make([]bool, size)
	for free := size; ; {
		for i := range perms {
			for range perms[i].turns {
				slots[perms[i].claim(taken)] = uint32(i)
				if free--; free == 0 {
					return slots
				}
			}
		}
	}
}

// claim takes the next slot of the permutation that nobody has. Some slot is free.
func (p *permutation) claim(taken []bool) uint32 {
	size := uint32(len(taken))
	for taken[p.at] {
		if p.at += p.skip; p.at >= size {
			p.at -= size
		}
	}
	taken[p.at] = true
	return p.at
}
