package dashboard

import (
	"fmt"

	"ulvs/control"
)

// Levels of problems, in their order.
const (
	levelError   = "error"
	levelWarning = "warning"
)

// serviceProblems says what is wrong with a service; up of its real servers take clients.
func serviceProblems(s *control.Service, up int) (list []Problem) {
	add := func(level, format string, args ...any) {
		list = append(list, Problem{level, s.Name(), fmt.Sprintf(format, args...)})
	}
	switch {
	case s.State == control.StateSorry:
		add(levelError, "the sorry server answers")
	case len(s.RealServers) == 0:
		add(levelWarning, "no real servers")
	case up == 0:
		add(levelError, "no real server takes clients")
	case s.State == control.StateQuorumLost:
		add(levelError, "quorum lost: %d of %d real servers take clients", up, len(s.RealServers))
	}
	for i := range s.RealServers {
		r := &s.RealServers[i]
		switch {
		case r.State == control.StateDown && r.Reason != "":
			add(levelWarning, "%s is down: %s", r.Address, r.Reason)
		case r.State == control.StateDown:
			add(levelWarning, "%s is down", r.Address)
		case r.Overloaded:
			add(levelWarning, "%s is above its upper threshold", r.Address)
		case r.NextHop != nil && r.NextHop.State != "resolved":
			add(levelWarning, "%s: next hop: %s", r.Address, r.NextHop.State)
		}
	}
	return list
}

// machineProblems says what is wrong with interfaces, workers and the table.
func machineProblems(st *control.Status) (list []Problem) {
	add := func(level, format string, args ...any) {
		list = append(list, Problem{Level: level, Text: fmt.Sprintf(format, args...)})
	}
	for i := range st.Ports {
		if p := &st.Ports[i]; !p.LinkUp {
			add(levelError, "interface %s: link down", p.Name)
		}
	}
	for i := range st.Workers {
		// A sleeping worker takes a new snapshot when it wakes: one behind is normal, more is not.
		if w := &st.Workers[i]; w.Generation+1 < st.Generation {
			add(levelWarning, "worker %d runs generation %d of %d", w.ID, w.Generation, st.Generation)
		}
	}
	if s := &st.Sessions; s.Refused > 0 {
		add(levelWarning, "%d sessions were refused: max_conns, or no memory", s.Refused)
	}
	return list
}
