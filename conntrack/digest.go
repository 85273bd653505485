package conntrack

// Sizes of a Digest: slots of leaves. At a million conns a leaf covers eight, so that what
// differs costs little to send again; flat 1024 would differ everywhere (ha.md section 5.4).
const (
	DigestSlots  = 1024
	SlotLeaves   = 128
	DigestLeaves = DigestSlots * SlotLeaves

	leafBits = 17
)

// LeafSet is a set of leaves of a Digest.
type LeafSet [DigestLeaves / 64]uint64

// Add puts a leaf in.
func (s *LeafSet) Add(leaf uint32) { s[leaf/64] |= 1 << (leaf % 64) }

// Has reports whether a leaf is in.
func (s *LeafSet) Has(leaf uint32) bool { return s[leaf/64]>>(leaf%64)&1 != 0 }

// DigestKey makes digests that nobody without it can make collide. Directors share it.
type DigestKey [4]uint64

// Leaf returns which leaf of a Digest covers a key.
func (d *DigestKey) Leaf(k *Key) uint32 { return uint32(d.Hash(k) >> (64 - leafBits)) }

// Hash returns 64 bits that stand for a key.
func (d *DigestKey) Hash(k *Key) uint64 {
	s := seeds(*d)
	return s.hash(k)
}

// sum hashes what of a conn must be equal on all directors: not its time, and not its service, which follows
// from the key where it is configured.
func (d *DigestKey) sum(r *Record, h uint64) uint64 {
	to := mum(r.DestAddr[0]^d[1], r.DestAddr[1]^uint64(r.DestPort)<<48^d[2])
	return mum(h^to^d[3], uint64(r.Version)^d[0])
}

// Digest sums up a table, order-free: the exclusive or of what its conns hash to.
type Digest struct {
	Key    DigestKey
	Leaves [DigestLeaves]uint64
}

// Add counts a conn in, or out if it was in, and returns its leaf.
func (d *Digest) Add(r *Record) uint32 {
	h := d.Key.Hash(&r.Key)
	leaf := uint32(h >> (64 - leafBits))
	d.Leaves[leaf] ^= d.Key.sum(r, h)
	return leaf
}

// Slot sums up the leaves of a slot below DigestSlots. Equal leaves give equal slots.
func (d *Digest) Slot(slot int) uint64 {
	sum := uint64(0)
	for i, leaf := range d.Leaves[slot*SlotLeaves : (slot+1)*SlotLeaves] {
		if leaf != 0 {
			sum ^= mum(leaf^d.Key[0], uint64(i)^d.Key[1])
		}
	}
	return sum
}

// Reset makes the digest that of an empty table.
func (d *Digest) Reset() { clear(d.Leaves[:]) }
