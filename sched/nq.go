package sched

import "ulvs/lvs"

// newNQ is nq (ip_vs_nq.c): never queue. The first destination without an active
// session wins whatever its weight; when all are busy it is sed.
func newNQ(lvs.SchedFlags, Options) policy {
	return newLeast(&rule{base: 1, perActive: 1, byWeight: true, idleWins: true})
}
