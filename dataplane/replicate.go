package dataplane

import (
	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// A worker with a log writes down what peers have to know of its sessions: that one is
// established (or UDP's first packet came), that its state changed after that, that half its time
// has passed since peers heard of it, that it is gone; and the same of templates. Nothing
// before ESTABLISHED: a lost SYN is sent again.

// replicated are the states in which peers first hear of a session: a set by State.
const replicated = 1<<conntrack.TCPEstablished | 1<<conntrack.UDPNormal | 1<<conntrack.SCTPEstablished |
	1<<conntrack.TemplateNone | 1<<conntrack.TemplateAssured

// tell logs a session or template in state s whose timer was just restarted; moved says that its
// state is new, or all of it. It is called only with a log.
func (w *Worker) tell(e *conntrack.Entry, s conntrack.State, moved bool) {
	m := e.Meta()
	switch {
	case m.Flags()&(conntrack.FlagOnePacket|conntrack.FlagBypass|conntrack.FlagUnlinked) != 0:
		return
	case m.Flags()&conntrack.FlagStandby != 0:
		if !e.ClearFlags(conntrack.FlagStandby) {
			return // another worker was faster
		}
		moved = true // it is ours now, and peers have to know
	case e.Version() == 0:
		if replicated>>s&1 == 0 || w.derived(e) {
			return
		}
		moved = true
	case !moved && e.SinceSent(w.now) < refreshAfter(e):
		return
	}
	v := e.Version()
	if moved {
		v = e.Advance(w.log.Term(), w.log.FirstVersion(w.clock), w.now)
	} else if !e.SetVersion(v, w.now) {
		return
	}
	w.write(e, v)
}

// write logs the session as it is.
func (w *Worker) write(e *conntrack.Entry, v conntrack.Version) {
	r := w.log.Next()
	if r == nil {
		key := e.Key()
		w.log.Drop(&key)
		return
	}
	if !e.Describe(r, w.now) || v == 0 {
		r.Op = 0 // gone meanwhile; who removed it tells
		return
	}
	r.Version, r.Service = v, w.identity(e)
	if r.Template() {
		r.Timeout = w.configured(e)
	}
}

// tellGone logs that a session of ours is gone, if peers know it.
func (w *Worker) tellGone(e *conntrack.Entry) {
	v := w.conns.GoneVersion()
	if v == 0 || e.Flags()&(conntrack.FlagStandby|conntrack.FlagUnlinked) != 0 {
		return
	}
	r := w.log.Next()
	if r == nil {
		key := e.Key()
		w.log.Drop(&key)
		return
	}
	e.DescribeGone(r, v.Next(w.log.Term()), w.now)
	r.Service = w.identity(e)
}

func (w *Worker) identity(e *conntrack.Entry) uint64 { return w.snap.identity(e.Service()) }

func (s *Snapshot) identity(id uint32) uint64 {
	if int(id) >= len(s.Services) {
		return 0
	}
	return s.Services[id].identity
}

// configured is the persistence timeout of a template's service: what a peer starts it anew with, where the
// kernel goes on with whatever the template was last given.
func (w *Worker) configured(e *conntrack.Entry) conntrack.Tick {
	if id := e.Service(); int(id) < len(w.snap.Services) && w.snap.Services[id].Persist != 0 {
		return w.snap.Services[id].Persist
	}
	return e.Timeout()
}

// refreshMax bounds the time between two records of a session: word 7 of an entry counts nine hours.
const refreshMax = 3600 * conntrack.TicksPerSecond

// refreshAfter is when peers should hear of an unchanged session again: after a quarter to a half of its
// timeout, by its client's port, so that those that began together do not stay together.
func refreshAfter(e *conntrack.Entry) conntrack.Tick {
	t := min(e.Timeout()/2, refreshMax)
	p := conntrack.Tick(e.ClientPort())
	return t - t/2*((p^p>>8)&15)/16
}

// over reports whether a session's time is over. What is a peer's has half of its timeout more: the peer
// may have restarted its timer since it told us, and will say when it is gone.
func (w *Worker) over(e *conntrack.Entry) bool {
	return e.Expired(w.now) && (e.Flags()&conntrack.FlagStandby == 0 ||
		uint64(e.Seen())+uint64(e.Timeout())+uint64(e.Timeout()/2) <= uint64(w.now))
}

// derived reports whether any director would pick the same real server for a session by its scheduler
// alone, so that peers need not hear of it.
func (w *Worker) derived(e *conntrack.Entry) bool {
	id := e.Service()
	return int(id) < len(w.snap.Services) && w.snap.Services[id].derived && !w.snap.TellAll &&
		e.Flags()&conntrack.FlagTemplate == 0
}

// continues reports whether a TCP segment in the middle of a connection is taken on: its service's scheduler
// picks the real server that another director picked.
func (w *Worker) continues(p *packet.Parsed, id lvs.ServiceID) bool {
	return w.snap.Services[id].derived && p.TCPFlags&packet.TCPRst == 0
}

// deriving returns whether sessions of a service follow from their addresses, for any director
// with the same configuration: mh and sh, where nothing but the configuration decides (no
// thresholds, no templates) and no state but the real server matters (no NAT).
func deriving(s *Service) bool {
	c := s.Config
	if s.Scheduler == nil || c.Scheduler != "mh" && c.Scheduler != "sh" || s.Persist != 0 || c.OnePacket {
		return false
	}
	for i := range c.Destinations {
		if d := &c.Destinations[i]; d.Upper != 0 || d.Method == lvs.MethodNAT {
			return false
		}
	}
	return true
}
