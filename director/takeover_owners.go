package director

import (
	"time"

	"ulvs/events"
	"ulvs/ha"
)

// ownerPatience is how long no director, or two, may hold VIPs before an operator is told, besides the time in which
// a backup takes over from a dead one.
const ownerPatience = time.Second

// owners watches how many directors hold each unit's VIPs, as far as this one hears.
type owners struct {
	count   []int
	since   []ha.Time
	alarmed []int // the count that the journal has; 1: none
}

func newOwners(units int, now ha.Time) *owners {
	o := &owners{count: make([]int, units), since: make([]ha.Time, units), alarmed: make([]int, units)}
	for u := range o.count {
		o.count[u], o.since[u], o.alarmed[u] = 1, now, 1
	}
	return o
}

// look is called with every heartbeat.
func (o *owners) look(t *takeover, m *ha.Machine) {
	now := t.now()
	for u := range o.count {
		n := m.Masters(u, now)
		if n != o.count[u] {
			o.count[u], o.since[u] = n, now
		}
		if n == o.alarmed[u] || now-o.since[u] < ownerPatience+m.TakeoverTime(u) && n != 1 {
			continue
		}
		o.alarmed[u] = n
		t.d.journal.Add(ownerEvent(n, t.units[u].Name))
	}
}

func ownerEvent(n int, unit string) events.Event {
	switch n {
	case 0:
		return events.Event{Kind: events.OwnerMissing, Instance: unit, Reason: "no director is heard that holds the VIPs"}
	case 1:
		return events.Event{Kind: events.OwnerReturned, Instance: unit, Reason: "one director holds the VIPs"}
	}
	return events.Event{Kind: events.OwnerConflict, Instance: unit, Count: int64(n),
		Reason: "so many directors hold the VIPs"}
}

// alarm is what is wrong about a unit's owners, in words; empty: nothing.
func (o *owners) alarm(unit int) string {
	switch n := o.alarmed[unit]; {
	case n == 0:
		return "no director holds its VIPs"
	case n > 1:
		return "more than one director holds its VIPs"
	}
	return ""
}
