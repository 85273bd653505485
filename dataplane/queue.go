package dataplane

import (
	"time"

	"ulvs/packet"
)

// BatchSize is the most frames a worker takes from its queue at once. Measured:
// 64 beats 16 and 32 at a million flows and costs no latency, because a batch is
// whatever is there (see docs/design/0003).
const BatchSize = 64

// Queue is everything one worker sends and receives on: queue i of every
// interface (port) it serves. One goroutine uses a Queue at a time.
// [ulvs/dataplane/afxdp] and [ulvs/dataplane/memqueue] implement it.
type Queue interface {
	// Recv lends frames that arrived and returns how many, 0 when there are
	// none; it never blocks. Frame.Port tells the interface. Every lent frame
	// goes to Send or Release exactly once.
	Recv([]packet.Frame) int
	// Send takes every frame and transmits it on Frame.Port. It returns how many the
	// rings accepted; the rest were given up by the queue (the caller counts them).
	Send([]packet.Frame) int
	// Release takes frames back unsent.
	Release([]packet.Frame)
	// Alloc lends up to len empty frames (Len 0, Off the queue's headroom)
	// for packets the worker makes itself, and returns how many.
	Alloc([]packet.Frame) int
	// Wait blocks until a frame may have arrived, the timeout passed or Wake
	// was called. The error is net.ErrClosed after Close, else a port's failure.
	Wait(timeout time.Duration) error
}
