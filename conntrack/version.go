package conntrack

import "sync/atomic"

// Version orders what directors know of one conn: the newer one holds. It is 48 bits, the term
// of the director that said it above 40 bits of counter. 0: nobody told a peer of this conn.
type Version uint64

const (
	versionBits = 48
	termShift   = 40
	counterMask = 1<<termShift - 1
	// farTerms is how many takeovers may lie between two versions for the terms to order them.
	farTerms = 64

	// An entry's word 7 has isConn set while the entry is a conn. The links that take its place
	// afterwards never have that bit, so that no late CompareAndSwap hits one of them.
	isConn       = 1 << 63
	versionShift = 15
	sentMask     = 1<<versionShift - 1 // seconds, and wraps in nine hours
)

// MakeVersion returns the version of a conn that is new in a term. counter should grow with time, so that a
// conn made anew is newer than the last one with its key; its low 40 bits count.
func MakeVersion(term uint8, counter uint64) Version {
	return Version(term)<<termShift | Version(counter&counterMask)
}

// Term returns the term of the director that said it.
func (v Version) Term() uint8 { return uint8(v >> termShift) }

// Newer reports whether v is newer than o. Terms and counters wrap around. Where too many takeovers lie between the two
// to say which term was first, as with a link that flaps for minutes, counters decide: they grow with time.
func (v Version) Newer(o Version) bool {
	if far(v.Term(), o.Term()) {
		return v.Later(o)
	}
	return int64(v-o)<<(64-versionBits) > 0
}

// Later reports whether v was made after o by the counters alone, which directors with good clocks have in step. It
// serves where a term cannot be compared any more: what is made anew after more than 128 takeovers is later, and seems
// older.
func (v Version) Later(o Version) bool { return int64(v-o)<<(64-termShift) > 0 }

// far reports whether two terms are too far apart to say which was first.
func far(a, b uint8) bool {
	d := int8(a - b)
	return d > farTerms || d < -farTerms
}

// Next returns a version newer than v, of the given term unless v is of a later one.
func (v Version) Next(term uint8) Version {
	if int8(term-v.Term()) < 0 && !far(term, v.Term()) {
		term = v.Term()
	}
	return MakeVersion(term, uint64(v)+1)
}

// NewerTerm reports whether term a comes after term b.
func NewerTerm(a, b uint8) bool { return int8(a-b) > 0 }

func stamp(v Version, now Tick) uint64 {
	return isConn | uint64(v)<<versionShift | uint64(now/TicksPerSecond)&sentMask
}

// Version returns the conn's version; 0 for one that no peer was told of, and for one that is gone.
func (e *Entry) Version() Version {
	w := e.load(7)
	if w&isConn == 0 {
		return 0
	}
	return Version(w &^ isConn >> versionShift)
}

// GoneVersion returns the version that the conn had which this handle deleted last.
func (h *Handle) GoneVersion() Version { return h.gone }

// SinceSent returns how long ago peers were told of the conn or told us, in whole seconds as ticks, at
// most nine hours.
func (e *Entry) SinceSent(now Tick) Tick {
	return Tick((uint64(now/TicksPerSecond)-e.load(7))&sentMask) * TicksPerSecond
}

// Advance gives the conn a newer version and returns it; 0 if the conn is gone. A conn that has none
// gets first.
func (e *Entry) Advance(term uint8, first Version, now Tick) Version {
	for {
		w := e.load(7)
		if w&isConn == 0 || !e.Live() {
			return 0
		}
		v := Version(w &^ isConn >> versionShift)
		if v == 0 {
			v = first
		} else {
			v = v.Next(term)
		}
		if atomic.CompareAndSwapUint64(&e.w[7], w, stamp(v, now)) {
			return v
		}
	}
}

// SetVersion gives the conn a peer's version, or its own again to note that it was sent now. false if
// the conn is gone.
func (e *Entry) SetVersion(v Version, now Tick) bool {
	for {
		w := e.load(7)
		if w&isConn == 0 || !e.Live() {
			return false
		}
		if atomic.CompareAndSwapUint64(&e.w[7], w, stamp(v, now)) {
			return true
		}
	}
}
