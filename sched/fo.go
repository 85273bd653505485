package sched

import "ulvs/lvs"

// newFO is fo (ip_vs_fo.c): failover. The highest weight takes everything: cost 1 / weight.
func newFO(lvs.SchedFlags, Options) policy {
	return newLeast(&rule{base: 1, byWeight: true})
}
