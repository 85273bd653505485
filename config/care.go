package config

import (
	"net/netip"
	"slices"

	"ulvs/lvs"
)

// Care is what a file says of the health of a service and its real servers: keepalived's keys, each where
// it is written. What is inherited is not filled in.
type Care struct {
	Service lvs.ServiceKey `json:"service"`
	Keys    Keys           `json:"keys,omitempty"`
	Servers []ServerCare   `json:"servers"` // that have keys of their own
}

// ServerCare are the keys of one real server.
type ServerCare struct {
	Address netip.AddrPort `json:"address"`
	Keys    Keys           `json:"keys"`
}

// empty reports whether nothing is said.
func (c *Care) empty() bool { return len(c.Keys) == 0 && len(c.Servers) == 0 }

// Server returns the keys of a real server, nil if it has none of its own. c may be nil.
func (c *Care) Server(address netip.AddrPort) Keys {
	if c == nil {
		return nil
	}
	for i := range c.Servers {
		if c.Servers[i].Address == address {
			return c.Servers[i].Keys
		}
	}
	return nil
}

// CareOf returns what is said of a service, nil for nothing.
func (s State) CareOf(key lvs.ServiceKey) *Care {
	for i := range s.Care {
		if s.Care[i].Service == key {
			return &s.Care[i]
		}
	}
	return nil
}

func careByKey(list []Care) map[lvs.ServiceKey]*Care {
	m := make(map[lvs.ServiceKey]*Care, len(list))
	for i := range list {
		m[list[i].Service] = &list[i]
	}
	return m
}

// CareFor returns of care what is about services and real servers that there are, in their order.
func CareFor(care []Care, services []lvs.Service) (out []Care) {
	all := careByKey(care)
	for i := range services {
		s := &services[i]
		c := all[s.Key]
		if c == nil {
			continue
		}
		kept := Care{Service: s.Key, Keys: c.Keys}
		for k := range slices.Backward(s.Destinations) {
			ap := s.Destinations[k].AddrPort()
			if keys := c.Server(ap); len(keys) > 0 {
				kept.Servers = append(kept.Servers, ServerCare{ap, keys})
			}
		}
		if !kept.empty() {
			out = append(out, kept)
		}
	}
	return out
}

// maxQuorum bounds sums of weights.
const maxQuorum = 1 << 30

// careReaders are a service's keys about health.
func careReaders() []keyReader {
	return append(inherited(), []keyReader{
		{"omega", readFlag},
		{"quorum", readNumber(1, maxQuorum)},
		{"hysteresis", readNumber(0, maxQuorum)},
		{"quorum_up", readCommand},
		{"quorum_down", readCommand},
		{"ha_suspend", readFlag},
		{"check", readCheck},
		{"checks", readChecks},
	}...)
}

// serverCareReaders are a real server's.
func serverCareReaders() []keyReader {
	return append(inherited(), []keyReader{
		{"notify_up", readCommand},
		{"notify_down", readCommand},
		{"check", readCheck},
		{"checks", readChecks},
	}...)
}

// care reads a service's keys about health.
func (t *table) care() Keys {
	k := t.keys(careReaders())
	quorum, hysteresis := k.Number("quorum", 1), k.Number("hysteresis", 0)
	if hysteresis >= quorum && k.Has("hysteresis") {
		t.fail("hysteresis", "%d is not below quorum %d: the quorum could never be lost; give a lower one",
			hysteresis, quorum)
	}
	t.judge(k)
	return k
}

// serverCare reads a real server's keys about health.
func (t *table) serverCare() Keys {
	k := t.keys(serverCareReaders())
	t.judge(k)
	return k
}

// judge complains about values that no check could inherit, and about two ways to say which checks there are.
func (t *table) judge(k Keys) {
	t.blame(k, commonOf(k).Validate())
	if k.Has("check") && k.Has("checks") {
		t.fail("checks", "stands beside check; put all checks into checks, or remove one of them")
	}
}

// careValues are the keys of readers as the file has them.
func careValues(k Keys, readers []keyReader) (values []keyValue) {
	for _, r := range readers {
		v, set := k[r.name]
		value := ""
		if set {
			value = tomlValue(v)
		}
		values = append(values, keyValue{r.name, value, !set})
	}
	return values
}
