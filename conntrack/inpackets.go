package conntrack

import "sync/atomic"

// The top four bits of Flags count the packets that came in from the client, which drop_entry
// has to know (ip_vs_conn's in_pkts): 0 says that nobody counts, n+1 says n packets.
// IPVS looks at counts up to 8 only, so a conn is written for it nine times in its life.
const (
	// FlagCounted in a Spec starts the count at 0 packets.
	FlagCounted Flags = 1 << countBit

	// CountLimit is where counting ends: this many packets or more.
	CountLimit = 9

	countBit   = 12
	countShift = flagShift + countBit
	countMask  = 15
)

// Counting reports whether the conn's next packet is to be counted.
func (m Meta) Counting() bool { return m>>countShift&countMask-1 < CountLimit }

// InPackets returns how many packets came in from the client, at most CountLimit; -1 where
// nobody counts.
func (m Meta) InPackets() int { return int(m>>countShift&countMask) - 1 }

// CountPacket counts one packet from the client, where the count is on and below its end.
func (e *Entry) CountPacket() {
	for {
		m := e.load(3)
		if m&lifeMask != lifeLive || !Meta(m).Counting() {
			return
		}
		if atomic.CompareAndSwapUint64(&e.w[3], m, m+1<<countShift) {
			return
		}
	}
}
