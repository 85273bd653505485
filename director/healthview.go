package director

import (
	"slices"
	"time"

	"ulvs/control"
	"ulvs/health"
	"ulvs/lvs"
)

// Health implements control.HealthTeller.
func (d *director) Health() []control.ServiceHealth {
	status := d.checks.engine.Status()
	list := make([]control.ServiceHealth, 0, len(status))
	for i := range status {
		s := &status[i]
		out := control.ServiceHealth{
			Service: s.Key.Name(), Quorum: s.Quorum, Needed: s.Needed, Live: s.Live, Suspended: s.Suspended,
		}
		for k := range s.Servers {
			out.RealServers = append(out.RealServers, serverHealth(&s.Servers[k]))
		}
		list = append(list, out)
	}
	return list
}

var _ control.HealthTeller = (*director)(nil)

func serverHealth(s *health.ServerStatus) control.ServerHealth {
	out := control.ServerHealth{Address: s.Address, Up: s.Up, Since: s.Since.UTC(), Reason: s.Words(), Weight: s.Weight}
	for i := range s.Checks {
		c := &s.Checks[i]
		check := control.CheckHealth{
			Type: string(c.Kind), Target: c.Target, Up: c.Up, Since: c.Since.UTC(),
			Answers: c.Answers, Failures: c.Failures, Retries: c.Retries,
		}
		if c.Answers > 0 {
			check.Last, check.LastAt, check.LatencySeconds = c.Last.Words(), utc(c.LastAt), c.Last.Latency.Seconds()
			check.CertExpires = utc(c.Last.Expires)
		}
		out.Checks = append(out.Checks, check)
	}
	return out
}

// utc returns nil for the zero time.
func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// showHealth adds to a service what is laid over its configuration, and the real servers that are taken out. The
// node is locked.
func (n *Node) showHealth(svc *lvs.Service, out *control.Service) {
	s, c := n.configuredService(svc.Key), n.conditions[svc.Key]
	if s == nil {
		return
	}
	for i := range svc.Destinations {
		out.RealServers[i].Weight = listedWeight(svc, &svc.Destinations[i])
	}
	sorry := s.Policy.Sorry.Server
	lost := c != nil && c.lost
	switch {
	case lost && sorry.IsValid():
		out.State = control.StateSorry
	case lost:
		out.State = control.StateQuorumLost
	}
	for i := range s.Destinations {
		dest := &s.Destinations[i]
		at := slices.IndexFunc(out.RealServers, func(r control.RealServer) bool { return r.Address == dest.AddrPort() })
		if at < 0 {
			r := control.RealServerOf(dest)
			r.Weight = 0
			if gone := n.built.Removed(svc.Key, dest.AddrPort()); gone != nil {
				r.Active, r.Inactive, r.Persistent = gone.Load.Active(), gone.Load.Inactive(), gone.Load.Persist()
			}
			out.RealServers, at = append(out.RealServers, r), len(out.RealServers)
		}
		r := &out.RealServers[at]
		r.ConfiguredWeight = dest.Weight
		r.State, r.Reason, r.Since = c.of(dest.AddrPort()).words()
	}
	for i := range out.RealServers {
		r := &out.RealServers[i]
		switch {
		case out.State != control.StateSorry:
		case r.Address == sorry:
			r.State, r.ConfiguredWeight = control.StateSorry, 0
		case r.State == control.StateUp:
			r.State = control.StateStandby
		}
	}
}

// words are the condition as people see it.
func (c condition) words() (state, reason string, since *time.Time) {
	switch {
	case c.down:
		return control.StateDown, c.reason, utc(c.since)
	case c.drain == draining:
		return control.StateDraining, "", nil
	case c.drain == drained:
		return control.StateDrained, "", nil
	case c.step != 0 && c.step < riseSteps:
		return control.StateRising, "", utc(c.rise)
	}
	return control.StateUp, "", nil
}
