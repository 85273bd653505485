package testutil

// Rounds is how often a test of one goroutine repeats something random: n times, or a tenth of that under the race
// detector, which slows it tenfold and has nothing to find there.
func Rounds(n int) int {
	if RaceEnabled {
		return max(n/10, 1)
	}
	return n
}
