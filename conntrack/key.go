package conntrack

import (
	"math/bits"
	"sync/atomic"
)

// Key is a flow in wire byte order, exactly as packet.Parsed holds it: little-endian loads of
// the addresses, and ports | protocol<<32 in L4.
type Key struct {
	Addr [4]uint64 // IPv4: source | destination<<32 in [0]; IPv6: source in [0:2], destination in [2:4]
	L4   uint64    // source port | destination port<<16 | protocol<<32
	V6   bool
}

// Spec is a conn to insert.
type Spec struct {
	Key                // client to VIP; of a template: client masked, client port 0
	DestAddr [2]uint64 // the real server's address as wire loads; IPv4 in the low 32 bits of [0]
	DestPort uint16    // as a little-endian load of the wire bytes
	Dest     uint32    // lvs id
	Service  uint32    // lvs id
	State    State
	Flags    Flags
	Timeout  Tick
	Control  Ref    // the template this conn hangs on, 0 for none
	Aux      uint32 // the dataplane's own word
	Version  Version
}

// twoKeys reports whether a conn with these flags has a reply key.
func (f Flags) twoKeys() bool { return f&(FlagNAT|FlagTemplate) == FlagNAT }

// keys is how many keys a conn with these flags has.
func (f Flags) keys() int {
	if f.twoKeys() {
		return 2
	}
	return 1
}

// replyKey is the key of the real server's packets.
func (s *Spec) replyKey() Key {
	if s.V6 {
		return Key{
			Addr: [4]uint64{s.DestAddr[0], s.DestAddr[1], s.Addr[0], s.Addr[1]},
			L4:   replyL4(s.L4, s.DestPort), V6: true,
		}
	}
	return Key{Addr: [4]uint64{s.DestAddr[0]&lowHalf | s.Addr[0]<<32}, L4: replyL4(s.L4, s.DestPort)}
}

// replyL4 is L4 of the reply: the real server's port, then the client's.
func replyL4(l4 uint64, destPort uint16) uint64 {
	return uint64(destPort) | l4&portMask<<16 | l4&(0xff<<32)
}

// keys rebuilds both keys of an entry.
func (e *Entry) keys() (fwd, reply Key) {
	w0, w1, w2 := e.load(0), e.load(1), e.load(2)
	l4, dport := w1&l4Mask, uint16(w1>>destShift)
	if w1&v6Bit == 0 {
		fwd = Key{Addr: [4]uint64{w0}, L4: l4}
		reply = Key{Addr: [4]uint64{w2&lowHalf | w0<<32}, L4: replyL4(l4, dport)}
		return fwd, reply
	}
	c, v, d := e.Client6(), e.VIP6(), e.DestAddr6()
	fwd = Key{Addr: [4]uint64{c[0], c[1], v[0], v[1]}, L4: l4, V6: true}
	reply = Key{Addr: [4]uint64{d[0], d[1], c[0], c[1]}, L4: replyL4(l4, dport), V6: true}
	return fwd, reply
}

// Key returns the key of the client's packets.
func (e *Entry) Key() Key {
	k, _ := e.keys()
	return k
}

// match says how an entry answers to a key.
type match uint8

const (
	matchNone match = iota
	matchForward
	matchReply
)

// match4 compares an IPv4 entry with a key: addresses a, ports and protocol l4. The reply
// key is not stored but follows from the entry's other words in the same line.
func (e *Entry) match4(a, l4 uint64) match {
	w0, w1 := e.load(0), e.load(1)
	if w0 == a && (w1^l4)&l4Mask == 0 {
		return matchForward
	}
	w2 := e.load(2)
	if w2&lowHalf|w0<<32 != a || replyL4(w1, uint16(w1>>destShift)) != l4 {
		return matchNone
	}
	return e.replyIfTwoKeys()
}

// match6 compares an IPv6 entry with a key.
func (e *entry6) match6(a *[4]uint64, l4 uint64) match {
	w1 := e.load(1)
	c0, c1 := atomic.LoadUint64(&e.x[0]), atomic.LoadUint64(&e.x[1])
	if c0 == a[0] && c1 == a[1] && (w1^l4)&l4Mask == 0 &&
		atomic.LoadUint64(&e.x[2]) == a[2] && atomic.LoadUint64(&e.x[3]) == a[3] {
		return matchForward
	}
	if c0 != a[2] || c1 != a[3] || replyL4(w1, uint16(w1>>destShift)) != l4 ||
		atomic.LoadUint64(&e.x[4]) != a[0] || atomic.LoadUint64(&e.x[5]) != a[1] {
		return matchNone
	}
	return e.replyIfTwoKeys()
}

func (e *Entry) replyIfTwoKeys() match {
	if f := e.Flags(); f.twoKeys() && f&FlagNoReply == 0 {
		return matchReply
	}
	return matchNone
}

// seeds make the hash unpredictable; random per table.
type seeds [4]uint64

// mum folds the 128-bit product of two words, the mixing step of wyhash-like functions.
func mum(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash4 is two multiplications. One would be structured on sequential ports and clients.
func (s *seeds) hash4(a, l4 uint64) uint64 {
	return mum(mum(a^s[0], l4^s[1])^s[2], s[3])
}

// hash6 is hash4 for four words of addresses.
func (s *seeds) hash6(a *[4]uint64, l4 uint64) uint64 {
	return s.hash4(mum(a[0]^s[2], a[1]^s[3])^bits.RotateLeft64(mum(a[2]^s[1], a[3]^s[0]), 23), l4)
}

func (s *seeds) hash(k *Key) uint64 {
	if k.V6 {
		return s.hash6(&k.Addr, k.L4)
	}
	return s.hash4(k.Addr[0], k.L4)
}
