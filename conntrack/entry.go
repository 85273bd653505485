package conntrack

import (
	"sync/atomic"
	"unsafe"
)

// Ref names an entry, and the direction it was found by: entry index in bits 0..27, the
// family in bit 30, the direction in bit 31. 0 is none. It is good until its holder's
// next Quiesce; one kept longer (a Control) is good while the conn is sure to live.
type Ref uint32

const (
	idxBits      = 28
	idxMask      = 1<<idxBits - 1
	refV6    Ref = 1 << 30
	refReply Ref = 1 << 31
)

// Reply reports that the conn was found by its reply key: the packet goes from the
// real server to the client.
func (r Ref) Reply() bool { return r&refReply != 0 }

// Conn returns r without the direction: it names the conn.
func (r Ref) Conn() Ref { return r &^ refReply }

// V6 reports whether the conn is IPv6.
func (r Ref) V6() bool { return r&refV6 != 0 }

// Flags of a conn.
type Flags uint16

// Flags; the bits not named are spare.
const (
	FlagNAT       Flags = 1 << iota // two keys: found from the client and from the real server
	FlagTUN                         // forwarded in a tunnel
	FlagNoOutput                    // no reply was seen (IP_VS_CONN_F_NOOUTPUT)
	FlagTemplate                    // a persistence template: one key, client port 0
	FlagInactive                    // counted as inactive in its destination's load
	FlagOnePacket                   // one-packet scheduling
	FlagNoReply                     // its reply key was another conn's: found from the client only
	FlagSynced                      // came from a peer director
	FlagSeenReply                   // the dataplane's: a packet of the real server passed
	FlagUnlinked                    // a template that Unlink made unfindable
	FlagBypass                      // has no destination: routed to where the client wanted (cache_bypass)
	FlagStandby                     // a peer's: no packet of it came here since the peer told us of it
)

// Entry is one conn. Its first 64 bytes are the same for both families; an IPv6 entry is an
// entry6, with the addresses behind.
//
//	w0  client address | VIP<<32                          IPv4 only, immutable
//	w1  client port | VIP port<<16 | protocol<<32 | destination port<<40 | v6<<56    immutable
//	w2  destination address | service<<32                  immutable
//	w3  life | state<<2 | flags<<8 | generation<<24 | check<<48
//	w4  seen | timeout<<32
//	w5  destination id | aux<<32
//	w6  control | number of controlled conns<<32, of a NAT conn the next older one with its reply key<<32
//	w7  sent | version<<15 | 1<<63; while it is not a conn: next free entry | next chunk<<32
//
// Words are plain, not atomic.Uint64, because a new conn's are stored plainly before the atomic
// store of w3 publishes it. From then on all access is atomic.
type Entry struct {
	w [8]uint64
}

// entry6 is an IPv6 conn: x holds client, VIP and destination address, two words each.
type entry6 struct {
	Entry
	x [8]uint64
}

// Sizes are whole cache lines.
const (
	_ uintptr = 64 - unsafe.Sizeof(Entry{})
	_ uintptr = unsafe.Sizeof(Entry{}) - 64
	_ uintptr = 128 - unsafe.Sizeof(entry6{})
	_ uintptr = unsafe.Sizeof(entry6{}) - 128
)

// The life of an entry: free and dead look the same, pending is a NAT conn whose reply key is
// linked already and whose forward key is not.
const (
	lifeFree    = 0
	lifePending = 1
	lifeLive    = 2
	lifeMask    = 3

	stateShift = 2
	stateMask  = 31 << stateShift
	flagShift  = 8
	genShift   = 24
	genMask    = 1<<24 - 1
	checkShift = 48

	l4Mask    = 1<<40 - 1
	portMask  = 1<<16 - 1
	destShift = 40
	v6Bit     = 1 << 56
	lowHalf   = 1<<32 - 1
)

// State fits its field.
const _ = uint(31 - NumStates)

func (e *Entry) load(i int) uint64 { return atomic.LoadUint64(&e.w[i]) }

// word is a word as storeRelease wants it: an atomic.Uint64 is a uint64 and nothing else.
func (e *Entry) word(i int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&e.w[i])) }

// Meta is the word of an entry that changes together: life, state and flags at one moment.
type Meta uint64

// Meta loads the word once; the methods below are shorthands that each load it.
func (e *Entry) Meta() Meta { return Meta(e.load(3)) }

// Live reports whether the conn is in the table.
func (m Meta) Live() bool { return m&lifeMask == lifeLive }

// State is where the conn stands in its protocol.
func (m Meta) State() State { return State(m & stateMask >> stateShift) }

// Flags are the conn's flags.
func (m Meta) Flags() Flags { return Flags(m >> flagShift) }

// careFlags are those of conns that need a closer look at every packet.
const careFlags = FlagTemplate | FlagOnePacket | FlagBypass | FlagUnlinked | FlagStandby

// NoState is a State that no conn is in.
const NoState State = 31

// Steady reports whether the conn is live, rests in s, has none of the flags that need care, and counts no packets:
// one packet more of the kind that keeps it in s changes nothing but its timer.
func (m Meta) Steady(s State) bool {
	const care = lifeMask | stateMask | countMask<<countShift | uint64(careFlags)<<flagShift
	return uint64(m)&care == lifeLive|uint64(s)<<stateShift
}

// Live reports whether e is a conn that nobody removed.
func (e *Entry) Live() bool { return e.load(3)&lifeMask == lifeLive }

// State returns the conn's state.
func (e *Entry) State() State { return State(e.load(3) & stateMask >> stateShift) }

// Flags returns the conn's flags.
func (e *Entry) Flags() Flags { return Flags(e.load(3) >> flagShift) }

// Generation tells this conn from earlier ones in the same entry; it wraps after 16 million.
func (e *Entry) Generation() uint64 { return e.load(3) >> genShift & genMask }

// check sums up what never changes in the life of a conn, so that whoever finds the memory later can tell a conn
// from what is left of one: 16 bits, two multiplications. It is no defence against somebody who makes entries up.
func (e *Entry) check() uint64 {
	w0, w1, w2 := e.w[0], e.w[1], e.w[2]
	if w1&v6Bit != 0 {
		x := &e.wide().x
		w0 = mum(x[0]^checkA, x[1]^checkB) ^ mum(x[2]^checkC, x[3]^checkA) ^ mum(x[4]^checkB, x[5]^checkC)
	}
	return (mum(w0^checkA, w1^checkB) ^ mum(w2^checkC, checkA)) >> checkShift << checkShift
}

// Digits of pi.
const (
	checkA = 0x243f6a8885a308d3
	checkB = 0x13198a2e03707344
	checkC = 0xa4093822299f31d0
)

// SetState moves a live conn from old to new and reports whether this caller did it.
func (e *Entry) SetState(old, new State) bool {
	for {
		m := e.load(3)
		if m&lifeMask != lifeLive || State(m&stateMask>>stateShift) != old {
			return false
		}
		n := m&^stateMask | uint64(new)<<stateShift
		if atomic.CompareAndSwapUint64(&e.w[3], m, n) {
			return true
		}
	}
}

// SetFlags sets f and reports whether this caller changed a bit of it. It writes only then.
func (e *Entry) SetFlags(f Flags) bool {
	for {
		m := e.load(3)
		n := m | uint64(f)<<flagShift
		if m == n || m&lifeMask != lifeLive {
			return false
		}
		if atomic.CompareAndSwapUint64(&e.w[3], m, n) {
			return true
		}
	}
}

// ClearFlags clears f and reports whether this caller changed a bit of it.
func (e *Entry) ClearFlags(f Flags) bool {
	for {
		m := e.load(3)
		n := m &^ (uint64(f) << flagShift)
		if m == n || m&lifeMask != lifeLive {
			return false
		}
		if atomic.CompareAndSwapUint64(&e.w[3], m, n) {
			return true
		}
	}
}

// kill takes a live conn out of life; true for the one caller that did.
func (e *Entry) kill() bool {
	for {
		m := e.load(3)
		if m&lifeMask != lifeLive {
			return false
		}
		if atomic.CompareAndSwapUint64(&e.w[3], m, m&^lifeMask) {
			return true
		}
	}
}

// Seen returns when the conn was last touched.
func (e *Entry) Seen() Tick { return Tick(e.load(4)) }

// Timeout returns how long after Seen the conn expires.
func (e *Entry) Timeout() Tick { return Tick(e.load(4) >> 32) }

// Timer is when a conn was last touched and how long after that it expires, at one moment.
type Timer uint64

// TimerOf makes a Timer.
func TimerOf(seen, timeout Tick) Timer { return Timer(seen) | Timer(timeout)<<32 }

// Over reports whether the time is over.
func (t Timer) Over(now Tick) bool { return deadline(uint64(t)) <= uint64(now) }

// Timer returns the conn's timer.
func (e *Entry) Timer() Timer { return Timer(e.load(4)) }

// SetTimer sets the conn's timer.
func (e *Entry) SetTimer(t Timer) { storeRelaxed(&e.w[4], uint64(t)) }

// Touch restarts the conn's timer. It writes only if something changes, and reports whether.
func (e *Entry) Touch(now, timeout Tick) bool {
	w := uint64(now) | uint64(timeout)<<32
	if e.load(4) == w {
		return false
	}
	storeRelaxed(&e.w[4], w)
	return true
}

// Expired reports whether the conn's time is over.
func (e *Entry) Expired(now Tick) bool { return deadline(e.load(4)) <= uint64(now) }

// Remaining returns the time left, 0 when it is over.
func (e *Entry) Remaining(now Tick) Tick {
	d := deadline(e.load(4))
	if d <= uint64(now) {
		return 0
	}
	return Tick(d - uint64(now))
}

func deadline(w uint64) uint64 { return w&lowHalf + w>>32 }

// Dest returns the destination's lvs id.
func (e *Entry) Dest() uint32 { return uint32(e.load(5)) }

// SetDest binds the conn to a destination known later than the conn.
func (e *Entry) SetDest(dest uint32) { setLow(&e.w[5], dest) }

// Aux returns the dataplane's own word.
func (e *Entry) Aux() uint32 { return uint32(e.load(5) >> 32) }

// SetAux sets the dataplane's own word.
func (e *Entry) SetAux(aux uint32) {
	for {
		w := e.load(5)
		if atomic.CompareAndSwapUint64(&e.w[5], w, w&lowHalf|uint64(aux)<<32) {
			return
		}
	}
}

// Control returns the template that the conn hangs on, 0 for none. A template hangs on the one that took its place
// while conns still hang on it (FlagUnlinked), so that this one outlives them.
func (e *Entry) Control() Ref { return Ref(e.load(6)) }

// Hang hangs a conn that hangs on nothing on a template where the caller counted it before (AddControlled), and
// reports whether it does, or did until somebody deleted it and took it back there (TakeControl): else the caller
// has to.
func (e *Entry) Hang(r Ref) bool {
	return swapLow(&e.w[6], 0, uint32(r)) && (e.Live() || !swapLow(&e.w[6], uint32(r), 0))
}

// TakeControl takes a deleted conn off its template and returns that, 0 if it hung on none; counting it there no
// longer is the caller's (AddControlled). Of callers at the same time one gets it.
func (e *Entry) TakeControl() Ref {
	for {
		r := uint32(e.load(6))
		if r == 0 || swapLow(&e.w[6], r, 0) {
			return Ref(r)
		}
	}
}

// AddControlled changes the number of conns hanging on this template and returns it.
func (e *Entry) AddControlled(delta int) int {
	return int(int32(atomic.AddUint64(&e.w[6], uint64(int64(delta))<<32) >> 32))
}

// Controlled returns the number of conns hanging on this template.
func (e *Entry) Controlled() int { return int(int32(e.load(6) >> 32)) }

// Service returns the service's lvs id.
func (e *Entry) Service() uint32 { return uint32(e.load(2) >> 32) }

// Proto returns the IP protocol.
func (e *Entry) Proto() uint8 { return uint8(e.load(1) >> 32) }

// V6 reports whether the conn is IPv6.
func (e *Entry) V6() bool { return e.load(1)&v6Bit != 0 }

// ClientPort returns the client's port as a little-endian load of the wire bytes.
func (e *Entry) ClientPort() uint16 { return uint16(e.load(1)) }

// VIPPort returns the virtual port as a little-endian load of the wire bytes.
func (e *Entry) VIPPort() uint16 { return uint16(e.load(1) >> 16) }

// DestPort returns the real server's port as a little-endian load of the wire bytes.
func (e *Entry) DestPort() uint16 { return uint16(e.load(1) >> destShift) }

// Client4 returns the client's IPv4 address as a little-endian load of the wire bytes.
func (e *Entry) Client4() uint32 { return uint32(e.load(0)) }

// VIP4 returns the virtual IPv4 address as a little-endian load of the wire bytes.
func (e *Entry) VIP4() uint32 { return uint32(e.load(0) >> 32) }

// DestAddr4 returns the real server's IPv4 address as a little-endian load of the wire bytes.
func (e *Entry) DestAddr4() uint32 { return uint32(e.load(2)) }

// Client6 returns the client's IPv6 address as loads of the wire bytes; IPv6 conns only.
func (e *Entry) Client6() [2]uint64 { return e.wide().pair(0) }

// VIP6 returns the virtual IPv6 address as loads of the wire bytes; IPv6 conns only.
func (e *Entry) VIP6() [2]uint64 { return e.wide().pair(2) }

// DestAddr6 returns the real server's IPv6 address as loads of the wire bytes; IPv6 conns only.
func (e *Entry) DestAddr6() [2]uint64 { return e.wide().pair(4) }

func (e *entry6) pair(i int) [2]uint64 {
	return [2]uint64{atomic.LoadUint64(&e.x[i&7]), atomic.LoadUint64(&e.x[(i+1)&7])}
}

// swapLow replaces the low half by another if it is old, and reports whether it was.
func swapLow(p *uint64, old, low uint32) bool {
	for {
		w := atomic.LoadUint64(p)
		if uint32(w) != old {
			return false
		}
		if atomic.CompareAndSwapUint64(p, w, w&^lowHalf|uint64(low)) {
			return true
		}
	}
}

func setLow(p *uint64, low uint32) {
	for {
		w := atomic.LoadUint64(p)
		if atomic.CompareAndSwapUint64(p, w, w&^lowHalf|uint64(low)) {
			return
		}
	}
}
