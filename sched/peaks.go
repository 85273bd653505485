package sched

// peaks answers "who is the next with at least this weight" over weights that do
// not change: a binary tree of maxima. A scan would cost the length of the list for
// each pick when few are heavy.
type peaks struct {
	n    int
	size int     // leaves: n rounded up to a power of two
	max  []int32 // heap order: 1 is the root, the leaves start at size
}

func newPeaks(dests []dest) *peaks {
	p := &peaks{n: len(dests), size: 1}
	for p.size < p.n {
		p.size *= 2
	}
	p.max = make([]int32, 2*p.size)
	for i := range dests {
		p.max[p.size+i] = dests[i].weight
	}
	for i := p.size - 1; i > 0; i-- {
		p.max[i] = max(p.max[2*i], p.max[2*i+1])
	}
	return p
}

// from returns the first position from start on whose weight is at least least,
// which is positive; -1 if there is none.
func (p *peaks) from(start int, least int32) int {
	if start >= p.n {
		return -1
	}
	i := start + p.size
	for p.max[i] < least {
		for i&1 == 1 { // a right child: its parent holds nothing new to the right
			if i == 1 {
				return -1
			}
			i >>= 1
		}
		if i == 0 {
			return -1
		}
		i++
	}
	for i < p.size {
		i *= 2
		if p.max[i] < least {
			i++
		}
	}
	return i - p.size
}
