package sched

import (
	"sync/atomic"

	"ulvs/lvs"
	"ulvs/packet"
)

// least is the scheduler that a rule describes.
type least struct {
	rule  *rule
	field atomic.Pointer[field]
}

func newLeast(r *rule) *least {
	l := &least{rule: r}
	l.field.Store(newField(r, nil))
	return l
}

func (l *least) update(c *change) error {
	f := newField(l.rule, c.dests)
	l.field.Store(f)
	f.follow()
	return nil
}

func (l *least) pick(*packet.Tuple, int64) (lvs.DestID, bool) {
	f := l.field.Load()
	pos, ok := f.least()
	if !ok {
		return 0, false
	}
	return f.dests[pos].id, true
}

// maxScan is the longest list that is scanned. Up to it the scan is as fast as
// a lock and a tree, and several workers do not meet in it.
const maxScan = 16

// field finds the destination of least cost. A short list is scanned without a
// lock. A long one is a tournament that learns from the Watch which Loads changed
// since the last pick and replays only those: the result is the scan's.
type field struct {
	dests   []dest
	runners []runner // by position
	rule    *rule
	watch   *lvs.Watch // nil: scanned; so is everything below

	spin               // guards the rest
	settling bool      // not all Loads are followed yet
	refresh  func(int) // f.play, bound once: a method value made per pick would allocate
	tree     *tree
	room     []bool // by position: hasRoom when last looked at; nil unless rule.roomy
	roomy    int    // how many of room are true
}

func newField(r *rule, dests []dest) *field {
	f := &field{dests: dests, rule: r, runners: r.runners(dests)}
	if len(dests) <= maxScan {
		return f
	}
	f.watch = lvs.NewWatch(len(dests))
	f.tree = newTree(len(dests))
	f.refresh = f.play
	f.settling = true
	if r.roomy {
		f.room = make([]bool, len(dests))
	}
	for pos := range dests {
		f.play(pos)
	}
	return f
}

// follow makes every Load report to this field. It runs after the field is
// published, so that no change gets lost between the old field and this one, and
// plays what it marked itself, so that no worker has to play all at once.
func (f *field) follow() {
	if f.watch == nil {
		unwatch(f.dests)
		return
	}
	for pos := range f.dests {
		f.dests[pos].load.WatchBy(f.watch, pos)
		if pos%followBatch == followBatch-1 {
			f.settle(true)
		}
	}
	f.settle(false)
}

// followBatch is how many destinations are played under one hold of the lock.
const followBatch = 64

func (f *field) settle(more bool) {
	f.lock()
	f.watch.Drain(f.refresh)
	f.settling = more
	f.unlock()
}

// least returns the position of the destination to take, false if there is none.
func (f *field) least() (int, bool) {
	if f.watch == nil {
		return f.scan()
	}
	f.lock()
	f.watch.Drain(f.refresh)
	best := f.tree.best
	if f.settling && best.den != 0 {
		f.watch.Mark(int(best.pos)) // its Load may not report yet
	}
	f.unlock()
	return int(best.pos), best.den != 0
}

// scan is rule.of and cost.below for all, written out: calls would double what a
// short list costs. A numerator too large for 64 bits, or below zero, is left to scanSlowly.
func (f *field) scan() (int, bool) {
	r, runners := *f.rule, f.runners
	best, bestNum, bestDen := -1, uint64(1), uint64(0)
	for pos := range runners {
		c := &runners[pos]
		active, inactive := c.load.Active(), c.load.Inactive()
		num, den := r.base+r.perActive*uint64(active)+r.perInactive*uint64(inactive), uint64(c.den)
		if c.load.Overloaded() || active > c.limit {
			continue
		}
		if num >= maxExact {
			return f.scanSlowly()
		}
		if r.idleWins && active == 0 {
			num = 0
		}
		if num*bestDen < bestNum*den { // never with den 0
			best, bestNum, bestDen = pos, num, den
		}
	}
	return best, best >= 0
}

func (f *field) scanSlowly() (int, bool) {
	best := never
	for pos := range f.runners {
		c := f.rule.of(&f.runners[pos], pos)
		if c.below(&best) {
			best = c
		}
	}
	return int(best.pos), best.den != 0
}

// hasRoom reports whether any destination has room.
func (f *field) hasRoom() bool {
	if f.watch == nil {
		for pos := range f.dests {
			if f.dests[pos].hasRoom() {
				return true
			}
		}
		return false
	}
	f.lock()
	f.watch.Drain(f.refresh)
	yes := f.roomy > 0
	f.unlock()
	return yes
}

// play looks at one destination again. The lock is held, or nobody else has f yet.
func (f *field) play(pos int) {
	d := &f.dests[pos]
	f.tree.set(pos, f.rule.of(&f.runners[pos], pos))
	if f.room == nil || f.room[pos] == d.hasRoom() {
		return
	}
	f.room[pos] = !f.room[pos]
	if f.room[pos] {
		f.roomy++
	} else {
		f.roomy--
	}
}
