package sched

import "net/netip"

// member is a destination as the cache of lblc or lblcr remembers it. Like the
// kernel's trash it outlives its deletion while entries name it, and is the same
// member when the same address comes back.
type member struct {
	dest
	pos int32 // in the list; -1: deleted
}

// members gives every destination, current or remembered, a number.
type members struct {
	all    []member
	byPos  []int32 // position in the list to number
	refs   []int32 // by number: entries that name it
	number map[netip.AddrPort]int32
	addrs  []netip.AddrPort // by number
}

// next returns the members after a change. The deleted ones that refs, a copy of
// the counts, says nobody names give up their numbers; those in the list now or
// before keep theirs, since a worker may still count on them.
func (m *members) next(c *change, refs []int32) *members {
	n := &members{all: append([]member(nil), m.all...), addrs: append([]netip.AddrPort(nil), m.addrs...)}
	n.number = make(map[netip.AddrPort]int32, len(m.number))
	n.byPos = make([]int32, len(c.dests))
	var free []int32
	for i := range n.all {
		if n.all[i].pos < 0 && refs[i] == 0 {
			free = append(free, int32(i))
			continue
		}
		n.number[n.addrs[i]] = int32(i)
		n.all[i].pos = -1
	}
	for pos := range c.dests {
		i, known := n.number[c.addrs[pos]]
		if !known {
			i, free = n.place(free)
			n.number[c.addrs[pos]], n.addrs[i] = i, c.addrs[pos]
		}
		n.all[i] = member{c.dests[pos], int32(pos)}
		n.byPos[pos] = i
	}
	n.refs = make([]int32, len(n.all))
	return n
}

func (m *members) place(free []int32) (int32, []int32) {
	if last := len(free) - 1; last >= 0 {
		return free[last], free[:last]
	}
	m.all = append(m.all, member{})
	m.addrs = append(m.addrs, netip.AddrPort{})
	return int32(len(m.all) - 1), nil
}

// available is the kernel's IP_VS_DEST_F_AVAILABLE and a weight.
func (m *member) available() bool { return m.pos >= 0 && m.weight > 0 }
