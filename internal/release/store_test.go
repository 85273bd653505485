package release

import (
	"sync/atomic"
	"testing"
)

// Whoever sees the word sees what was stored before it.
func TestAReaderOfTheWordSeesWhatWasStoredBefore(t *testing.T) {
	const last = 200_000
	var before, word atomic.Uint64
	go func() {
		for i := uint64(1); i <= last; i++ {
			Store(&before, i)
			Store(&word, i)
		}
	}()
	for seen := uint64(0); seen < last; {
		seen = word.Load()
		if b := before.Load(); b < seen {
			t.Fatalf("the word is %d, what was stored before it %d", seen, b)
		}
	}
}
