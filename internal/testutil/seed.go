package testutil

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Seed returns the seed of a randomised test and prints it with the failure. Give it
// back as ULVS_SEED=n to run the same test again.
func Seed(tb testing.TB) uint64 {
	tb.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ULVS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			tb.Fatalf("ULVS_SEED=%q is not a number below 2^64", text)
		}
		seed = n
	}
	tb.Logf("ULVS_SEED=%d", seed)
	return seed
}

// Rand returns a generator started from Seed.
func Rand(tb testing.TB) *rand.Rand {
	tb.Helper()
	return rand.New(rand.NewPCG(Seed(tb), 0))
}
