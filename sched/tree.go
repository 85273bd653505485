package sched

// tree is a tournament over costs: four competitors a round, so that a match
// reads one cache line, and the earlier wins a tie, as in a scan from the front.
// Changing one competitor replays only its matches: 7 for 10 000 destinations.
type tree struct {
	slots []cost // round after round; round 0 are the competitors themselves
	round [maxRounds]int
	last  int // index of the final round
	best  cost
}

const (
	arity     = 4
	maxRounds = 11 // 4^11 = 4 Mi > lvs.MaxDestinations
)

// newTree makes a tournament of n >= 1 competitors that may all not be taken.
func newTree(n int) *tree {
	t := &tree{best: never}
	size, total := groups(n), 0
	for ; ; t.last++ {
		t.round[t.last] = total
		total += size * arity
		if size == 1 {
			break
		}
		size = groups(size)
	}
	t.slots = make([]cost, total)
	for i := range t.slots {
		t.slots[i] = never
	}
	return t
}

func groups(n int) int { return (n + arity - 1) / arity }

// set gives the competitor at pos the cost c and replays its matches, until one
// ends as it did before.
func (t *tree) set(pos int, c cost) {
	for r := 0; ; r++ {
		at := t.round[r] + pos
		if t.slots[at] == c {
			return
		}
		t.slots[at] = c
		c = winner((*[arity]cost)(t.slots[at&^(arity-1):]))
		if r == t.last {
			t.best = c
			return
		}
		pos /= arity
	}
}

// winner relies on every round starting at a multiple of arity, which the sizes give.
func winner(g *[arity]cost) cost {
	left, right := &g[0], &g[2]
	if g[1].below(left) {
		left = &g[1]
	}
	if g[3].below(right) {
		right = &g[3]
	}
	if right.below(left) {
		return *right
	}
	return *left
}
