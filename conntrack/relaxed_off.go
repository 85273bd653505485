//go:build !race

package conntrack

// storeRelaxed stores a word that orders nothing else, such as a timer: others load it atomically and may see it late.
// A store of an aligned word is one step on every 64-bit machine. What sync/atomic offers is a locked instruction on
// amd64, which waits for all loads before it: at a million sessions, when nearly every packet restarts its timer, the
// cache misses of a batch would no longer overlap.
func storeRelaxed(p *uint64, v uint64) { *p = v }
