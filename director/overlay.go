package director

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"ulvs/lvs"
	"ulvs/sched"
)

// What is configured stays as it is in Node.services. What health, drain, quorum and slow start make of it is
// laid over it here, service by service, before lvs builds what workers read: as keepalived stands between its
// file and the kernel's table.

// drainState is how far the draining of a real server has got.
type drainState uint8

const (
	notDrained drainState = iota
	draining              // weight 0; sessions go on
	drained               // none are left, or their time was over
)

// condition is what is known of a real server besides its configuration. The zero condition is a good one.
type condition struct {
	down    bool
	reason  string    // why it is down
	since   time.Time // it is down
	drain   drainState
	until   time.Time // the end of the drain
	cut     bool      // its time was over before its sessions
	dynamic bool      // weight stands for the configured one
	weight  int32
	rise    time.Time // its slow start began; zero: it has its full weight
	step    int32     // of the slow start, 1 to riseSteps; what was last built
	back    uint64    // order of returning; the kernel's list has the last one first
}

// good reports whether there is nothing to remember.
func (c *condition) good() bool { return *c == condition{} }

// serviceCondition is what is known of a service.
type serviceCondition struct {
	lost    bool // the quorum
	servers map[netip.AddrPort]*condition
}

func (s *serviceCondition) of(server netip.AddrPort) condition {
	if s == nil || s.servers[server] == nil {
		return condition{}
	}
	return *s.servers[server]
}

// riseSteps is how many steps a slow start has: each is a sixteenth of the weight.
const riseSteps = 16

// riseStep is the step of a slow start that began at rise, riseSteps when it is over.
func riseStep(rise, now time.Time, whole time.Duration) int32 {
	if rise.IsZero() || whole <= 0 {
		return riseSteps
	}
	passed := max(now.Sub(rise), 0)
	if passed >= whole {
		return riseSteps
	}
	return 1 + int32(passed*(riseSteps-1)/whole)
}

// rises reports whether a slow start means anything to the service.
func rises(s *lvs.Service) bool { return s.Policy.SlowStart > 0 && sched.UsesWeights(s.Scheduler) }

// effective returns the service that workers get: s with what is known of it laid over.
//
//	configured   up                  failed              draining   quorum lost, a sorry server configured
//	weight w     w, dynamic weight,  taken out, or       weight 0   taken out, or weight 0 with
//	             or a part (slow     weight 0 with                  sorry_server_inhibit; the sorry
//	             start)              inhibit_on_failure             server stands first
func effective(s *lvs.Service, c *serviceCondition) lvs.Service {
	out := *s
	if c == nil {
		return out
	}
	sorry := c.lost && s.Policy.Sorry.Server.IsValid()
	out.Destinations = make([]lvs.Destination, 0, len(s.Destinations)+1)
	rising := false
	for i := range s.Destinations {
		d := s.Destinations[i]
		at := c.of(d.AddrPort())
		if at.down && !d.Inhibit && !(sorry && s.Policy.SorryInhibit) {
			continue
		}
		if sorry && !s.Policy.SorryInhibit && !at.down {
			continue
		}
		lay(&d, s, at)
		if sorry {
			d.Weight = 0
		}
		rising = rising || at.step != 0 && at.step < riseSteps && d.Weight > 0
		out.Destinations = append(out.Destinations, d)
	}
	returned(out.Destinations, c)
	if rising {
		raise(&out, c)
	}
	if sorry {
		out.Destinations = withSorry(out.Destinations, s)
	}
	return out
}

// lay puts the condition of a real server that stays over its configuration.
func lay(d *lvs.Destination, s *lvs.Service, at condition) {
	if at.dynamic {
		d.Weight = at.weight
	}
	if !at.down && at.drain == notDrained {
		return
	}
	d.Weight, d.Shunned = 0, true
	if at.down && s.Policy.OnFailure != lvs.FailDefault || at.cut {
		d.Fate = fateOf(s)
	}
}

// fateOf is what becomes of the sessions of a real server of s, as workers have to know it: what is kept, or
// goes on, needs no word.
func fateOf(s *lvs.Service) lvs.OnFailure {
	switch f := s.Policy.OnFailure.For(s.Key.Proto); f {
	case lvs.FailExpire, lvs.FailReset, lvs.FailReschedule:
		return f
	}
	return lvs.FailDefault
}

// returned orders destinations as the kernel's list has them: what was added last is first, and to return is to
// be added again.
func returned(list []lvs.Destination, c *serviceCondition) {
	slices.SortStableFunc(list, func(a, b lvs.Destination) int {
		return cmp.Compare(c.of(b.AddrPort()).back, c.of(a.AddrPort()).back)
	})
}

// raise scales all weights so that a weight of 1 has room for a slow start, and gives those who rise their part.
// Weights too large for that have room of their own.
func raise(s *lvs.Service, c *serviceCondition) {
	s.Scale = riseSteps
	for i := range s.Destinations {
		if s.Destinations[i].Weight > lvs.MaxWeight/riseSteps {
			s.Scale = 1
		}
	}
	for i := range s.Destinations {
		d := &s.Destinations[i]
		whole := int64(d.Weight) * int64(s.Scale)
		if at := c.of(d.AddrPort()); at.step != 0 && whole > 0 {
			whole = max(1, whole*int64(at.step)/riseSteps)
		}
		d.Weight = int32(whole)
	}
}

// withSorry puts the sorry server first, where what was added last stands.
func withSorry(list []lvs.Destination, s *lvs.Service) []lvs.Destination {
	sorry := s.Policy.Sorry
	list = slices.DeleteFunc(list, func(d lvs.Destination) bool { return d.AddrPort() == sorry.Server })
	return slices.Insert(list, 0, lvs.Destination{
		Addr: sorry.Server.Addr(), Port: sorry.Server.Port(), Method: sorry.Method, Weight: 1,
	})
}

// listedWeight is the weight that people see: that of a slow start without the scale.
func listedWeight(s *lvs.Service, d *lvs.Destination) int32 {
	if s.Scale <= 1 || d.Weight == 0 {
		return d.Weight
	}
	return max(1, d.Weight/s.Scale)
}
