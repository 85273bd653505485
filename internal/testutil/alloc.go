package testutil

import "testing"

// allocRuns is how often fn runs: enough that one allocation in a hundred calls of
// some other goroutine does not round up to one per run.
const allocRuns = 100

// AllocFree fails the test if fn allocates. It runs fn once to warm up, then a
// hundred times. Under the race detector fn runs once and nothing is
// checked. A test that calls it must not be parallel.
func AllocFree(tb testing.TB, fn func()) {
	tb.Helper()
	if RaceEnabled {
		fn()
		return
	}
	if n := testing.AllocsPerRun(allocRuns, fn); n != 0 {
		tb.Errorf("%v allocations per run, want none", n)
	}
}
