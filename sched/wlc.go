package sched

import "ulvs/lvs"

// newWLC is wlc (ip_vs_wlc.c), IPVS's default: weighted least connections, lc's cost
// divided by the weight. When all are idle the first in the list wins, whatever its weight.
func newWLC(lvs.SchedFlags, Options) policy { return newLeast(wlcRule()) }

func wlcRule() *rule { return &rule{perActive: activeCost, perInactive: 1, byWeight: true} }
