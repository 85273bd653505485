package health

import (
	"fmt"
	"net/netip"
	"time"
)

// configure makes service the one that is watched. What it has in common with the one before is kept,
// each check with its state and its time.
func (m *machine) configure(now time.Time, service *Service, initial bool, acts []action) []action {
	old := make(map[netip.AddrPort]*server, len(m.servers))
	for _, s := range m.servers {
		old[s.Address] = s
	}
	m.Service = *service
	m.servers = make([]*server, 0, len(service.Servers))
	for i := range service.Servers {
		want := &service.Servers[i]
		s := old[want.Address]
		delete(old, want.Address)
		isNew := s == nil
		if isNew {
			s = &server{machine: m, up: true, since: now, weight: want.Weight}
		}
		m.servers = append(m.servers, s)
		acts = s.configure(now, want, acts)
		acts = s.weigh(now, acts)
		acts = s.settle(now, nil, isNew, acts)
	}
	for _, s := range old {
		acts = forgetAll(s.checkers, acts)
	}
	return m.settle(now, initial, acts)
}

// configure gives the server its checks: known ones go on, others begin, up unless they are alpha.
func (s *server) configure(now time.Time, want *Server, acts []action) []action {
	known := s.checkers
	s.Server = *want
	s.checkers = make([]*checker, 0, len(want.Checks))
	for _, check := range want.Checks {
		c := takeEqual(known, check)
		if c == nil {
			c = &checker{check: check, server: s, up: !check.Alpha.Value, since: now}
			c.slot = notQueued
			if !s.machine.suspended {
				acts = append(acts, s.machine.first(now, c))
			}
		}
		s.checkers = append(s.checkers, c)
	}
	return forgetAll(known, acts)
}

// takeEqual takes a checker that does the same out of the list; nil if there is none.
func takeEqual(list []*checker, check *Check) *checker {
	for i, c := range list {
		if c != nil && c.check.Equal(check) {
			list[i] = nil
			c.check = check
			return c
		}
	}
	return nil
}

func forgetAll(list []*checker, acts []action) []action {
	for _, c := range list {
		if c != nil {
			c.gone = true
			acts = append(acts, action{forget: c})
		}
	}
	return acts
}

// target is where the checker's next probe goes.
func (c *checker) target() Target {
	return TargetOf(&c.check.Spec, c.server.machine.Key, c.server.Address, c.server.Method)
}

// describe names the checker: "http 192.0.2.1:80 via path".
func (c *checker) describe() string {
	switch c.check.Kind {
	case KindScript, KindFile:
		return fmt.Sprintf("%s %s", c.check.Kind, c.check.Path)
	case KindPing:
		return fmt.Sprintf("%s %s", c.check.Kind, c.target().Address.Addr())
	}
	return fmt.Sprintf("%s %s via %s", c.check.Kind, c.target().Address, c.check.Via)
}
