package config

import (
	"net/netip"
	"slices"

	"ulvs/health"
	"ulvs/lvs"
)

// Checks is how a service's health is watched, with everything decided: what is inherited is filled in.
type Checks struct {
	Service              lvs.ServiceKey
	Quorum, Hysteresis   int64
	QuorumUp, QuorumDown []string // commands; nil: none
	Omega, HASuspend     bool
	Servers              []ServerChecks // all real servers, in the file's order
}

// ServerChecks are the checks of a real server, none for one that is always up.
type ServerChecks struct {
	Address              netip.AddrPort
	Method               lvs.Method
	Weight               int32
	Specs                []health.Spec // resolved
	NotifyUp, NotifyDown []string
}

// ChecksOf returns how s is watched when c is said of it; c may be nil.
func ChecksOf(s *lvs.Service, c *Care) Checks {
	if c == nil {
		c = &Care{}
	}
	out := Checks{
		Service: s.Key, Quorum: c.Keys.Number("quorum", 1), Hysteresis: c.Keys.Number("hysteresis", 0),
		QuorumUp: c.Keys.Command("quorum_up"), QuorumDown: c.Keys.Command("quorum_down"),
		Omega: c.Keys.Flag("omega"), HASuspend: c.Keys.Flag("ha_suspend"),
		Servers: make([]ServerChecks, 0, len(s.Destinations)),
	}
	plain := specsOf(c.Keys, nil, s.Key) // shared by all that say nothing themselves
	for i := range slices.Backward(s.Destinations) {
		d := &s.Destinations[i]
		k, specs := c.Server(d.AddrPort()), plain
		if len(k) > 0 {
			specs = specsOf(c.Keys, k, s.Key)
		}
		out.Servers = append(out.Servers, ServerChecks{
			Address: d.AddrPort(), Method: d.Method, Weight: d.Weight, Specs: specs,
			NotifyUp: k.Command("notify_up"), NotifyDown: k.Command("notify_down"),
		})
	}
	return out
}

// specsOf returns the checks of a real server: its own, else its service's.
func specsOf(service, server Keys, key lvs.ServiceKey) (specs []health.Spec) {
	from := service
	if server.Has("check") || server.Has("checks") {
		from = server
	}
	common := commonOf(server).Or(commonOf(service))
	for _, name := range []string{"check", "checks"} {
		for _, k := range from.Tables(name) {
			specs = append(specs, specOf(k).Resolve(common, key))
		}
	}
	return specs
}

// judgeChecks complains about checks that make no sense for the real server that they are for.
func (t *table) judgeChecks(service, server Keys, d *lvs.Destination, key lvs.ServiceKey) {
	for _, s := range specsOf(service, server, key) {
		for _, pr := range s.Validate(d.AddrPort()) {
			where := "check"
			if server.Has("checks") {
				where = "checks"
			}
			t.fail(where, "%s: %s", pr.Key, pr.Words)
		}
	}
}
