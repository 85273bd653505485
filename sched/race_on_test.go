//go:build race

package sched

// raceEnabled: the race detector allocates, so allocation tests mean nothing.
const raceEnabled = true
