package ha

import (
	"net/netip"
	"slices"
)

// handle takes an event. Times are looked at after it, so an advert that waited while the timer ran out still counts.
func (m *Machine) handle(ev *Event) {
	switch ev.Kind {
	case EventStart:
		m.each(m.start)
	case EventStop:
		m.each(func(u *unit) { m.leave(u, StateStop, ReasonStopped) })
	case EventAdvert:
		m.onAdvert(ev)
	case EventSource:
		m.inst[ev.Instance].Source = ev.From
	case EventTrack:
		in := &m.inst[ev.Instance]
		in.setTrack(ev.Name, track{ev.Weight, ev.Up})
		m.settle(&m.units[in.unit])
	case EventDataplane:
		m.dataplane = ev.Up
		m.each(m.settle)
	case EventReady:
		m.ready = ev.Up
	case EventGateway:
		u := &m.units[ev.Unit]
		u.gateway = ev.Up
		m.settle(u)
	case EventMembers:
		m.members = ev.Members
		m.each(m.findSync)
		m.each(m.settle)
	default:
		m.handlePeer(ev)
	}
}

// handlePeer takes what other directors said, and what operators want of a unit.
func (m *Machine) handlePeer(ev *Event) {
	if ev.Kind == EventPeerGone {
		m.gone[ev.Name] = true
		return
	}
	u := &m.units[ev.Unit]
	switch ev.Kind {
	case EventClaim:
		m.onClaim(u, ev.Claim)
	case EventQuery:
		m.act(Action{Kind: ActionAnswer, Unit: ev.Unit, Name: ev.Name, Claim: u.claim, Up: m.serves(u)})
	case EventAnswer:
		delete(m.gone, ev.Claim.Owner)
		u.answered = ev.Up && ev.Claim.Owner == u.claim.Owner
	case EventVoteAsk:
		m.onVoteAsk(u, ev.Claim)
	case EventVote:
		m.onVote(u, ev)
	case EventHandover:
		m.onHandover(u, ev.Claim)
	case EventFlushed:
		if u.flushTill != 0 {
			m.flushed(u)
		}
	case EventRelease:
		u.released = true
		m.flush(u, "")
	case EventResume:
		u.released = false
	case EventRetire:
		m.leave(u, StateStop, ReasonRetired)
	}
}

func (m *Machine) each(f func(*unit)) {
	for i := range m.units {
		f(&m.units[i])
	}
}

func (m *Machine) serves(u *unit) bool { return u.state == StateMaster && m.dataplane && u.gateway }

// Check tells whether an advert is one for instance i (section order of keepalived's vrrp_check_packet),
// and counts it if it is not.
func (m *Machine) Check(i int, a *Advert, at Arrival) Reject {
	r := m.inst[i].check(a, at)
	if r == RejectNone && m.inst[i].DemandClaims && !m.claimed(&m.units[m.inst[i].unit]) {
		r = RejectUnclaimed
	}
	m.Count(r)
	return r
}

// Count counts an advert that was refused before an instance was found for it.
func (m *Machine) Count(r Reject) {
	if r != RejectNone {
		m.rejects[r]++
	}
}

// claimed reports whether a director other than this one has claimed u.
func (m *Machine) claimed(u *unit) bool { return m.otherOwner(u) }

func (in *instance) check(a *Advert, at Arrival) Reject {
	unicast := len(in.Peers) > 0
	switch {
	case !unicast && at.TTL != 255:
		return RejectTTL
	case a.Version != in.Version:
		return RejectVersion
	case a.VRID != in.VRID:
		return RejectVRID
	case a.Version == 2 && (a.Auth != in.Auth || a.Auth == AuthPass && a.Password != in.Password):
		return RejectAuth
	case a.Version == 2 && a.Interval != in.AdvertInt:
		return RejectInterval
	case at.Src == in.Source:
		return RejectOwn
	case unicast && !slices.Contains(in.Peers, at.Src):
		return RejectSource
	}
	return RejectNone
}

// onAdvert takes an advert that Check let pass.
func (m *Machine) onAdvert(ev *Event) {
	in := &m.inst[ev.Instance]
	u := &m.units[in.unit]
	in.note(ev.Advert, ev.From, m.now)
	if a := ev.Advert; !in.sameAddrs(a.Addrs) && a.Priority != PriorityGiveUp {
		m.alarm(u, Action{Instance: ev.Instance, Reason: AlarmVRIDUsed, From: ev.From})
	}
	switch u.state {
	case StateBackup:
		m.backupAdvert(in, u, ev.Advert)
	case StateMaster:
		m.masterAdvert(ev.Instance, u, ev)
	}
}

func (m *Machine) backupAdvert(in *instance, u *unit, a *Advert) {
	switch {
	case a.Priority == PriorityGiveUp:
		in.arm(m.now, in.skew())
		in.gaveUp = true
		u.answered = false
	case a.Priority >= in.priority():
		u.askUntil = 0
		m.accept(in, u, a)
	case in.NoPreempt || u.released || !m.preempts(in, u):
		m.accept(in, u, a)
	default:
		in.preempting = true // let pass: the timer runs on
	}
	alone := m.cfg.Gossip && m.cfg.Directors > 1 && m.members < 2
	if alone && a.Priority != PriorityGiveUp && m.now-u.since > gossipGrace {
		m.loseSync(u)
	}
}

// accept holds the sender for the master for another master down time. In version 3 it sets the interval.
func (m *Machine) accept(in *instance, u *unit, a *Advert) {
	if in.Version == 3 && a.Interval > 0 {
		in.interval = a.Interval
	}
	in.arm(m.now, in.downTime())
	u.answered = false
}

// preempts reports whether a lower master's advert is to be let pass. It is accepted while preempt_delay runs, while
// our sessions are not yet the owner's, and while the owner is being asked to hand over.
func (m *Machine) preempts(in *instance, u *unit) bool {
	if in.preemptAt == Never {
		in.preemptAt = m.now + in.PreemptDelay
	}
	if m.now < in.preemptAt || !m.ready {
		return false
	}
	if !m.otherOwner(u) || in.preempting {
		return true
	}
	if u.askUntil == 0 {
		u.askUntil = m.now + handoverWait
		m.act(Action{Kind: ActionHandoverAsk, Unit: in.unit, Name: u.claim.Owner, Claim: m.claimOf(u, u.claim.Term)})
	}
	if m.now < u.askUntil {
		return false
	}
	m.alarm(u, Action{Reason: AlarmHandoverLate, Name: u.claim.Owner})
	return true
}

func (m *Machine) masterAdvert(i int, u *unit, ev *Event) {
	in, a := &m.inst[i], ev.Advert
	ours := in.priority()
	switch {
	case a.Priority == PriorityGiveUp:
		m.send(i, ours)
	case u.quorum && a.Priority != PriorityOwner && !m.otherOwner(u):
		// A majority chose this director. Whoever else may have been chosen since says so by its claim.
		m.repeatClaim(u)
		m.insist(i)
	case a.Priority > ours || a.Priority == ours && higher(ev.From, in.Source):
		if in.HigherPrioSendAdvert {
			m.send(i, ours)
		}
		m.toBackup(u, ReasonBetter, linger)
		m.accept(in, u, a)
	default:
		if m.now-u.since > 2*in.AdvertInt { // not the last word of whom we took over from
			m.alarm(u, Action{Instance: i, Reason: AlarmTwoMasters, From: ev.From})
		}
		m.insist(i)
	}
}

// higher compares addresses as numbers in network order.
func higher(a, b netip.Addr) bool { return a.Compare(b) > 0 }

// insist tells a lower master, and the neighbours that may have believed it, who owns the VIPs.
func (m *Machine) insist(i int) {
	in := &m.inst[i]
	if !in.LowerPrioNoAdvert && m.now >= in.answerAt {
		in.answerAt = m.now + in.AdvertInt/2 // two masters that insist must not answer each other for ever
		m.send(i, in.priority())
	}
	if m.now < in.lowerAt {
		return
	}
	in.lowerAt = m.now + lowerPause
	m.settling(&m.units[in.unit], splitWait)
	m.act(Action{Kind: ActionAnnounce, Instance: i, Unit: in.unit, Count: in.GARPLowerRepeat})
}
