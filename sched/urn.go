package sched

import "ulvs/lvs"

// urn draws destinations by weight. Like field, it scans a short list and keeps
// sums over a long one, told by the Watch what changed.
type urn struct {
	dests []dest
	watch *lvs.Watch // nil: scanned; so is everything below

	spin              // guards the rest
	refresh func(int) // u.weigh, bound once
	weights []uint64  // by position: the weight, 0 while not usable
	sums    []uint64  // Fenwick tree over weights, from index 1
	sum     uint64
}

func newUrn(dests []dest) *urn {
	u := &urn{dests: dests}
	if len(dests) <= maxScan {
		return u
	}
	u.watch = lvs.NewWatch(len(dests))
	u.weights = make([]uint64, len(dests))
	u.sums = make([]uint64, len(dests)+1)
	u.refresh = u.weigh
	for pos := range dests {
		u.weigh(pos)
	}
	return u
}

// follow makes every Load report to this urn; see field.follow.
func (u *urn) follow() {
	if u.watch == nil {
		unwatch(u.dests)
		return
	}
	for pos := range u.dests {
		u.dests[pos].load.WatchBy(u.watch, pos)
		if pos%followBatch == followBatch-1 {
			u.total()
		}
	}
	u.total()
}

// total is the sum of the usable weights of a long list.
func (u *urn) total() uint64 {
	u.lock()
	u.watch.Drain(u.refresh)
	sum := u.sum
	u.unlock()
	return sum
}

// look is total for a short list: it notes the shares, for both draws to see the same.
func (u *urn) look(shares *[maxScan]uint64) (sum uint64) {
	for i := range u.dests {
		shares[i] = u.dests[i].share()
		sum += shares[i]
	}
	return sum
}

// share is the destination's part of the sum.
func (d *dest) share() uint64 {
	if !d.usable() {
		return 0
	}
	return uint64(d.weight)
}

// scan returns the first position at which the running sum reaches r, and at
// least 1. r is at most the sum.
func scan(shares *[maxScan]uint64, r uint64) int {
	at, sum := 0, shares[0]
	for sum < max(r, 1) {
		at++
		sum += shares[at]
	}
	return at
}

// draw is scan for two numbers over a long list. The sum may have shrunk since
// total: then the number is cut to it. -1: nobody is usable any more.
func (u *urn) draw(r1, r2 uint64) (first, second int) {
	first, second = -1, -1
	u.lock()
	if u.sum != 0 {
		first, second = u.find(min(r1, u.sum)), u.find(min(r2, u.sum))
	}
	u.unlock()
	return first, second
}

// find descends the Fenwick tree to the first position whose running sum is at
// least r, and at least 1.
func (u *urn) find(r uint64) int {
	r = max(r, 1)
	at, step := 0, 1
	for step*2 < len(u.sums) {
		step *= 2
	}
	for ; step > 0; step /= 2 {
		if next := at + step; next < len(u.sums) && u.sums[next] < r {
			at, r = next, r-u.sums[next]
		}
	}
	return at
}

// weigh looks at one destination again. The lock is held, or nobody else has u yet.
func (u *urn) weigh(pos int) {
	share := u.dests[pos].share()
	delta := share - u.weights[pos] // wraps, and the sums wrap back
	if delta == 0 {
		return
	}
	u.weights[pos] = share
	u.sum += delta
	for i := pos + 1; i < len(u.sums); i += i & -i {
		u.sums[i] += delta
	}
}
