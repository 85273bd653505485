package differential

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// scheduler is one of a service: what it remembers, and how it picks from the service's list.
type scheduler interface {
	// changed is told of every addition, change and removal. gone is the one removed, before its predecessor
	// in the list (nil: it was the first).
	changed(list []*dest, gone, before *dest)
	pick(list []*dest, q query) *dest
}

// query is what a scheduler knows of the packet.
type query struct {
	src, dst netip.Addr
	sport    uint16
	flags    []string
}

func newScheduler(name string) scheduler {
	switch name {
	case "rr":
		return &roundRobin{}
	case "wrr":
		return &weightedRobin{step: 1}
	case "lc":
		return least{func(d *dest) int { return d.overhead() }, func(*dest) int { return 1 }}
	case "wlc":
		return wlc
	case "sed":
		return sed
	case "nq":
		return neverQueue{}
	case "fo":
		return heaviest{func(*dest) bool { return true }}
	case "ovf":
		return heaviest{func(d *dest) bool { return d.active <= d.weight }}
	case "dh":
		return &destinationHash{}
	case "sh":
		return &sourceHash{}
	case "mh":
		return &maglev{}
	case "lblc", "lblcr":
		return &locality{replicates: name == "lblcr", cached: map[netip.Addr]*localSet{}}
	}
	return nil
}

var schedulers = strings.Fields("rr wrr lc wlc sed nq fo ovf dh sh mh lblc lblcr")

func (d *dest) usable() bool { return d.weight > 0 && !d.overload }

func (d *dest) overhead() int { return 256*d.active + d.inactive }

// least takes the smallest cost by weight; the first of equals.
type least struct{ cost, weight func(*dest) int }

var (
	wlc = least{(*dest).overhead, func(d *dest) int { return d.weight }}
	sed = least{func(d *dest) int { return d.active + 1 }, func(d *dest) int { return d.weight }}
)

func (least) changed([]*dest, *dest, *dest) {}

func (l least) pick(list []*dest, _ query) (best *dest) {
	for _, d := range list {
		if d.usable() && (best == nil || l.cost(best)*l.weight(d) > l.cost(d)*l.weight(best)) {
			best = d
		}
	}
	return best
}

type neverQueue struct{}

func (neverQueue) changed([]*dest, *dest, *dest) {}

func (neverQueue) pick(list []*dest, q query) *dest {
	for _, d := range list {
		if d.usable() && d.active == 0 {
			return d
		}
	}
	return sed.pick(list, q)
}

type heaviest struct{ fits func(*dest) bool }

func (heaviest) changed([]*dest, *dest, *dest) {}

func (h heaviest) pick(list []*dest, _ query) (best *dest) {
	for _, d := range list {
		if d.usable() && h.fits(d) && (best == nil || d.weight > best.weight) {
			best = d
		}
	}
	return best
}

// roundRobin goes on behind the last one used; nil is the head of the list.
type roundRobin struct{ last *dest }

func (r *roundRobin) changed(_ []*dest, gone, before *dest) {
	if gone != nil && gone == r.last {
		r.last = before
	}
}

func (r *roundRobin) pick(list []*dest, _ query) *dest {
	at := slices.Index(list, r.last) + 1
	for _, d := range slices.Concat(list[at:], list[:at]) {
		if d.usable() {
			r.last = d
			return d
		}
	}
	return nil
}

// weightedRobin walks the list once for each level of weight.
type weightedRobin struct {
	at, level, top, step int // at: how many of the list were looked at
}

func (r *weightedRobin) changed(list []*dest, _, _ *dest) {
	r.at, r.top, r.step = 0, 0, 0
	for _, d := range list {
		r.top, r.step = max(r.top, d.weight), gcd(r.step, d.weight)
	}
	r.step = max(r.step, 1)
	r.top -= r.step - 1
	switch {
	case r.level > r.top || r.level == 0:
		r.level = r.top
	case r.step > 1:
		r.level = r.level/r.step*r.step + 1
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (r *weightedRobin) pick(list []*dest, _ query) *dest {
	if r.top == 0 {
		return nil
	}
	if !slices.ContainsFunc(list, (*dest).usable) {
		// It looks at everybody at every level and stops where it began: at the lowest level, or when it began
		// at the head at the highest again.
		if r.level = 1; r.at == 0 {
			r.level = r.top
		}
		return nil
	}
	for {
		for r.at < len(list) {
			d := list[r.at]
			r.at++
			if d.usable() && d.weight >= r.level {
				return d
			}
		}
		r.at = 0
		if r.level -= r.step; r.level <= 0 {
			r.level = r.top
		}
	}
}

// words is an address as the hashes take it: its 32-bit words, by exclusive or.
func words(a netip.Addr) (v uint32) {
	b := a.AsSlice()
	for i := 0; i < len(b); i += 4 {
		v ^= binary.BigEndian.Uint32(b[i:])
	}
	return v
}

// hash8 is hash_32(v, 8).
func hash8(v uint32) int { return int(v * 0x61C88647 >> 24) }

// destinationHash deals 256 buckets round, whatever the weights.
type destinationHash struct{ buckets []*dest }

func (h *destinationHash) changed(list []*dest, _, _ *dest) {
	h.buckets = nil
	for i := 0; i < 256 && len(list) > 0; i++ {
		h.buckets = append(h.buckets, list[i%len(list)])
	}
}

func (h *destinationHash) pick(_ []*dest, q query) *dest {
	if h.buckets == nil || !h.buckets[hash8(words(q.dst))].usable() {
		return nil
	}
	return h.buckets[hash8(words(q.dst))]
}

// sourceHash deals 256 buckets, to each as many in a row as its weight, at least one.
type sourceHash struct{ buckets []*dest }

func (h *sourceHash) changed(list []*dest, _, _ *dest) {
	h.buckets = nil
	for len(list) > 0 && len(h.buckets) < 256 {
		for _, d := range list {
			h.buckets = append(h.buckets, slices.Repeat([]*dest{d}, max(1, d.weight))...)
		}
	}
}

func (h *sourceHash) pick(_ []*dest, q query) *dest {
	if h.buckets == nil {
		return nil
	}
	at := hash8(hashed(q, "sh-port"))
	if d := h.buckets[at]; d.usable() {
		return d
	}
	if !slices.Contains(q.flags, "sh-fallback") {
		return nil
	}
	for o := range 256 {
		if d := h.buckets[((o+at)%256+at)%256]; d.usable() {
			return d
		}
	}
	return nil
}

// hashed is the client's address, and its port if the flag says so.
func hashed(q query, flag string) uint32 {
	if slices.Contains(q.flags, flag) {
		return words(q.src) + uint32(q.sport)
	}
	return words(q.src)
}

// maglev fills 4093 slots in turns, each server along its own permutation.
type maglev struct{ slots []*dest }

const (
	maglevSize        = 4093
	maglevKey, mhSkip = 2654435761, 2654446892
)

func (m *maglev) changed(list []*dest, _, _ *dest) {
	m.slots = nil
	common, top := 0, 0
	for _, d := range list {
		common, top = gcd(common, d.lastWeight), max(top, d.lastWeight)
	}
	if common == 0 {
		return
	}
	m.slots = make([]*dest, maglevSize)
	shift := max(0, bits.Len(uint(top/common))-6)
	steps := make([]int, len(list))
	for filled := 0; filled < maglevSize; {
		for i, d := range list {
			turns := d.lastWeight / common >> shift
			if d.lastWeight > 0 {
				turns = max(turns, 1)
			}
			seed := words(d.addr) + uint32(d.port)
			if d.addr.Is6() && !d.key.v6() { // the service's family says what is hashed
				seed = binary.BigEndian.Uint32(d.addr.AsSlice()) + uint32(d.port)
			}
			offset, skip := sip(seed, maglevKey)%maglevSize, sip(seed, mhSkip)%(maglevSize-1)+1
			for ; turns > 0 && filled < maglevSize; turns-- {
				for m.slots[(offset+steps[i]*skip)%maglevSize] != nil {
					steps[i]++
				}
				m.slots[(offset+steps[i]*skip)%maglevSize] = d
				filled++
			}
		}
	}
}

func (m *maglev) pick(_ []*dest, q query) *dest {
	if m.slots == nil {
		return nil
	}
	v := hashed(q, "mh-port")
	at := sip(v, maglevKey) % maglevSize
	if d := m.slots[at]; d.usable() {
		return d
	}
	for o := 0; o < maglevSize && slices.Contains(q.flags, "mh-fallback"); o++ {
		if d := m.slots[sip(v+uint32((o+at)%maglevSize), maglevKey)%maglevSize]; d.usable() {
			return d
		}
	}
	return nil
}

// sip is SipHash-1-3 of a 32-bit number in little-endian order, its low half.
func sip(v uint32, key uint64) int {
	a, b, c, d := key^0x736f6d6570736575, key^0x646f72616e646f6d, key^0x6c7967656e657261, key^0x7465646279746573
	round := func() {
		a, c = a+b, c+d
		b, d = bits.RotateLeft64(b, 13)^a, bits.RotateLeft64(d, 16)^c
		a, c = bits.RotateLeft64(a, 32)+d, c+b
		d, b = bits.RotateLeft64(d, 21)^a, bits.RotateLeft64(b, 17)^c
		c = bits.RotateLeft64(c, 32)
	}
	word := uint64(v) | 4<<56
	d ^= word
	round()
	a ^= word
	c ^= 0xff
	for range 3 {
		round()
	}
	return int(uint32(a ^ b ^ c ^ d))
}

// locality is lblc, and lblcr, which keeps a set of servers for each destination. Entries idle for a day are
// forgotten; no run is that long.
type locality struct {
	replicates bool
	cached     map[netip.Addr]*localSet
}

type localSet struct{ servers []*dest } // newest first

func (l *locality) changed(_ []*dest, gone, _ *dest) {
	// A removed server stays in the entries, unusable, for as long as they live.
}

func (l *locality) pick(list []*dest, q query) *dest {
	e := l.cached[q.dst]
	if d := l.remembered(e, list); d != nil {
		return d
	}
	d := wlc.pick(list, q)
	switch {
	case d == nil:
	case e == nil || !l.replicates:
		l.cached[q.dst] = &localSet{[]*dest{d}}
	case !slices.Contains(e.servers, d):
		e.servers = slices.Insert(e.servers, 0, d)
	}
	return d
}

func (l *locality) remembered(e *localSet, list []*dest) *dest {
	if e == nil {
		return nil
	}
	d := e.servers[0]
	if l.replicates {
		here := slices.DeleteFunc(slices.Clone(e.servers), func(d *dest) bool { return !d.available })
		d = wlc.pick(here, query{})
	}
	if d == nil || !d.available || d.weight == 0 || crowded(d, list) {
		return nil // lblc does not look at the overload flag here
	}
	return d
}

// crowded is is_overloaded: it has more active sessions than weight, and somebody is half idle.
func crowded(d *dest, list []*dest) bool {
	return d.active > d.weight && slices.ContainsFunc(list, func(o *dest) bool { return 2*o.active < o.weight })
}
