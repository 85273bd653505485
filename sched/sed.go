package sched

import "ulvs/lvs"

// newSED is sed (ip_vs_sed.c): shortest expected delay, (active + 1) / weight. The one added is
// the session to come, so idle destinations are taken by weight.
func newSED(lvs.SchedFlags, Options) policy {
	return newLeast(&rule{base: 1, perActive: 1, byWeight: true})
}
