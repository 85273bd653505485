package differential

import (
	"fmt"
	"slices"
)

// datagram is what came of a fragmented one.
type datagram struct {
	parts   []*ip
	until   int64
	largest int // of the fragments, in bytes
	ends    []int
}

// pieces tells how a packet that was put together had come; nil if it came whole.
func (p *ip) pieces() *datagram { return p.of }

// gather keeps a fragment and returns the whole packet when it is the last missing one.
func (m *model) gather(p *ip) *ip {
	k := fmt.Sprint(p.src, p.dst, p.id, p.v6() || p.proto != 0, p.proto)
	d := m.partial[k]
	if d == nil || d.until <= m.now {
		d = &datagram{until: m.now + 30*ticks}
		m.partial[k] = d
	}
	d.parts = append(d.parts, p)
	d.largest = max(d.largest, p.size())
	slices.SortFunc(d.parts, func(a, b *ip) int { return a.offset - b.offset })
	whole := d.parts[0].clone()
	whole.body, d.ends = nil, nil
	for _, part := range d.parts {
		if part.offset != len(whole.body) {
			return nil
		}
		whole.body = append(whole.body, part.body...)
		d.ends = append(d.ends, len(whole.body))
	}
	if d.parts[len(d.parts)-1].more {
		return nil
	}
	delete(m.partial, k)
	whole.more, whole.offset, whole.of = false, 0, d
	return whole
}

// pieces is how a packet leaves: whole, or cut; one that had come in fragments is cut where those ended, if that
// still fits.
func (a arrival) pieces(p *ip, mtu int) (out []*ip) {
	d := p.of
	if d == nil {
		return p.cut(mtu)
	}
	mtu = min(mtu, d.largest)
	if p.size() <= mtu && p.v6() {
		return []*ip{p}
	}
	at := 0
	for i, end := range d.ends {
		f := *p
		f.offset, f.more, f.df = at, i+1 < len(d.ends), false
		end += p.shift
		f.body, at = p.body[at:end], end
		if f.size() > mtu || f.more && at%8 != 0 {
			return p.cut(mtu)
		}
		out = append(out, &f)
	}
	return out
}
