//go:build amd64 && !race

package release

import (
	"sync/atomic"
	"unsafe"
)

// Store stores a word that has one writer at a time: whoever loads it atomically sees what was stored before, too.
// Unlike Uint64.Store it may be overtaken by later loads, which matters to nobody who only hands over a bucket or an
// entry, or counts. On amd64 every store is one, while sync/atomic's is a locked instruction that waits for all loads
// before it: several for each new conn, and two for each counter of a real server.
func Store(p *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(p)) = v }
