//go:build amd64 && !race

package conntrack

import (
	"sync/atomic"
	"unsafe"
)

// storeRelease stores a word that publishes what was stored before it: whoever loads it atomically sees that, too.
// Unlike Store it may be overtaken by later loads, which matters to nobody who only hands over a bucket or an entry. On
// amd64 every store is one, while Store is a locked instruction that waits for all loads before it, several of them for
// each new conn.
func storeRelease(p *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(p)) = v }
