package director

import "ulvs/lvs"

// trash decides how long removed destinations are kept, so that one that comes back has its counters
// (ip_vs_dest_trash_expire): it is looked at once a minute while there is anything in it, and what nothing
// referred to two minutes ago, and now, goes.
type trash struct {
	ticks int               // of two seconds, since the last look
	idle  map[*lvs.Load]int // for how many looks nothing referred to it
}

const (
	trashTicks = 30 // a minute of ticks
	trashLooks = 2  // further looks that it lives
)

// keep marks what is configured to be kept when it is removed. before is what was configured until now.
func (t *trash) keep(before, built *lvs.Snapshot) {
	for _, id := range changedAt(before.Destinations, built.Destinations) {
		if d := built.Destinations[id]; d != nil && !d.Removed {
			d.Load.Keep(true)
			delete(t.idle, d.Load)
		}
	}
}

// tick is called every two seconds. inUse tells whether anything refers to a removed destination.
func (t *trash) tick(built *lvs.Snapshot, inUse func(*lvs.Destination) bool) {
	any := false
	built.Trash(func(d *lvs.Destination) { any = any || d.Load.Kept() })
	if t.ticks++; !any {
		t.ticks, t.idle = 0, nil
	}
	if t.ticks < trashTicks {
		return
	}
	t.ticks = 0
	was := t.idle
	t.idle = map[*lvs.Load]int{}
	built.Trash(func(d *lvs.Destination) {
		switch {
		case !d.Load.Kept() || inUse(d):
		case was[d.Load] < trashLooks:
			t.idle[d.Load] = was[d.Load] + 1
		default:
			d.Load.Keep(false)
		}
	})
}
