package sched

import (
	"net/netip"

	"ulvs/lvs"
)

// dest is what a pick reads of a destination. Its position in a list is its rank
// in every tie: 0 is the most recently added.
type dest struct {
	id     lvs.DestID
	weight int32
	load   *lvs.Load
}

// usable is the rule that all schedulers share: not quiesced and not over its threshold.
func (d *dest) usable() bool { return d.weight > 0 && !d.load.Overloaded() }

// change is one Update: the new list, and how it came out of the previous one.
type change struct {
	dests  []dest           // the new list
	addrs  []netip.AddrPort // of dests
	prev   []dest           // the previous list
	was    []int32          // by position in dests: its position in prev, -1 when added
	now    []int32          // by position in prev: its position in dests, -1 when deleted
	edited []bool           // by position in dests: stayed, and something about it changed
	bind   bool             // see Scheduler.Bind
}

// any reports whether the kernel would have told the scheduler of an edit.
func (c *change) any() bool {
	for i := range c.dests {
		if c.was[i] < 0 || c.edited[i] {
			return true
		}
	}
	return len(c.dests) != len(c.prev)
}

// diff finds out what happened between two lists. Destinations that stay are
// found from the end, where the oldest are: a deletion keeps their order and an
// addition goes in front of them, so one out of order was deleted and added again.
func diff(prev, next []lvs.Destination) *change {
	c := &change{
		dests: brief(next), addrs: make([]netip.AddrPort, len(next)), prev: brief(prev),
		was: make([]int32, len(next)), now: make([]int32, len(prev)), edited: make([]bool, len(next)),
	}
	at := make(map[lvs.DestID]int, len(prev))
	for i := range prev {
		c.now[i] = -1
		at[prev[i].ID] = i
	}
	limit := len(prev)
	for i := len(next) - 1; i >= 0; i-- {
		c.was[i] = -1
		c.addrs[i] = next[i].AddrPort()
		j, known := at[next[i].ID]
		if !known || j >= limit || !same(&prev[j], &next[i]) {
			continue
		}
		limit = j
		c.was[i], c.now[j] = int32(j), int32(i)
		c.edited[i] = edited(&prev[j], &next[i])
	}
	return c
}

// same guards against an id that was given to another real server meanwhile.
func same(a, b *lvs.Destination) bool { return a.AddrPort() == b.AddrPort() && a.Load == b.Load }

// edited is true for every change that ipvsadm -e makes: the kernel then calls
// the scheduler's upd_dest even when the weight is what it was.
func edited(a, b *lvs.Destination) bool {
	return a.Weight != b.Weight || a.Upper != b.Upper || a.Lower != b.Lower ||
		a.Method != b.Method || a.Tunnel != b.Tunnel || b.Edits > a.Edits
}

func brief(list []lvs.Destination) []dest {
	out := make([]dest, len(list))
	for i := range list {
		out[i] = dest{list[i].ID, list[i].Weight, list[i].Load}
	}
	return out
}

// unwatch stops Watches that an earlier scheduler of the service left behind.
func unwatch(dests []dest) {
	for i := range dests {
		dests[i].load.WatchBy(nil, 0)
	}
}
