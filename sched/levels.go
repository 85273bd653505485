package sched

// levels are wrr's rounds for one set of weights: top, top-step, ... 1.
type levels struct {
	top  int32 // highest weight - (step - 1); 0: nobody has a weight
	step int32 // greatest common divisor of the positive weights, 1 without any
}

// below returns the level of the round after one at l.
func (v levels) below(l int32) int32 {
	if l -= v.step; l <= 0 {
		return v.top
	}
	return l
}

// atMost returns the highest level that weight w reaches, 0 if none.
func (v levels) atMost(w int32) int32 {
	if w <= 0 {
		return 0
	}
	return (w-1)/v.step*v.step + 1
}

// after returns the level that an edit leaves, when it was l before and v are
// the levels now (ip_vs_wrr_dest_changed). It is why a service built server by
// server runs its first round at the lowest level.
func (v levels) after(l int32) int32 {
	switch {
	case l > v.top || l == 0:
		return v.top
	case v.step > 1:
		return l/v.step*v.step + 1
	}
	return l
}

// span is what levels need to know of a set of weights. Spans add up.
type span struct{ gcd, max int32 }

func (s span) with(weight int32) span { return s.and(span{weight, weight}) }

func (s span) and(o span) span { return span{gcd32(s.gcd, o.gcd), max(s.max, o.max)} }

func (s span) levels() levels {
	step := max(s.gcd, 1)
	return levels{top: s.max - (step - 1), step: step}
}

func gcd32(a, b int32) int32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// levelAfter replays the kernel's sequence of edits on the level: every
// deletion, then every change, then every addition from the oldest on.
func levelAfter(c *change, level int32) int32 {
	level = afterDeletions(c, level)
	level, all := afterEdits(c, level)
	for i := len(c.dests) - 1; i >= 0; i-- {
		if c.was[i] < 0 {
			all = all.with(c.dests[i].weight)
			level = all.levels().after(level)
		}
	}
	return level
}

// afterDeletions needs the span of what is left after each deletion: what stays
// and what is not deleted yet, the latter summed from the end.
func afterDeletions(c *change, level int32) int32 {
	stay, rest := span{}, make([]span, 1, len(c.prev)+1)
	for i := len(c.prev) - 1; i >= 0; i-- {
		w := c.prev[i].weight
		if c.now[i] >= 0 {
			stay = stay.with(w)
			continue
		}
		rest = append(rest, rest[len(rest)-1].with(w))
	}
	for i := len(rest) - 2; i >= 0; i-- {
		level = stay.and(rest[i]).levels().after(level)
	}
	return level
}

// afterEdits also returns the span of all that stayed, as they are now.
func afterEdits(c *change, level int32) (int32, span) {
	done, old := span{}, make([]span, 1, len(c.dests)+1)
	for i := len(c.dests) - 1; i >= 0; i-- {
		switch {
		case c.was[i] < 0:
		case c.edited[i]:
			old = append(old, old[len(old)-1].with(c.prev[c.was[i]].weight))
		default:
			done = done.with(c.dests[i].weight)
		}
	}
	at := len(old) - 1
	for i := range c.dests {
		if c.was[i] >= 0 && c.edited[i] {
			at--
			done = done.with(c.dests[i].weight)
			level = done.and(old[at]).levels().after(level)
		}
	}
	return level, done
}
