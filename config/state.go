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
	s, b = s.canonical(), b.canonical()
	return s.Timeouts == b.Timeouts && s.Settings == b.Settings && reflect.DeepEqual(s.Services, b.Services) &&
		reflect.DeepEqual(s.Care, b.Care)
}

// canonical returns the state without what means nothing: ids, counts, a mask without persistence, a
// tunnel without its method.
func (s State) canonical() State {
	services := make([]lvs.Service, len(s.Services))
	for i, svc := range s.Services {
		svc.ID, svc.Born = 0, 0
		if svc.Persistence == 0 || int(svc.PersistBits) == svc.Key.Addr.BitLen() {
			svc.PersistBits = 0
		}
		if svc.Persistence == 0 {
			svc.PersistWild = 0
		}
		dests := make([]lvs.Destination, len(svc.Destinations))
		for k, d := range svc.Destinations {
			d.ID, d.Service, d.Load, d.Removed, d.Fate, d.Shunned = 0, 0, nil, false, lvs.FailDefault, false
			d.Edits = 0
			d.Tunnel = canonicalTunnel(&d)
			dests[k] = d
		}
		svc.Destinations = dests
		services[i] = svc
	}
	s.Services, s.Care = services, CareFor(s.Care, services)
	return s
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
