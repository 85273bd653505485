package sched

import (
	"net/netip"
	"slices"

	"ulvs/lvs"
	"ulvs/packet"
)

// model is a service with its scheduler, written straight from the description
// of IPVS: lists, scans and one edit at a time. It shares nothing with the code
// it judges but lvs.Load.
type model struct {
	list   []*server // newest first
	flags  lvs.SchedFlags
	random func(n uint64) uint64
	after  func(deleted *server, before int) // an edit was made
	pick   func(t *packet.Tuple, now int64) *server
}

type server struct {
	lvs.Destination
	last    int32 // latest weight that was not 0
	deleted bool
}

func (s *server) ok() bool { return s.Weight > 0 && !s.Load.Overloaded() }

func (s *server) overhead() int64 { return int64(s.Load.Active())*256 + int64(s.Load.Inactive()) }

func (s *server) active() int64 { return int64(s.Load.Active()) }

func (s *server) weight() int64 { return int64(s.Weight) }

func (m *model) add(s *server) {
	s.last, s.deleted = s.Weight, false
	m.list = append([]*server{s}, m.list...)
	m.after(nil, -1)
}

func (m *model) del(s *server) {
	for i := range m.list {
		if m.list[i] == s {
			s.deleted = true
			m.list = append(append([]*server{}, m.list[:i]...), m.list[i+1:]...)
			m.after(s, i-1)
			return
		}
	}
}

func (m *model) edit(s *server, weight int32) {
	s.Weight = weight
	if weight != 0 {
		s.last = weight
	}
	m.after(nil, -1)
}

func (m *model) destinations() []lvs.Destination {
	var out []lvs.Destination
	for _, s := range m.list {
		out = append(out, s.Destination)
	}
	return out
}

// newModel makes the model of a scheduler, which draws random numbers from random.
func newModel(name string, flags lvs.SchedFlags, random func(uint64) uint64) *model {
	m := &model{flags: flags, random: random, after: func(*server, int) {}}
	switch name {
	case "rr":
		modelRR(m)
	case "wrr":
		modelWRR(m)
	case "lc":
		m.leastBy(func(s *server) int64 { return s.overhead() }, func(*server) int64 { return 1 })
	case "wlc":
		m.leastBy((*server).overhead, (*server).weight)
	case "sed":
		m.leastBy(func(s *server) int64 { return s.active() + 1 }, (*server).weight)
	case "nq":
		modelNQ(m)
	case "fo":
		m.heaviest(func(*server) bool { return true })
	case "ovf":
		m.heaviest(func(s *server) bool { return s.active() <= s.weight() })
	case "dh":
		modelDH(m)
	case "sh":
		modelSH(m)
	case "mh":
		modelMH(m)
	case "twos":
		modelTWOS(m)
	case "lblc":
		modelLBLC(m)
	case "lblcr":
		modelLBLCR(m)
	}
	return m
}

// leastBy is the linear scan of the least-connection schedulers.
func (m *model) leastBy(num, den func(*server) int64) {
	m.pick = func(*packet.Tuple, int64) *server { return leastOf(m.list, num, den) }
}

func leastOf(list []*server, num, den func(*server) int64) (best *server) {
	for _, s := range list {
		if s.ok() && (best == nil || num(best)*den(s) > num(s)*den(best)) {
			best = s
		}
	}
	return best
}

func (m *model) wlc() *server { return leastOf(m.list, (*server).overhead, (*server).weight) }

func modelNQ(m *model) {
	m.pick = func(*packet.Tuple, int64) *server {
		for _, s := range m.list {
			if s.ok() && s.active() == 0 {
				return s
			}
		}
		return leastOf(m.list, func(s *server) int64 { return s.active() + 1 }, (*server).weight)
	}
}

func (m *model) heaviest(fits func(*server) bool) {
	m.pick = func(*packet.Tuple, int64) (best *server) {
		for _, s := range m.list {
			if s.ok() && fits(s) && (best == nil || s.Weight > best.Weight) {
				best = s
			}
		}
		return best
	}
}

func modelRR(m *model) {
	var cursor *server // nil: the head
	m.after = func(deleted *server, before int) {
		if deleted == nil || deleted != cursor {
			return
		}
		cursor = nil
		if before >= 0 {
			cursor = m.list[before]
		}
	}
	m.pick = func(*packet.Tuple, int64) *server {
		for range 2 {
			passed := cursor == nil
			for _, s := range append(append([]*server{}, m.list...), m.list...) {
				if passed && s.ok() {
					cursor = s
					return s
				}
				passed = passed || s == cursor
			}
		}
		return nil
	}
}

// modelWRR walks every level one by one, as the kernel does. When nobody is
// usable it stops at the top level if it started at the head, else at the lowest.
func modelWRR(m *model) {
	at, level, top, step := -1, int32(0), int32(0), int32(1)
	m.after = func(*server, int) {
		top, step = 0, 0
		for _, s := range m.list {
			top = max(top, s.Weight)
			for a, b := step, s.Weight; ; a, b = b, a%b {
				if b == 0 {
					step = a
					break
				}
			}
		}
		step = max(step, 1)
		top -= step - 1
		at = -1
		if level > top || level == 0 {
			level = top
		} else if step > 1 {
			level = level/step*step + 1
		}
	}
	m.pick = func(*packet.Tuple, int64) *server {
		if top == 0 {
			return nil
		}
		if !slices.ContainsFunc(m.list, (*server).ok) {
			if level = 1; at < 0 {
				level = top
			}
			return nil
		}
		for {
			for i := at + 1; i < len(m.list); i++ {
				if s := m.list[i]; s.Weight >= level && s.ok() {
					at = i
					return s
				}
			}
			at = -1
			if level -= step; level <= 0 {
				level = top
			}
		}
	}
}

// modelTWOS is ip_vs_twos.c's walk.
func modelTWOS(m *model) {
	m.pick = func(*packet.Tuple, int64) *server {
		total := int64(0)
		for _, s := range m.list {
			if s.ok() {
				total += s.weight()
			}
		}
		if total == 0 {
			return nil
		}
		draw := func(r int64) *server {
			for _, s := range m.list {
				if s.ok() {
					if r -= s.weight(); r <= 0 {
						return s
					}
				}
			}
			panic("a number beyond the sum")
		}
		r1, r2 := int64(m.random(uint64(total+1))), int64(m.random(uint64(total+1)))
		one, two := draw(r1), draw(r2)
		if two.weight()*one.overhead() > one.weight()*two.overhead() {
			return two
		}
		return one
	}
}

// bits32 is an address as the hashing schedulers see it, word by word.
func bits32(a [16]byte) (v uint32) {
	addr := netip.AddrFrom16(a).Unmap()
	b := addr.AsSlice()
	for i := 0; i < len(b); i += 4 {
		v ^= uint32(b[i])<<24 | uint32(b[i+1])<<16 | uint32(b[i+2])<<8 | uint32(b[i+3])
	}
	return v
}
