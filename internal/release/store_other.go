//go:build !amd64 || race

package release

import "sync/atomic"

// Store is Uint64.Store, which other machines do without a lock, and the race detector knows nothing weaker.
func Store(p *atomic.Uint64, v uint64) { p.Store(v) }
