//go:build race

package testutil

// RaceEnabled tells whether the race detector is compiled in. It allocates and
// slows, so allocation and timing checks step aside.
const RaceEnabled = true
