package testutil

import (
	"testing"
	"time"
)

// AwaitLimit is how long Await waits: far longer than anything takes on a busy
// machine, so that only a missing event fails.
const AwaitLimit = 60 * time.Second

// awaitStep is how often Await looks.
const awaitStep = time.Millisecond

// Await looks until cond holds, and fails the test when it does not within
// AwaitLimit. It is for states of the kernel that no channel announces; what says
// in the failure what was waited for.
func Await(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	for end := time.Now().Add(AwaitLimit); time.Now().Before(end); time.Sleep(awaitStep) {
		if cond() {
			return
		}
	}
	tb.Fatalf("waited %v in vain: %s", AwaitLimit, what)
}
