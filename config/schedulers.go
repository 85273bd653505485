package config

import "slices"

func schedulerNames() []string {
	return []string{"rr", "wrr", "lc", "wlc", "sed", "nq", "lblc", "lblcr", "dh", "sh", "mh", "fo", "ovf", "twos"}
}

func knownScheduler(name string) bool { return slices.Contains(schedulerNames(), name) }
