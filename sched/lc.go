package sched

import "ulvs/lvs"

// newLC is lc (ip_vs_lc.c): least connections. An active session counts as much
// as 256 inactive ones; weights matter only by being zero.
func newLC(lvs.SchedFlags, Options) policy {
	return newLeast(&rule{perActive: activeCost, perInactive: 1})
}

// activeCost is ip_vs_dest_conn_overhead's price of an active session against an inactive
// one, in the form that kernels up to 6.1.176 use.
const activeCost = 256
