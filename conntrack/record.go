package conntrack

// Op is what a Record says of a conn.
type Op uint8

// Ops.
const (
	OpPut   Op = iota + 1 // the conn is as the record says
	OpClose               // the conn is gone
)

// Record is a conn as directors tell each other of it: nothing in it refers to one director's
// memory or numbering.
type Record struct {
	Key
	DestAddr  [2]uint64 // the real server's address as wire loads; IPv4 in the low 32 bits of [0]
	Service   uint64    // the service's identity, see lvs.ServiceKey.Identity
	Version   Version
	Remaining Tick   // until it expires
	Timeout   Tick   // of a template, as configured
	DestPort  uint16 // as a little-endian load of the wire bytes
	State     State
	Op        Op
	Flags     Flags // ReplicatedFlags only
}

// ReplicatedFlags are those that say something about a conn on another director as well.
const ReplicatedFlags = FlagNAT | FlagTUN | FlagNoOutput | FlagTemplate

// Template reports whether the record is of a persistence template.
func (r *Record) Template() bool { return r.Flags&FlagTemplate != 0 }

// Proto returns the IP protocol.
func (r *Record) Proto() uint8 { return uint8(r.L4 >> 32) }

// Describe fills r with all but the service's identity, as a put. false if e is not a conn any more, or
// ceased to be one meanwhile.
func (e *Entry) Describe(r *Record, now Tick) bool {
	m := e.Meta()
	e.describe(r, m, now)
	after := e.Meta()
	return m.Live() && after.Live() && after>>genShift == m>>genShift
}

// DescribeGone fills r as a close. e is a conn that its worker has just removed: its words are still there,
// but for the version.
func (e *Entry) DescribeGone(r *Record, v Version, now Tick) {
	e.describe(r, e.Meta(), now)
	r.Op, r.Version = OpClose, v
}

func (e *Entry) describe(r *Record, m Meta, now Tick) {
	r.Key, _ = e.keys()
	r.DestAddr = [2]uint64{e.load(2) & lowHalf}
	if r.V6 {
		r.DestAddr = e.DestAddr6()
	}
	timer := e.load(4)
	r.DestPort, r.State, r.Flags, r.Op = e.DestPort(), m.State(), m.Flags()&ReplicatedFlags, OpPut
	r.Remaining, r.Timeout, r.Version = 0, Tick(timer>>32), e.Version()
	if d := deadline(timer); d > uint64(now) {
		r.Remaining = Tick(d - uint64(now))
	}
}

// Scan calls fn for the conns among the next n entries from position at on (0: the beginning), and
// returns where to go on, 0 after the last. What comes and goes between two calls may be missed.
// r and e are good until the handle's next Quiesce.
func (h *Handle) Scan(at uint64, n int, fn func(r Ref, e *Entry)) uint64 {
	n4 := uint64(h.t.v4.high.Load())
	for ; n > 0 && at < n4; at, n = at+1, n-1 {
		if e := &h.t.v4.narrow[at]; e.Live() {
			fn(Ref(at), e)
		}
	}
	if at < n4 {
		return at
	}
	// Positions of IPv6 entries have a bit of their own: the IPv4 part may grow meanwhile.
	at = max(at, scanV6) &^ scanV6
	n6 := uint64(h.t.v6.high.Load())
	for ; n > 0 && at < n6; at, n = at+1, n-1 {
		if e := &h.t.v6.broad[at].Entry; e.Live() {
			fn(Ref(at)|refV6, e)
		}
	}
	if at < n6 {
		return at | scanV6
	}
	return 0
}

const scanV6 = 1 << 40
