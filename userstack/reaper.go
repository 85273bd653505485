package userstack

import (
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// A closed probe keeps its port until the connection has ended on both sides, so that its last packets find their way:
// at least lingerMin, at most lingerMax.
const (
	lingerMin  = 200 * time.Millisecond
	lingerMax  = 3 * time.Second
	reapPeriod = 100 * time.Millisecond
)

// reaper gives back the ports of probes that are over.
type reaper struct {
	mu     sync.Mutex
	closed []closedProbe
}

type closedProbe struct {
	*probeConn
	at time.Time
}

func (r *reaper) add(c *probeConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = append(r.closed, closedProbe{c, time.Now()})
}

// reap ends what is over at time now.
func (r *reaper) reap(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := r.closed[:0]
	for _, c := range r.closed {
		if !c.over(now) {
			keep = append(keep, c)
			continue
		}
		c.ep.Abort()
		c.stack.probes.Close(c.probe)
	}
	clear(r.closed[len(keep):])
	r.closed = keep
}

func (c *closedProbe) over(now time.Time) bool {
	switch age := now.Sub(c.at); {
	case age < lingerMin:
		return false
	case age >= lingerMax || c.network == "udp":
		return true
	}
	switch tcp.EndpointState(c.ep.State()) {
	case tcp.StateTimeWait, tcp.StateClose, tcp.StateError:
		return true
	}
	return false
}

func (s *Stack) runReaper() {
	tick := time.NewTicker(reapPeriod)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			s.reaper.reap(time.Now().Add(lingerMax))
			return
		case now := <-tick.C:
			s.reaper.reap(now)
		}
	}
}
