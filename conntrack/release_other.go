//go:build !amd64 || race

package conntrack

import "sync/atomic"

// storeRelease is Store, which other machines do without a lock, and the race detector knows nothing weaker.
func storeRelease(p *atomic.Uint64, v uint64) { p.Store(v) }
