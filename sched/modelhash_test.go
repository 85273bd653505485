package sched

import (
	"encoding/binary"
	"math/bits"

	"ulvs/lvs"
	"ulvs/packet"
)

// golden is the kernel's hash_32.
func golden(v uint32, n int) int { return int(uint64(v) * 0x61C88647 % (1 << 32) >> (32 - n)) }

func modelDH(m *model) {
	m.pick = func(t *packet.Tuple, _ int64) *server {
		if len(m.list) == 0 {
			return nil
		}
		if s := m.list[golden(bits32(t.Dst), 8)%len(m.list)]; s.ok() {
			return s
		}
		return nil
	}
}

func modelSH(m *model) {
	m.pick = func(t *packet.Tuple, _ int64) *server {
		if len(m.list) == 0 {
			return nil
		}
		var table []*server
		for len(table) < 256 {
			for _, s := range m.list {
				for n := int64(0); n < max(1, min(256, s.weight())); n++ {
					table = append(table, s)
				}
			}
		}
		v := bits32(t.Src)
		if m.flags&lvs.SchedPort != 0 {
			v += uint32(t.SrcPort)
		}
		h := golden(v, 8)
		if table[h].ok() {
			return table[h]
		}
		for o := 0; o < 256 && m.flags&lvs.SchedFallback != 0; o++ {
			if s := table[((o+h)%256+h)%256]; s.ok() {
				return s
			}
		}
		return nil
	}
}

func modelMH(m *model) {
	var table []*server
	m.after = func(*server, int) { table = m.maglev() }
	m.pick = func(t *packet.Tuple, _ int64) *server {
		if table == nil {
			return nil
		}
		v := bits32(t.Src)
		if m.flags&lvs.SchedPort != 0 {
			v += uint32(t.SrcPort)
		}
		h := plainSip(v, mhKey1) % 4093
		if table[h].ok() {
			return table[h]
		}
		for o := uint32(0); o < 4093 && m.flags&lvs.SchedFallback != 0; o++ {
			if s := table[plainSip(v+(o+h)%4093, mhKey1)%4093]; s.ok() {
				return s
			}
		}
		return nil
	}
}

// maglev fills the table by whole permutations, as the paper has it.
func (m *model) maglev() []*server {
	g, top := int32(0), int32(0)
	for _, s := range m.list {
		top = max(top, s.last)
		a, b := g, s.last
		for b != 0 {
			a, b = b, a%b
		}
		g = a
	}
	if g == 0 {
		return nil
	}
	shift := max(0, bits.Len32(uint32(top/g))-6)
	table, next, filled := make([]*server, 4093), make([]uint32, len(m.list)), 0
	for {
		for i, s := range m.list {
			turns := s.last / g >> shift
			if turns == 0 && s.last != 0 {
				turns = 1
			}
			v := bits32(s.Addr.As16()) + uint32(s.Port)
			offset, skip := plainSip(v, mhKey1)%4093, plainSip(v, mhKey2)%4092+1
			for ; turns > 0; turns-- {
				for table[(offset+next[i]*skip)%4093] != nil {
					next[i]++
				}
				table[(offset+next[i]*skip)%4093] = s
				if filled++; filled == 4093 {
					return table
				}
			}
		}
	}
}

// plainSip is SipHash as its paper writes it, over the bytes of v.
func plainSip(v uint32, k uint64) uint32 {
	msg := make([]byte, 8)
	binary.LittleEndian.PutUint32(msg, v)
	msg[7] = 4
	v0, v1, v2, v3 := k^0x736f6d6570736575, k^0x646f72616e646f6d, k^0x6c7967656e657261, k^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13)
		v1 ^= v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16)
		v3 ^= v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21)
		v3 ^= v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17)
		v1 ^= v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	word := binary.LittleEndian.Uint64(msg)
	v3 ^= word
	round()
	v0 ^= word
	v2 ^= 0xff
	for range 3 {
		round()
	}
	return uint32(v0 ^ v1 ^ v2 ^ v3)
}
