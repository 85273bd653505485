package conntrack

import (
	"sync/atomic"
	"time"

	"ulvs/internal/ring"
)

// DefaultLogSize is the records a Log holds: 130 ms at half a million a second, of 96 bytes each. A reader that shares
// its core with others waits for tens of milliseconds now and then.
const DefaultLogSize = 65536

// LogOptions are what a Log is made of.
type LogOptions struct {
	Size   int             // records, a power of two; 0: DefaultLogSize
	Digest DigestKey       // which leaves are dirty when the log was full
	Term   *atomic.Uint32  // of this director, in the low 8 bits; nil: 0 for ever
	Epoch  int64           // Unix nanoseconds at time 0 of the worker's clock
	Wake   chan<- struct{} // told, without waiting, that a sleeping reader has something to read; may be nil
}

// Log is what one worker tells the director about its conns: a bounded ring, one writer and
// one reader. The writer never waits: what does not fit is counted, and the leaf of the
// digest that covers it is marked, so that all of it is sent again.
type Log struct {
	ring     *ring.SPSC[Record]
	key      DigestKey
	term     *atomic.Uint32
	epoch    int64
	wake     chan<- struct{}
	sleeping atomic.Bool
	dropped  atomic.Uint64
	dirty    [DigestLeaves / 64]atomic.Uint64
	taken    uint64 // the reader's: dropped at the last TakeDirty
}

// NewLog makes an empty log.
func NewLog(o LogOptions) *Log {
	if o.Size == 0 {
		o.Size = DefaultLogSize
	}
	if o.Term == nil {
		o.Term = new(atomic.Uint32)
	}
	return &Log{ring: ring.New[Record](o.Size), key: o.Digest, wake: o.Wake, term: o.Term, epoch: o.Epoch}
}

// Term returns the director's term.
func (l *Log) Term() uint8 { return uint8(l.term.Load()) }

// FirstVersion returns the version for a conn that peers hear of for the first time, at time now of the
// worker's clock. Its counter is wall time in units of 65 microseconds, so that it is newer than
// whatever was said of an earlier conn with the same key in the same term; it wraps in two years.
func (l *Log) FirstVersion(now time.Duration) Version {
	return MakeVersion(l.Term(), uint64(l.epoch+int64(now))>>firstShift)
}

const firstShift = 16

// Next returns the record to be written next, which Flush will show to the reader. nil: there is no room,
// which Drop has to be told.
func (l *Log) Next() *Record { return l.ring.Claim() }

// Drop counts a record that found no room.
func (l *Log) Drop(k *Key) {
	leaf := l.key.Leaf(k)
	l.dirty[leaf/64].Or(1 << (leaf % 64))
	l.dropped.Add(1) // last: TakeDirty looks only if it moved
}

// Flush shows the reader what was written since the last Flush; once per batch.
func (l *Log) Flush() {
	if !l.ring.Publish() || !l.sleeping.Load() || !l.sleeping.CompareAndSwap(true, false) {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default: // it is being woken
	}
}

// Read returns up to limit records, the reader's until Release.
func (l *Log) Read(limit int) []Record { return l.ring.Peek(limit) }

// Release gives back the first n records of the last Read.
func (l *Log) Release(n int) { l.ring.Release(n) }

// Sleep tells the writer to wake the reader, which found nothing. false: there is something after all.
func (l *Log) Sleep() bool {
	l.sleeping.Store(true)
	if l.ring.Len() == 0 {
		return true
	}
	l.sleeping.Store(false)
	return false
}

// Dropped returns how many records found no room.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// TakeDirty adds the leaves of the digest that records were dropped of since the last call to a set; any is
// false if there are none.
func (l *Log) TakeDirty(leaves *LeafSet) (any bool) {
	n := l.dropped.Load()
	if n == l.taken {
		return false
	}
	l.taken = n
	for i := range l.dirty {
		if l.dirty[i].Load() != 0 {
			leaves[i] |= l.dirty[i].Swap(0)
			any = true
		}
	}
	return any
}
