package conformance

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// ipView is an IP packet inside a frame, just enough for comparing.
type ipView struct {
	at       int // offset of the IP header in the frame
	l4       int // offset of what follows it
	end      int // end of the packet in the frame
	v6       bool
	proto    byte
	fragment bool // any fragment
	later    bool // one without the L4 header
	src, dst netip.Addr
}

// viewIP finds the IP packet of an Ethernet frame.
func viewIP(b []byte) (v ipView, ok bool) {
	if len(b) < 18 {
		return v, false
	}
	kind := be16(b[12:])
	v.at = 14
	if kind == 0x8100 {
		kind, v.at = be16(b[16:]), 18
	}
	ip := b[v.at:]
	switch {
	case kind == 0x0800 && len(ip) >= 20 && ip[0]>>4 == 4 && ip[0]&15 >= 5 && int(ip[0]&15)*4 <= len(ip):
		v.l4, v.end = v.at+int(ip[0]&15)*4, v.at+int(be16(ip[2:]))
		v.proto, v.src, v.dst = ip[9], ip4(ip[12:]), ip4(ip[16:])
		v.fragment, v.later = be16(ip[6:])&0x3fff != 0, be16(ip[6:])&0x1fff != 0
	case kind == 0x86dd && len(ip) >= 40 && ip[0]>>4 == 6:
		v.l4, v.end = v.at+40, v.at+40+int(be16(ip[4:]))
		v.proto, v.v6 = ip[6], true
		v.src, v.dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		v.fragment = v.proto == 44
	default:
		return v, false
	}
	least := v.l4
	if v.v6 && v.fragment {
		least += 8
	}
	return v, v.end >= least && v.end <= len(b)
}

// id is what the fragments of a packet have in common.
func (v ipView) id(frame []byte) uint32 {
	if v.v6 {
		return binary.BigEndian.Uint32(frame[v.l4+4:])
	}
	return uint32(be16(frame[v.at+4:]))
}

// masker hides what a recording cannot promise, and nothing else.
type masker struct {
	in    []byte // the frame that was injected
	local func(netip.Addr) bool
}

// own reports whether the director made the packet itself, as an answer or as an outer header: it comes
// from an address of ours and is not what was injected, rewritten on its way to the same destination.
func (m *masker) own(v ipView) bool {
	in, ok := viewIP(m.in)
	return m.local(v.src) && (!ok || in.dst != v.dst)
}

// masked returns copies of both frames in which everything that may differ is equal.
func (m *masker) masked(want, got []byte) ([]byte, []byte) {
	want, got = slices.Clone(want), slices.Clone(got)
	v, ok := viewIP(want)
	g, okGot := viewIP(got)
	same := ok && okGot && v.at == g.at && v.l4 == g.l4 && v.v6 == g.v6 && v.proto == g.proto && v.fragment == g.fragment
	if same && v.v6 && v.proto == 44 { // a datagram that was put together gets a new id
		clear(want[v.l4+4 : v.l4+8])
		clear(got[g.l4+4 : g.l4+8])
	}
	if !same || !m.own(v) || !m.own(g) {
		return want, got
	}
	if v.v6 {
		maskFlow(want[v.at:])
		maskFlow(got[v.at:])
	} else {
		maskID(want[v.at:v.l4], got[v.at:v.l4])
	}
	switch {
	case v.later || g.end-g.l4 < 8 || v.end-v.l4 < 8:
	case v.proto == 17: // no other UDP is the director's own but GUE
		maskGUE(want, got, v, g)
	case v.proto == 47:
		maskGRE(want[v.l4:v.end], got[g.l4:g.end], v.fragment)
	case v.v6 && v.proto == 44 && want[v.l4] == 17 && be16(want[v.l4+2:])>>3 == 0 && min(v.end, g.end) >= v.l4+16:
		v.l4, g.l4 = v.l4+8, g.l4+8 // the first fragment of a GUE packet
		maskGUE(want, got, v, g)
	}
	return want, got
}

// maskID hides the identification and, of a header whose checksum is right, the checksum that goes
// with it. An id of 0 in a packet that is not to be fragmented is compared.
func maskID(want, got []byte) {
	if be16(want[4:]) == 0 && be16(want[6:])&0x4000 != 0 {
		return
	}
	for _, h := range [][]byte{want, got} {
		if sum(h) == 0xffff {
			clear(h[10:12])
		}
		clear(h[4:6])
	}
}

func maskFlow(ip []byte) {
	binary.BigEndian.PutUint32(ip, binary.BigEndian.Uint32(ip)&^0xfffff)
}

// maskGUE hides the source port, and the checksum that goes with it.
func maskGUE(want, got []byte, v, g ipView) {
	w, o := want[v.l4:v.end], got[g.l4:g.end]
	if be16(w[6:]) != 0 && be16(o[6:]) != 0 {
		right := g.fragment || sum(pseudo(got, g), o) == 0xffff
		maskChecksum(w[6:8], o[6:8], right)
	}
	clear(w[:2])
	clear(o[:2])
}

// maskGRE hides a checksum that both have.
func maskGRE(want, got []byte, fragment bool) {
	if want[0]&0x80 != 0 && got[0]&0x80 != 0 {
		maskChecksum(want[4:6], got[4:6], fragment || sum(got) == 0xffff)
	}
}

// maskChecksum makes two checksums equal if ours is right, which nobody can tell of a fragment alone,
// and unequal if not: the recording's may have been left to offload.
func maskChecksum(want, got []byte, right bool) {
	copy(want, got)
	if !right {
		want[0]++
	}
}

// pseudo returns the pseudo-header of the packet in frame b.
func pseudo(b []byte, v ipView) []byte {
	n := uint16(v.end - v.l4)
	p := slices.Concat(v.src.AsSlice(), v.dst.AsSlice())
	return append(p, 0, v.proto, byte(n>>8), byte(n))
}
