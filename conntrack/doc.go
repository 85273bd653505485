// Package conntrack is the table of conns that all workers share.
//
// It is for the data plane: find the conn of a frame in a batch, insert one,
// advance its state, let it expire. It owns the memory of the conns (outside the
// Go heap, pointer-free), the index over them, the TCP and UDP states with
// IPVS's timeouts, and the rule when a removed conn's memory may be used again.
// It does not know services, forward frames, read a clock or start timers:
// the time is a parameter, and expiry happens in the caller's Advance.
//
// # Layout
//
// Each family is a part of its own: an array of entries (64 bytes for IPv4, 128
// for IPv6) and an index of buckets of one cache line:
//
//	bucket  | head | slot 0 | ... | slot 6 |   head: lock, splitting, depth, version, overflow
//	slot    | 36 bits of hash | 28 bits entry |   0: empty
//
// The bucket of a key is the low bits of those 36, so a bucket is split in two
// without touching an entry. A conn has one slot, and a NAT conn two: one for the
// client's direction and one for the reply's, both naming the same entry.
//
// # Who may do what, when
//
// Readers take no lock: they load a bucket, its slots and the entry with atomics. A
// hit is proven by the entry's key. A miss is proven by the bucket's head not
// having moved meanwhile. Writers lock the bucket they change by a bit of its head.
// The index grows by linear hashing in place: each Insert splits a few
// buckets while a doubling is under way, and lookups go on.
//
// A removed entry is used again only after every worker has passed a batch boundary
// (Quiesce) twice over, so a Ref is good until its holder's next Quiesce.
package conntrack
