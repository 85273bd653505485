package events

import (
	"context"
	"sync"
	"time"
)

// DefaultCapacity is how many events a Journal keeps: a thousand real servers going down and up
// twice, in 1 MiB.
const DefaultCapacity = 4096

// Options make a Journal. The zero Options are good.
type Options struct {
	Capacity int              // events kept; 0: DefaultCapacity
	Clock    func() time.Time // nil: time.Now
}

// Journal keeps the last events and wakes who reads along. Its methods may be called
// concurrently, and those of a nil Journal do nothing.
type Journal struct {
	clock func() time.Time
	epoch int64

	mu     sync.Mutex
	ring   []Event // the event with sequence number n is at n % len
	last   uint64  // sequence number of the newest; 0: none yet
	counts map[Kind]uint64
	subs   map[*Subscription]struct{}
	lost   uint64
}

// New makes an empty Journal.
func New(o Options) *Journal {
	if o.Capacity <= 0 {
		o.Capacity = DefaultCapacity
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Journal{
		clock: o.Clock, epoch: o.Clock().UnixMilli(), ring: make([]Event, o.Capacity),
		counts: map[Kind]uint64{}, subs: map[*Subscription]struct{}{},
	}
}

// Epoch tells this journal's sequence numbers from those of another run: its beginning in
// milliseconds since 1970.
func (j *Journal) Epoch() int64 { return j.epoch }

// Add gives e a sequence number and, unless it has one, a time. It never waits: whoever reads too
// slowly loses the oldest events.
func (j *Journal) Add(e Event) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = j.clock()
	}
	e.Time = e.Time.UTC()
	j.last++
	e.Seq = j.last
	j.ring[e.Seq%uint64(len(j.ring))] = e
	j.counts[e.Kind]++
	for s := range j.subs {
		select {
		case s.wake <- struct{}{}:
		default: // it has not looked since the last one
		}
	}
}

// Stats are a Journal's own figures.
type Stats struct {
	Counts      map[Kind]uint64 // added, by kind
	Subscribers int
	Lost        uint64 // events that left the ring before a subscriber read them, summed over all
}

// Stats returns the figures of now.
func (j *Journal) Stats() Stats {
	out := Stats{Counts: map[Kind]uint64{}}
	if j == nil {
		return out
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for k, n := range j.counts {
		out.Counts[k] = n
	}
	out.Subscribers, out.Lost = len(j.subs), j.lost
	return out
}

// Last returns the newest event's sequence number, 0 before the first.
func (j *Journal) Last() uint64 {
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Recent returns at most limit events that f takes, the newest last.
func (j *Journal) Recent(f Filter, limit int) []Event {
	list := []Event{}
	if j == nil {
		return list
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for seq := j.last; seq >= j.oldest() && len(list) < limit; seq-- {
		if e := &j.ring[seq%uint64(len(j.ring))]; f.Takes(e) {
			list = append(list, *e)
		}
	}
	for a, b := 0, len(list)-1; a < b; a, b = a+1, b-1 {
		list[a], list[b] = list[b], list[a]
	}
	return list
}

// oldest returns the sequence number of the oldest event kept, 1 before the first.
func (j *Journal) oldest() uint64 {
	if n := uint64(len(j.ring)); j.last > n {
		return j.last - n + 1
	}
	return 1
}

// Subscription reads a Journal along. It is for one goroutine; it has no buffer of its own.
type Subscription struct {
	j    *Journal
	next uint64 // sequence number to read
	wake chan struct{}
	lost uint64
}

// Subscribe returns a Subscription to the events after sequence number after: 0 for all that are
// kept, Last() for those to come. Close it.
func (j *Journal) Subscribe(after uint64) *Subscription {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &Subscription{j: j, next: min(after, j.last) + 1, wake: make(chan struct{}, 1)}
	s.wake <- struct{}{} // look at once
	j.subs[s] = struct{}{}
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	delete(s.j.subs, s)
}

// Wake delivers a value after events were added. Read until there is none before waiting again.
func (s *Subscription) Wake() <-chan struct{} { return s.wake }

// Read returns the next event that f takes; false if there is none yet.
func (s *Subscription) Read(f *Filter) (Event, bool) {
	j := s.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if oldest := j.oldest(); s.next < oldest {
		s.lost += oldest - s.next
		j.lost += oldest - s.next
		s.next = oldest
	}
	for ; s.next <= j.last; s.next++ {
		if e := j.ring[s.next%uint64(len(j.ring))]; f.Takes(&e) {
			s.next++
			return e, true
		}
	}
	return Event{}, false
}

// Next waits for the next event that f takes. The error is ctx's.
func (s *Subscription) Next(ctx context.Context, f *Filter) (Event, error) {
	for {
		if e, ok := s.Read(f); ok {
			return e, nil
		}
		select {
		case <-ctx.Done():
			return Event{}, ctx.Err()
		case <-s.wake:
		}
	}
}

// Lost returns how many events left the journal before this subscription read them.
func (s *Subscription) Lost() uint64 {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	return s.lost
}
