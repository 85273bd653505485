package lvs

import (
	"math/bits"
	"sync/atomic"
)

// Load counts a destination's sessions as IPVS does: active are TCP sessions in
// SYN_SENT, SYN_RECV, SYNACK and ESTABLISHED, everything else is inactive, and
// templates are counted apart. Any worker changes it; every change marks the
// destination in the Watch of the scheduler that cares.
type Load struct {
	active, inactive, persist atomic.Int32
	upper, lower              atomic.Uint32
	overloaded                atomic.Bool
	watch                     atomic.Pointer[watchSlot]
	path                      atomic.Uint64 // MTU learned, and until when
	kept                      atomic.Bool
	lastWeight                atomic.Int32
}

type watchSlot struct {
	w   *Watch
	pos int
}

// Active returns the active sessions.
func (l *Load) Active() int32 { return l.active.Load() }

// Inactive returns the inactive sessions.
func (l *Load) Inactive() int32 { return l.inactive.Load() }

// Persist returns the persistence templates.
func (l *Load) Persist() int32 { return l.persist.Load() }

// Overloaded reports the OVERLOAD flag: schedulers skip the destination.
func (l *Load) Overloaded() bool { return l.overloaded.Load() }

// InUse reports whether any session or template refers to the destination.
func (l *Load) InUse() bool { return l.Active() != 0 || l.Inactive() != 0 || l.Persist() != 0 }

// Keep says whether the destination is to be kept when it is removed, even if nothing refers to it, so that it
// has its counts when it comes back: the kernel has a trash list for that.
func (l *Load) Keep(yes bool) { l.kept.Store(yes) }

// LastWeight is the destination's latest weight that was not 0, or 0 if it was added with that.
func (l *Load) LastWeight() int32 { return l.lastWeight.Load() }

// Kept returns what Keep said last.
func (l *Load) Kept() bool { return l.kept.Load() }

// lives reports whether the destination has a place when it is removed.
func (l *Load) lives() bool { return l.Kept() || l.InUse() }

// Bind counts a new session (ip_vs_bind_dest).
func (l *Load) Bind(active bool) {
	l.count(active).Add(1)
	l.limit()
	l.mark()
}

// Unbind takes back one Bind (ip_vs_unbind_dest): the OVERLOAD flag clears below
// the lower threshold, or below 75 % of the upper one when there is no lower.
func (l *Load) Unbind(active bool) {
	l.count(active).Add(-1)
	l.relax()
	l.mark()
}

// Move recounts a session whose state became active or inactive.
func (l *Load) Move(active bool) {
	l.count(active).Add(1)
	l.count(!active).Add(-1)
	l.mark()
}

// BindTemplate counts a persistence template. The kernel looks at the thresholds then, too.
func (l *Load) BindTemplate() {
	l.persist.Add(1)
	l.limit()
}

// UnbindTemplate takes back one BindTemplate.
func (l *Load) UnbindTemplate() {
	l.persist.Add(-1)
	l.relax()
	l.mark()
}

// SetThresholds changes the limits (0 = none). As kernels up to 6.1.176 do, a
// raised or removed upper limit clears the OVERLOAD flag at once; a lowered one
// waits for the next Bind.
func (l *Load) SetThresholds(upper, lower uint32) {
	old := l.upper.Swap(upper)
	l.lower.Store(lower)
	if upper == 0 || upper > old {
		l.overloaded.Store(false)
	}
	l.mark()
}

// WatchBy makes w learn of every change, under number pos. nil stops it.
func (l *Load) WatchBy(w *Watch, pos int) {
	if w == nil {
		l.watch.Store(nil)
		return
	}
	l.watch.Store(&watchSlot{w, pos})
	w.Mark(pos)
}

func (l *Load) count(active bool) *atomic.Int32 {
	if active {
		return &l.active
	}
	return &l.inactive
}

func (l *Load) total() uint32 { return uint32(l.Active() + l.Inactive()) }

func (l *Load) limit() {
	if u := l.upper.Load(); u != 0 && l.total() >= u {
		l.overloaded.Store(true)
	}
}

func (l *Load) relax() {
	if !l.overloaded.Load() {
		return
	}
	upper, lower := l.upper.Load(), l.lower.Load()
	below := l.total()*4 < upper*3
	if lower != 0 {
		below = l.total() < lower
	}
	if below || upper == 0 {
		l.overloaded.Store(false)
	}
}

func (l *Load) mark() {
	if s := l.watch.Load(); s != nil {
		s.w.Mark(s.pos)
	}
}

// Watch is a set of small numbers that any goroutine adds to without a lock and
// one drains: which destinations changed since the last pick. Draining costs by
// what changed, not by how many there are.
type Watch struct {
	bits    []atomic.Uint64
	summary []atomic.Uint64 // bit i: bits[i] may be non-zero
}

// NewWatch makes a Watch for numbers below n.
func NewWatch(n int) *Watch {
	words := (n + 63) / 64
	return &Watch{make([]atomic.Uint64, words), make([]atomic.Uint64, (words+63)/64)}
}

// Mark adds pos, which must be below NewWatch's n.
func (w *Watch) Mark(pos int) {
	word, bit := pos/64, uint64(1)<<(pos%64)
	if w.bits[word].Load()&bit != 0 {
		return
	}
	w.bits[word].Or(bit)
	w.summary[word/64].Or(1 << (word % 64))
}

// Drain empties the set and calls fn for each number that was in it. A number
// marked meanwhile is seen by this or by the next Drain.
func (w *Watch) Drain(fn func(pos int)) {
	for s := range w.summary {
		if w.summary[s].Load() == 0 {
			continue
		}
		for words := w.summary[s].Swap(0); words != 0; words &= words - 1 {
			word := s*64 + bits.TrailingZeros64(words)
			for set := w.bits[word].Swap(0); set != 0; set &= set - 1 {
				fn(word*64 + bits.TrailingZeros64(set))
			}
		}
	}
}
