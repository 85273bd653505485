//go:build race

package conntrack

// raceEnabled: the race detector allocates, and slows everything tenfold.
const raceEnabled = true
