package health

// notQueued is the slot of a timer that is not in a heap.
const notQueued = -1

// timer is when a checker asks next, and its place in the heap: an idle checker costs these bytes and
// no goroutine.
type timer struct {
	due  int64 // nanoseconds of the engine's clock
	slot int   // in the heap; notQueued
	busy bool  // a probe is under way or waits for its turn
}

// timers is a binary heap of checkers by due.
type timers []*checker

// set puts c into the heap, or moves it.
func (h *timers) set(c *checker, due int64) {
	c.due = due
	if c.slot == notQueued {
		c.slot = len(*h)
		*h = append(*h, c)
	}
	h.down(h.up(c.slot))
}

// remove takes c out; it need not be in.
func (h *timers) remove(c *checker) {
	i := c.slot
	if i == notQueued {
		return
	}
	last := len(*h) - 1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	c.slot = notQueued
	if i < last {
		h.down(h.up(i))
	}
}

// next returns the one that is due first, nil if there is none.
func (h timers) next() *checker {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

func (h timers) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

func (h timers) up(i int) int {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].due <= h[i].due {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	return i
}

func (h timers) down(i int) {
	for {
		child := 2*i + 1
		if child+1 < len(h) && h[child+1].due < h[child].due {
			child++
		}
		if child >= len(h) || h[i].due <= h[child].due {
			return
		}
		h.swap(i, child)
		i = child
	}
}
