package health

import (
	"net/netip"
	"slices"
	"time"

	"ulvs/lvs"
)

// ServiceStatus is a service as an Engine sees it.
type ServiceStatus struct {
	Key       lvs.ServiceKey
	Quorum    bool  // it has it
	Needed    int64 // weight
	Live      int64 // weight of the servers that are up
	Suspended bool
	Servers   []ServerStatus
}

// ServerStatus is a real server of a service.
type ServerStatus struct {
	Address netip.AddrPort
	Up      bool
	Since   time.Time
	Reason  Reason // why it is down; "" iff Up
	Detail  string
	Weight  int32 // with what checks add
	Checks  []CheckStatus
}

// Words returns why the server is down as one line, "" if it is up.
func (s *ServerStatus) Words() string { return join(string(s.Reason), s.Detail) }

// CheckStatus is a check of a real server.
type CheckStatus struct {
	Kind     Kind
	Target   string // in words: "http 192.0.2.1:80 via path"
	Up       bool
	Known    bool // some answer has counted
	Since    time.Time
	Last     Result // valid iff Answers > 0
	LastAt   time.Time
	Retries  int // failures in a row that did not count yet
	Answers  uint64
	Failures uint64
}

// Status returns all that is watched, by service.
func (e *Engine) Status() []ServiceStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]ServiceStatus, 0, len(e.machines))
	for _, m := range e.machines {
		list = append(list, m.status())
	}
	slices.SortFunc(list, func(a, b ServiceStatus) int { return compareKeys(a.Key, b.Key) })
	return list
}

func compareKeys(a, b lvs.ServiceKey) int {
	switch {
	case a.Proto != b.Proto:
		return int(a.Proto) - int(b.Proto)
	case a.Mark != b.Mark:
		return int(int64(a.Mark) - int64(b.Mark))
	}
	return a.AddrPort().Compare(b.AddrPort())
}

func (m *machine) status() ServiceStatus {
	out := ServiceStatus{
		Key: m.Key, Quorum: m.quorum, Needed: max(m.Quorum, 1), Live: m.sum(), Suspended: m.suspended,
		Servers: make([]ServerStatus, 0, len(m.servers)),
	}
	for _, s := range m.servers {
		server := ServerStatus{Address: s.Address, Up: s.up, Since: s.since, Weight: s.weight}
		if !s.up {
			server.Reason, server.Detail = s.why.Reason, s.why.Detail
		}
		for _, c := range s.checkers {
			server.Checks = append(server.Checks, CheckStatus{
				Kind: c.check.Kind, Target: c.describe(), Up: c.up, Known: c.known, Since: c.since, Last: c.last,
				LastAt: c.lastAt, Retries: c.retried, Answers: c.answers, Failures: c.fails,
			})
		}
		out.Servers = append(out.Servers, server)
	}
	return out
}

// EngineStatus is how busy an Engine is.
type EngineStatus struct {
	Checks  int    // that wait for their time
	Asking  int    // probes under way
	Waiting int    // due, but as many are under way as may
	Late    uint64 // how often some had to wait
}

// Load returns how busy the engine is.
func (e *Engine) Load() EngineStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	return EngineStatus{
		Checks: len(e.timers), Asking: e.asking[classUp] + e.asking[classDown],
		Waiting: len(e.waiting[classUp]) + len(e.waiting[classDown]), Late: e.late,
	}
}
