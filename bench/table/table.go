// Package table drives the connection table by itself: what it costs to insert, find and remove a session, to
// look through all of them for what expired, and to keep one in memory.
//
// It owns the sessions that it makes up. It does not time anything (package measure does).
package table

import (
	"fmt"
	"time"

	"ulvs/conntrack"
	"ulvs/packet"
)

// Kind of sessions.
type Kind struct {
	Name string
	V6   bool
	NAT  bool // found from both sides
}

// Kinds are all of them.
var Kinds = []Kind{{Name: "dr"}, {Name: "nat", NAT: true}, {Name: "dr6", V6: true}, {Name: "nat6", V6: true, NAT: true}}

// batch is how many frames the data plane looks up at once.
const batch = 64

// Bed is a table with sessions in it.
type Bed struct {
	kind   Kind
	table  *conntrack.Table
	handle *conntrack.Handle
	count  int // sessions 0 to count-1 are there
	random uint64
	parsed [batch]packet.Parsed
	refs   [batch]conntrack.Ref
}

// New makes an empty table of 1<<bits sessions; more make its index grow.
func New(k Kind, bits uint8) (*Bed, error) {
	t, err := conntrack.New(conntrack.Options{Bits: bits, HugePages: true, Seed: 1})
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	b := &Bed{kind: k, table: t, handle: t.Worker(0), random: 88172645463325252}
	for i := range b.parsed {
		b.parsed[i] = packet.Parsed{Kind: packet.KindFlow, Proto: packet.ProtoTCP}
		if k.V6 {
			b.parsed[i].Flags |= packet.FlagV6
		}
	}
	return b, nil
}

// Close gives the memory back.
func (b *Bed) Close() error { return b.table.Close() }

// Stats returns the table's state.
func (b *Bed) Stats() conntrack.Stats { return b.table.Stats() }

// Load is the share of the index that is used.
func (b *Bed) Load() float64 {
	s := b.table.Stats()
	return float64(s.Slots) / float64(max(s.Capacity, 1))
}

// BytesEach is the memory in use by entries and index for each session.
func (b *Bed) BytesEach() float64 {
	s := b.table.Stats()
	return float64(s.Bytes) / float64(max(s.Conns, 1))
}

// Words of the made-up addresses.
const (
	vip4      = 0x0801a8c0 // 192.168.1.8 as a wire load
	real4     = 0x1001a8c0
	prefix6   = 0xb80d0120
	port80    = 80 << 8
	longLived = 300 * 24 * 3600 * conntrack.TicksPerSecond
)

func (b *Bed) key(n uint64) (k conntrack.Key) {
	k.V6, k.L4 = b.kind.V6, n>>24&0xffff|port80<<16|packet.ProtoTCP<<32
	if k.V6 {
		k.Addr = [4]uint64{prefix6, n, prefix6, 1 << 56}
		k.L4 = 0x3930 | port80<<16 | packet.ProtoTCP<<32
		return k
	}
	k.Addr[0] = n&0xffffff<<8 | 10 | vip4<<32
	return k
}

func (b *Bed) spec(n uint64) conntrack.Spec {
	s := conntrack.Spec{
		Key: b.key(n), DestPort: port80, Dest: uint32(n)&7 + 1, Service: 1,
		State: conntrack.TCPEstablished, Timeout: longLived,
	}
	s.DestAddr[0] = real4
	if b.kind.V6 {
		s.DestAddr = [2]uint64{prefix6, 2 << 56}
	}
	if b.kind.NAT {
		s.Flags = conntrack.FlagNAT
	}
	return s
}

// Insert adds the next n sessions.
func (b *Bed) Insert(n int) error {
	for i := range n {
		s := b.spec(uint64(b.count))
		if _, result := b.handle.Insert(&s, 0); result != conntrack.Inserted {
			return fmt.Errorf("table: session %d: %s", b.count, result)
		}
		b.count++
		if i%batch == 0 {
			b.handle.Quiesce()
		}
	}
	b.handle.Quiesce()
	return nil
}

// Remove takes the last n sessions out again; each is looked up first.
func (b *Bed) Remove(n int) error {
	for i := range n {
		b.count--
		key := b.key(uint64(b.count))
		if ref := b.handle.FindKey(&key); ref == 0 || !b.handle.Delete(ref) {
			return fmt.Errorf("table: session %d is not there", b.count)
		}
		if i%batch == 0 {
			b.handle.Quiesce()
		}
	}
	for range 8 { // boundaries until what was removed may be used again
		b.handle.Quiesce()
	}
	return nil
}

// Find looks up n random sessions, size at once, as the data plane does with a batch of frames. Keys are
// computed, not stored, so that they do not compete for the cache; that is about 2 ns of each.
func (b *Bed) Find(n, size int) error {
	parsed, refs := b.parsed[:size], b.refs[:size]
	for done := 0; done < n; done += size {
		for i := range parsed {
			b.random = b.random*6364136223846793005 + 1442695040888963407
			k := b.key((b.random >> 32) * uint64(b.count) >> 32)
			parsed[i].Addr, parsed[i].L4 = k.Addr, k.L4
		}
		b.handle.Find(parsed, refs)
		b.handle.Quiesce()
	}
	for i, r := range refs {
		if r == 0 {
			return fmt.Errorf("table: a session that is there was not found (%d of a batch)", i)
		}
	}
	return nil
}

// keep renews nothing and removes nothing.
type keep struct{}

// Expired implements conntrack.Sweeper.
func (keep) Expired(conntrack.Ref, *conntrack.Entry) bool { return false }

// Sweep looks through all sessions for expired ones, of which there are none, and returns how many entries
// that were.
func (b *Bed) Sweep() int {
	n := b.table.Span()
	b.handle.Advance(1, n, keep{})
	return n
}

// Grow inserts n sessions into an empty table of the smallest size and returns what each took. The clock's
// own 40 ns or so are in it.
func Grow(k Kind, n int) ([]time.Duration, error) {
	b, err := New(k, conntrack.MinBits)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	took := make([]time.Duration, n)
	for i := range took {
		s := b.spec(uint64(i))
		begin := time.Now()
		_, result := b.handle.Insert(&s, 0)
		took[i] = time.Since(begin)
		if result != conntrack.Inserted {
			return nil, fmt.Errorf("table: session %d: %s", i, result)
		}
		if i%batch == 0 {
			b.handle.Quiesce()
		}
	}
	return took, nil
}
