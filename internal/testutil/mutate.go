package testutil

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Mutations is how many inputs a test of a decoder makes: ULVS_MUTATIONS, else few enough for every run. Fuzzing finds
// new ways in; this makes millions of inputs a minute, where the fuzzer makes thousands.
func Mutations(tb testing.TB) int {
	tb.Helper()
	text := os.Getenv("ULVS_MUTATIONS")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		tb.Fatalf("ULVS_MUTATIONS: %v", err)
	}
	return n
}

// Mutate writes a damaged copy of one of the seeds over buf, at most limit bytes long, and returns it.
func Mutate(rng *rand.Rand, buf []byte, seeds [][]byte, limit int) []byte {
	b := append(buf[:0], seeds[rng.IntN(len(seeds))]...)
	for range 1 + rng.IntN(6) {
		if len(b) == 0 {
			b = append(b, byte(rng.Uint32()))
		}
		at := rng.IntN(len(b))
		switch rng.IntN(6) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1:
			b[at] = byte(rng.Uint32())
		case 2:
			b[at] = [...]byte{0, 1, 0x7f, 0x80, 0xff}[rng.IntN(5)]
		case 3:
			b = b[:at]
		case 4:
			other := seeds[rng.IntN(len(seeds))]
			b = append(b, other[min(at, len(other)):]...)
		case 5:
			for i := at; i < min(at+8, len(b)); i++ {
				b[i] = 0xff
			}
		}
		b = b[:min(len(b), limit)]
	}
	return b
}
