package conntrack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of Options.
const (
	MinBits     = 8
	MaxBits     = 27
	DefaultBits = 20
	MaxWorkers  = 1024

	// maxEntries is what 28 bits of a slot can name.
	maxEntries = 1<<idxBits - 1
	// roomy is the entries that address space is reserved for by default: far past any
	// DefaultBits, 4 GiB for IPv4 of which only what is used becomes memory.
	roomy = 64 << 20
	// heapEntries bounds the heap-backed table, whose arrays are allocated whole.
	minHeapEntries, maxHeapEntries = 1 << 16, 1 << 20
)

// ErrOptions is wrapped by every error of New that is about its Options.
var ErrOptions = errors.New("conntrack: bad options")

// Options of New. The zero value is a table of 1<<20 conns for one worker.
type Options struct {
	Bits      uint8  // size: 1<<Bits conns, 8..27; 0: 20. More conns make the index grow
	MaxConns  int    // refuse conns past this number; 0: as many as memory holds
	Workers   int    // handles; 0: 1
	Heap      bool   // on the Go heap, which the race detector sees; tests, small Bits
	HugePages bool   // ask for transparent huge pages
	Seed      uint64 // of the hash; 0: random
	Keep      Keep   // where the conns outlive the process

	entries int // tests: reserve for this many only
	over    int // tests: overflow buckets
}

// Table is the conns of a director. Its own methods are for any goroutine, at any time
// before Close; the data plane's are those of a Handle.
type Table struct {
	v4, v6  part
	seeds   seeds
	epochs  epochs
	limit   limit
	cursor  atomic.Uint64 // of the sweep over both parts
	bits    uint8
	handles []*Handle
	mem     memory
	kept    kept

	walking sync.Mutex // one Walk at a time: they share a reader
	closed  bool       // under walking
	stop    chan struct{}
	ahead   sync.WaitGroup
}

// Handle is one worker's access to a Table; one goroutine uses it at a time.
type Handle struct {
	t        *Table
	id       int
	epoch    uint64 // as last stored in the reader
	boundary uint32
	waiting  bool // removed entries are in bags
	dirty    bool // counts differ from what is published
	v4, v6   local
	lease    int // conns this worker may still insert
	own      counts
	gone     Version
	batch    batch
	_        [64]byte
	told     published
}

// New makes a table. The error names the option, or says that the system
// would not reserve the address space.
func New(o Options) (*Table, error) {
	if err := o.normalize(); err != nil {
		return nil, err
	}
	t := &Table{bits: o.Bits, mem: memory{heap: o.Heap, huge: o.HugePages, file: o.Keep.File}, stop: make(chan struct{})}
	if err := t.reserve(o); err != nil {
		return nil, fmt.Errorf("conntrack: %w", err)
	}
	rng := rand.New(rand.NewPCG(o.Seed, o.Seed))
	for i := range t.seeds {
		t.seeds[i] = rng.Uint64() | 1
	}
	t.limit.init(o.MaxConns, o.Workers)
	t.epochs.init(o.Workers + 1)
	t.handles = make([]*Handle, o.Workers)
	for i := range t.handles {
		t.handles[i] = &Handle{t: t, id: i, epoch: offline}
	}
	if !o.Heap {
		t.populate(startPieces)
		t.ahead.Go(t.runAhead)
	}
	return t, nil
}

func (o *Options) normalize() error {
	if o.Bits == 0 {
		o.Bits = DefaultBits
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	for o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	switch {
	case o.Bits < MinBits || o.Bits > MaxBits:
		return fmt.Errorf("%w: conn_tab_bits %d is not in %d..%d", ErrOptions, o.Bits, MinBits, MaxBits)
	case o.MaxConns < 0 || o.MaxConns > maxEntries:
		return fmt.Errorf("%w: max_conns %d is not in 0..%d", ErrOptions, o.MaxConns, maxEntries)
	case o.Workers < 0 || o.Workers > MaxWorkers:
		return fmt.Errorf("%w: %d workers are not in 1..%d", ErrOptions, o.Workers, MaxWorkers)
	}
	return nil
}

// room is how many entries to reserve address space for.
func (o *Options) room() int {
	size := 1 << o.Bits
	switch {
	case o.entries > 0:
		return o.entries
	case o.Heap:
		return max(minHeapEntries, min(8*size, maxHeapEntries))
	case o.MaxConns > 0:
		// A quarter and some more wait for the workers' boundaries or in their chunks.
		return min(o.MaxConns+o.MaxConns/4+1<<16, maxEntries)
	}
	return min(max(roomy, 4*size), maxEntries)
}

// reserve gets the arrays of both parts. Where the system grants less address space than asked
// (a limit on it, strict overcommit), half as much is tried, down to the configured size.
func (t *Table) reserve(o Options) error {
	for room := o.room(); ; room /= 2 {
		err := t.reserveRoom(o, room)
		if err == nil {
			return nil
		}
		_ = t.mem.close()
		if !errors.Is(err, unix.ENOMEM) || room/2 < 1<<o.Bits {
			return err
		}
	}
}

func (t *Table) reserveRoom(o Options, room int) error {
	s := sizesFor(o.Bits, room, o.Workers)
	if err := t.v4.init(&t.mem, s); err != nil {
		return err
	}
	s.v6 = true
	if err := t.v6.init(&t.mem, s); err != nil {
		return err
	}
	if err := t.kept.init(&t.mem, o.Keep); err != nil {
		return err
	}
	if o.over > 0 {
		t.v4.pool.buckets = t.v4.pool.buckets[:o.over]
		t.v6.pool.buckets = t.v6.pool.buckets[:o.over]
	}
	return nil
}

// Close gives the memory back. Workers have stopped using their handles before.
func (t *Table) Close() error {
	t.walking.Lock()
	defer t.walking.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	close(t.stop)
	t.ahead.Wait()
	return t.mem.close()
}

// Worker returns handle i, below Options.Workers, online: from now on memory is reused
// only after this worker's Quiesce, or its Park.
func (t *Table) Worker(i int) *Handle {
	h := t.handles[i]
	h.Unpark()
	return h
}

// Entry returns the entry of a Ref that is not 0. It is inlined.
func (t *Table) Entry(r Ref) *Entry {
	if r&refV6 == 0 {
		return &t.v4.narrow[r&idxMask]
	}
	return &t.v6.broad[r&idxMask].Entry
}

// Entry is Table.Entry for who holds a Handle.
func (h *Handle) Entry(r Ref) *Entry { return h.t.Entry(r) }

// part returns the family's part, and what the worker keeps of it.
func (h *Handle) part(v6 bool) (*part, *local) {
	if v6 {
		return &h.t.v6, &h.v6
	}
	return &h.t.v4, &h.v4
}

// Memory is populated ahead of its use in the background, because the first touch of a huge page
// costs the worker a quarter of a millisecond while the kernel clears it.
const (
	aheadEvery   = 20 * time.Millisecond
	aheadEntries = 4 << 20 // bytes of entries ahead of those in use
	aheadOver    = 1 << 20 // bytes of overflow buckets
	aheadLoad    = 38      // in 64ths (60 %): then the next doubling's buckets are populated
	startPieces  = 32      // huge pages that New populates itself: all of a default table
	aheadPieces  = 16      // huge pages per round and array, about 4 ms of clearing
)

// runAhead populates until Close.
func (t *Table) runAhead() {
	tick := time.NewTicker(aheadEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
			t.populate(aheadPieces)
		}
	}
}

func (t *Table) populate(pieces int) {
	t.v4.populate(pieces, true)
	t.v6.populate(pieces, t.v6.high.Load() > 1)
}

// populate makes up to pieces huge pages of each array ready; a part not in use costs nothing.
func (p *part) populate(pieces int, used bool) {
	if !used {
		return
	}
	depth, active := p.level()
	if active || p.over(aheadLoad) {
		depth++
	}
	p.bucketArea.populate(bucketSize<<depth, pieces)
	p.entryArea.populate(int(p.high.Load())*p.stride()+aheadEntries, pieces)
	p.overArea.populate(int(p.pool.high.Load())*bucketSize+aheadOver, pieces)
}
