// Package memqueue is a dataplane.Queue in memory: frames are injected by hand and
// what was sent is taken out again. Tests, conformance replays and benchmarks
// drive whole pipelines with it, without root, threads or a clock.
//
// It keeps AF_XDP's shape (chunks with headroom, a bounded pool, linear ownership)
// and checks it: a frame released twice or never panics or shows in Lent. It does
// not imitate timing, and it is not for production traffic.
package memqueue

import (
	"fmt"
	"net"
	"sync"
	"time"

	"ulvs/packet"
)

// Sizes of a chunk and of the headroom in front of a received frame, as the kernel's
// XDP leaves it.
const (
	ChunkSize = 10240
	Headroom  = 256
)

// Sent is a frame that the worker transmitted.
type Sent struct {
	Port uint8
	Data []byte
}

// Queue implements dataplane.Queue. Inject and Take may be called from another
// goroutine than the worker's.
type Queue struct {
	mu      sync.Mutex
	wake    *sync.Cond
	free    []uint64
	lent    []bool
	memory  []byte
	rx      []packet.Frame
	tx      []Sent
	txLimit int
	closed  bool
	woken   bool
}

// New makes a queue with a pool of n frames.
func New(n int) *Queue {
	q := &Queue{memory: make([]byte, n*ChunkSize), lent: make([]bool, n), txLimit: 1 << 30}
	q.wake = sync.NewCond(&q.mu)
	for i := n - 1; i >= 0; i-- {
		q.free = append(q.free, uint64(i))
	}
	return q
}

// LimitTx makes Send accept at most n frames until Take is called.
func (q *Queue) LimitTx(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.txLimit = n
}

// Inject makes data arrive on port. It reports false when the pool is empty or data
// does not fit a chunk.
func (q *Queue) Inject(port uint8, data []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.free) == 0 || len(data) > ChunkSize-Headroom {
		return false
	}
	f := q.take()
	f.Port, f.Len = port, uint16(len(data))
	copy(f.Buf[f.Off:], data)
	q.rx = append(q.rx, f)
	q.wake.Broadcast()
	return true
}

// Take returns what was sent since the last Take, in order.
func (q *Queue) Take() []Sent {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.tx
	q.tx = nil
	return out
}

// Lent returns how many frames the worker holds: 0 between batches, but for frames
// that wait for a neighbour.
func (q *Queue) Lent() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, lent := range q.lent {
		if lent {
			n++
		}
	}
	return n
}

// Close makes Wait return net.ErrClosed.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Broadcast()
	return nil
}

// Wake makes a Wait that runs or comes next return at once.
func (q *Queue) Wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.woken = true
	q.wake.Broadcast()
}

// Recv lends the frames that were injected.
func (q *Queue) Recv(frames []packet.Frame) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := copy(frames, q.rx)
	for i := range frames[:n] {
		q.lent[frames[i].Addr] = true
	}
	q.rx = append(q.rx[:0], q.rx[n:]...)
	return n
}

// Send records the frames as sent and takes them back.
func (q *Queue) Send(frames []packet.Frame) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	sent := 0
	for i := range frames {
		if len(q.tx) < q.txLimit {
			q.tx = append(q.tx, Sent{frames[i].Port, append([]byte(nil), frames[i].Bytes()...)})
			sent++
		}
		q.give(&frames[i])
	}
	return sent
}

// Release takes frames back.
func (q *Queue) Release(frames []packet.Frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range frames {
		q.give(&frames[i])
	}
}

// Alloc lends empty frames.
func (q *Queue) Alloc(frames []packet.Frame) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(frames), len(q.free))
	for i := range frames[:n] {
		frames[i] = q.take()
		q.lent[frames[i].Addr] = true
	}
	return n
}

// Wait blocks until something was injected, Wake, Close, or the timeout.
func (q *Queue) Wait(timeout time.Duration) error {
	timer := time.AfterFunc(timeout, q.Wake)
	defer timer.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.rx) == 0 && !q.woken && !q.closed {
		q.wake.Wait()
	}
	q.woken = false
	if q.closed {
		return net.ErrClosed
	}
	return nil
}

func (q *Queue) take() packet.Frame {
	addr := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	start := int(addr) * ChunkSize
	return packet.Frame{Buf: q.memory[start : start+ChunkSize : start+ChunkSize], Addr: addr, Off: Headroom}
}

func (q *Queue) give(f *packet.Frame) {
	if !q.lent[f.Addr] {
		panic(fmt.Sprintf("memqueue: frame %d given back, but it is not lent", f.Addr))
	}
	q.lent[f.Addr] = false
	q.free = append(q.free, f.Addr)
}
