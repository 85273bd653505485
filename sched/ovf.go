package sched

import "ulvs/lvs"

// newOVF is ovf (ip_vs_ovf.c): overflow. As fo, until a destination has more
// active sessions than its weight (so it takes weight + 1), then the next one. Sessions that
// count as inactive, such as UDP's, never fill it.
func newOVF(lvs.SchedFlags, Options) policy {
	return newLeast(&rule{base: 1, byWeight: true, spill: true})
}
