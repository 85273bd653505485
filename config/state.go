package config

import (
	"reflect"

	"ulvs/lvs"
)

// State is the part of a configuration that changes while a director runs: by ipvsadm, by
// sysctls, by a reload.
type State struct {
	Services []lvs.Service `json:"services"` // Destinations newest first
	Care     []Care        `json:"care"`     // of those services that the file says something of
	Timeouts Timeouts      `json:"timeouts"`
	Settings lvs.Settings  `json:"settings"`
}

// State returns what the file says. The caller owns the result.
func (c *Config) State() State { return State{c.Services(), c.care, c.Timeouts, c.Settings} }

// Equal reports whether a and b mean the same, the order of services and of real servers included.
func (s State) Equal(b State) bool {
	if s.Timeouts != b.Timeouts || s.Settings != b.Settings || len(s.Services) != len(b.Services) {
		return false
	}
	careA, careB := careByKey(s.Care), careByKey(b.Care)
	for i := range s.Services {
		x, y := &s.Services[i], &b.Services[i]
		if x.Key != y.Key || !sameService(x, y) || !sameCare(x, careA[x.Key], careB[y.Key]) {
			return false
		}
	}
	return true
}

// sameService reports whether a and b mean the same.
func sameService(a, b *lvs.Service) bool {
	if a.Equal(b) {
		return true // as nearly always: what follows makes copies
	}
	x, y := canonicalService(a), canonicalService(b)
	return x.Equal(&y)
}

// sameCare reports whether the same is said of the health of s and its real servers.
func sameCare(s *lvs.Service, a, b *Care) bool {
	if a == b || a != nil && b != nil && reflect.DeepEqual(a, b) {
		return true
	}
	one := func(c *Care) []Care {
		if c == nil {
			return nil
		}
		return CareFor([]Care{*c}, []lvs.Service{*s})
	}
	return reflect.DeepEqual(one(a), one(b))
}

// canonical returns the state without what means nothing: ids, counts, a mask without persistence, a
// tunnel without its method.
func (s State) canonical() State {
	services := make([]lvs.Service, len(s.Services))
	for i := range s.Services {
		services[i] = canonicalService(&s.Services[i])
	}
	s.Services, s.Care = services, CareFor(s.Care, services)
	return s
}

func canonicalService(s *lvs.Service) lvs.Service {
	svc := *s
	svc.ID, svc.Born, svc.Scale = 0, 0, 0
	if svc.Persistence == 0 || int(svc.PersistBits) == svc.Key.Addr.BitLen() {
		svc.PersistBits = 0
	}
	if svc.Persistence == 0 {
		svc.PersistWild = 0
	}
	svc.Destinations = make([]lvs.Destination, len(s.Destinations))
	for k, d := range s.Destinations {
		d.ID, d.Service, d.Load, d.Removed, d.Fate, d.Shunned = 0, 0, nil, false, lvs.FailDefault, false
		d.Edits = 0
		d.Tunnel = canonicalTunnel(&d)
		svc.Destinations[k] = d
	}
	return svc
}

func canonicalTunnel(d *lvs.Destination) lvs.Tunnel {
	switch {
	case d.Method != lvs.MethodTUN || d.Tunnel.Type == lvs.TunnelIPIP:
		return lvs.Tunnel{}
	case d.Tunnel.Type == lvs.TunnelGRE:
		return lvs.Tunnel{Type: lvs.TunnelGRE, Checksum: d.Tunnel.Checksum}
	}
	return d.Tunnel
}
