//go:build race

package conntrack

import "sync/atomic"

// storeRelaxed is an atomic store for the race detector, which knows no weaker one.
func storeRelaxed(p *uint64, v uint64) { atomic.StoreUint64(p, v) }
