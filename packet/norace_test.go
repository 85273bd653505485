//go:build !race

package packet

// raceEnabled says that the race detector is in, which allocates on its own.
const raceEnabled = false
