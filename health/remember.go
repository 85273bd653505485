package health

import (
	"net/netip"
	"slices"
	"time"

	"ulvs/lvs"
)

// Memory is what an Engine has learnt of a service, for the Engine of another process that goes on in its place.
type Memory struct {
	Service lvs.ServiceKey `json:"service"`
	Quorum  bool           `json:"quorum"`
	Servers []ServerMemory `json:"servers"`
}

// ServerMemory is what was learnt of a real server.
type ServerMemory struct {
	Address netip.AddrPort `json:"address"`
	Since   time.Time      `json:"since"`
	Checks  []CheckMemory  `json:"checks"`
}

// CheckMemory is what was learnt by a check that has been answered.
type CheckMemory struct {
	Check    string    `json:"check"` // in words
	Up       bool      `json:"up"`
	Failed   bool      `json:"failed,omitzero"`
	Retried  int       `json:"retried,omitzero"`
	URL      int       `json:"url,omitzero"`
	Dynamic  bool      `json:"dynamic,omitzero"`
	Added    int64     `json:"added,omitzero"`
	Warned   time.Time `json:"warned,omitzero"`
	Since    time.Time `json:"since"`
	Last     Result    `json:"last"`
	LastAt   time.Time `json:"last_at"`
	Answers  uint64    `json:"answers"`
	Failures uint64    `json:"failures"`
}

// Memory returns what was learnt of the real servers that answered after since; the zero time: of all.
func (e *Engine) Memory(since time.Time) (list []Memory) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.machines {
		if mem := m.memory(since); len(mem.Servers) > 0 {
			list = append(list, mem)
		}
	}
	return list
}

func (m *machine) memory(since time.Time) Memory {
	mem := Memory{Service: m.Key, Quorum: m.quorum}
	for _, s := range m.servers {
		if s.answeredAfter(since) {
			mem.Servers = append(mem.Servers, s.memory())
		}
	}
	return mem
}

func (s *server) answeredAfter(since time.Time) bool {
	return slices.ContainsFunc(s.checkers, func(c *checker) bool { return c.known && c.lastAt.After(since) })
}

func (s *server) memory() ServerMemory {
	mem := ServerMemory{Address: s.Address, Since: s.since}
	for _, c := range s.checkers {
		if !c.known {
			continue
		}
		mem.Checks = append(mem.Checks, CheckMemory{
			Check: c.describe(), Up: c.up, Failed: c.failed, Retried: c.retried, URL: c.url, Dynamic: c.dynamic,
			Added: c.added, Warned: c.warned, Since: c.since, Last: c.last, LastAt: c.lastAt, Answers: c.answers,
			Failures: c.fails,
		})
	}
	return mem
}

// Remember has the engine go on where another one was: what is watched here, too, has the states, the failures that did
// not count yet and the times of the next questions that it had there. Before Run. What that comes to is told as
// something that is known already (Change.Again).
func (e *Engine) Remember(list []Memory) {
	e.change(func(now time.Time) {
		for i := range list {
			if m := e.machines[list[i].Service]; m != nil {
				e.acts = m.step(now, event{kind: evRemember, memory: &list[i]}, e.acts)
			}
		}
	})
}

func (m *machine) remember(now time.Time, mem *Memory, acts []action) []action {
	from := len(acts)
	known := make(map[netip.AddrPort]*ServerMemory, len(mem.Servers))
	for i := range mem.Servers {
		known[mem.Servers[i].Address] = &mem.Servers[i]
	}
	for _, s := range m.servers {
		if sm := known[s.Address]; sm != nil {
			acts = s.remember(now, sm, acts)
		}
	}
	m.quorum = mem.Quorum // with hysteresis, servers alone do not say
	acts = m.settle(now, false, acts)
	acts = append(acts, action{change: m.change(now)})
	for i := range acts[from:] {
		acts[from+i].change.Again = true
	}
	return acts
}

func (s *server) remember(now time.Time, mem *ServerMemory, acts []action) []action {
	checks := slices.Clone(mem.Checks)
	for _, c := range s.checkers {
		words := c.describe()
		at := slices.IndexFunc(checks, func(cm CheckMemory) bool { return cm.Check == words })
		if at < 0 {
			continue // it is new
		}
		delay := c.remember(&checks[at])
		checks = slices.Delete(checks, at, at+1) // another one may have the same words
		if !s.machine.suspended {
			acts = append(acts, action{ask: c, at: later(now, c.lastAt.Add(delay))})
		}
	}
	acts = s.weigh(now, acts)
	was := s.up
	acts = s.settle(now, nil, false, acts)
	if s.up == was && !s.up { // its reason may be another
		s.up = true
		acts = s.settle(now, nil, false, acts)
	}
	s.since = mem.Since
	return acts
}

// remember returns how long after the last answer the next question is due.
func (c *checker) remember(mem *CheckMemory) time.Duration {
	c.known, c.up, c.failed, c.retried, c.url = true, mem.Up, mem.Failed, mem.Retried, mem.URL
	c.dynamic, c.added, c.warned, c.since = mem.Dynamic, mem.Added, mem.Warned, mem.Since
	c.last, c.lastAt, c.answers, c.fails = mem.Last, mem.LastAt, mem.Answers, mem.Failures
	if c.url < 0 || c.url >= max(len(c.check.pages), 1) {
		c.url, c.failed = 0, false // fewer are asked for now
	}
	if c.retried > 0 {
		return c.check.DelayBeforeRetry.Value
	}
	return c.check.DelayLoop.Value
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
