package afxdp

import (
	"encoding/binary"
)

// HashPolicy is what of a frame decides about the member of a bond that takes it: the kernel's xmit_hash_policy
// (linux/if_bonding.h, BOND_XMIT_POLICY_*). Frames that agree in it keep their order.
type HashPolicy uint8

// The policies.
const (
	HashLayer2 HashPolicy = iota
	HashLayer34
	HashLayer23
	HashEncap23
	HashEncap34
	HashVLANSource
)

// Offsets and numbers of headers.
const (
	etherLen  = 14
	tagLen    = 4
	ipv4Len   = 20
	ipv6Len   = 40
	protoIPIP = 4
	protoTCP  = 6
	protoUDP  = 17
	protoIPv6 = 41
	protoSCTP = 132
)

// flowHash hashes what policy takes of a frame. It reads what is there: a frame cut short hashes by what it has left.
func flowHash(b []byte, policy HashPolicy) uint32 {
	if len(b) < etherLen {
		return 0
	}
	source := mix(uint64(binary.BigEndian.Uint32(b[6:]))<<16 | uint64(binary.BigEndian.Uint16(b[10:])))
	h := mix(source ^ uint64(binary.BigEndian.Uint32(b))<<16 ^ uint64(binary.BigEndian.Uint16(b[4:])))
	kind, at := binary.BigEndian.Uint16(b[12:]), etherLen
	for kind == 0x8100 || kind == 0x88a8 {
		if len(b) < at+tagLen {
			return uint32(h >> 32)
		}
		if policy == HashVLANSource {
			return uint32(mix(source^uint64(binary.BigEndian.Uint16(b[at:]))) >> 32)
		}
		kind, at = binary.BigEndian.Uint16(b[at+2:]), at+tagLen
	}
	switch policy {
	case HashVLANSource:
		h = source
	case HashLayer2:
	case HashLayer23, HashEncap23:
		h = hashIP(b[at:], kind, h, false, policy == HashEncap23)
	default:
		h = hashIP(b[at:], kind, 0, true, policy == HashEncap34)
	}
	return uint32(h >> 32)
}

// hashIP adds addresses, and ports where there are any and no fragments, to a hash; of a tunnel's packet those inside.
func hashIP(b []byte, kind uint16, h uint64, ports, inside bool) uint64 {
	var proto uint8
	var rest []byte
	switch {
	case kind == 0x0800 && len(b) >= ipv4Len:
		h = mix(h ^ binary.BigEndian.Uint64(b[12:]))
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return h
		}
		proto, rest = b[9], b[min(4*int(b[0]&15), len(b)):]
	case kind == 0x86dd && len(b) >= ipv6Len:
		for i := 8; i < ipv6Len; i += 8 {
			h = mix(h ^ binary.BigEndian.Uint64(b[i:]))
		}
		proto, rest = b[6], b[ipv6Len:]
	default:
		return h
	}
	switch {
	case inside && proto == protoIPIP:
		return hashIP(rest, 0x0800, h, ports, false)
	case inside && proto == protoIPv6:
		return hashIP(rest, 0x86dd, h, ports, false)
	case ports && (proto == protoTCP || proto == protoUDP || proto == protoSCTP) && len(rest) >= 4:
		h = mix(h ^ uint64(binary.BigEndian.Uint32(rest)))
	}
	return h
}

// mix spreads every bit over the upper half.
func mix(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	return (v ^ v>>27) * 0x94d049bb133111eb
}
