package ha

import "time"

const (
	second      = time.Second
	millisecond = time.Millisecond
)

// runTimers does what is due.
func (m *Machine) runTimers() {
	for i := range m.units {
		u := &m.units[i]
		switch u.state {
		case StateMaster:
			m.masterTimers(u)
		case StateBackup:
			m.backupTimers(u)
		}
	}
}

func (m *Machine) masterTimers(u *unit) {
	if u.flushTill != 0 && m.now >= u.flushTill {
		m.flushed(u)
		return
	}
	for i := u.first; i < u.last; i++ {
		in := &m.inst[i]
		if m.now >= in.advertAt {
			m.send(i, in.priority())
		}
		m.announcements(i)
	}
}

// announcements has the VIPs of a master announced as planned.
func (m *Machine) announcements(i int) {
	in := &m.inst[i]
	due := 0
	for due < len(in.announce) && in.announce[due] <= m.now {
		due++
	}
	count := min(due, 1) // late ones would be of no use
	in.announce = in.announce[due:]
	if m.now >= in.secondAt {
		count, in.secondAt = in.GARPRepeat, Never
	}
	if m.now >= in.refreshAt {
		count, in.refreshAt = max(count, 1), m.now+in.GARPRefresh
	}
	if count > 0 {
		m.act(Action{Kind: ActionAnnounce, Instance: i, Unit: in.unit, Count: count})
	}
}

func (m *Machine) backupTimers(u *unit) {
	all := true
	for i := u.first; i < u.last; i++ {
		in := &m.inst[i]
		if !in.asked && m.now >= in.downAt-in.interval {
			in.asked = true
			m.query(u)
		}
		if m.now >= in.downAt {
			in.wants, in.downAt = true, m.now+in.downTime()
		}
		all = all && in.wants
	}
	if u.voteUntil != 0 && m.now >= u.voteUntil {
		u.voteUntil = 0
		m.alarm(u, Action{Reason: AlarmNoVotes})
		m.rearm(u)
		return
	}
	if all && u.voteUntil == 0 {
		m.want(u)
	}
}

// query asks a silent owner, one advert before it would be held for dead, whether it serves: the answer is there
// in time, so asking costs no time.
func (m *Machine) query(u *unit) {
	if m.otherOwner(u) {
		m.act(Action{Kind: ActionQuery, Unit: m.index(u), Name: u.claim.Owner})
	}
}

// otherOwner reports whether another director that gossip holds for alive owns u.
func (m *Machine) otherOwner(u *unit) bool {
	o := u.claim.Owner
	return m.cfg.Gossip && o != "" && o != m.cfg.Node && !m.gone[o]
}

// rearm listens for another master down time.
func (m *Machine) rearm(u *unit) {
	u.answered = false
	for i := range m.of(u) {
		in := &m.inst[u.first+i]
		in.arm(m.now, in.downTime())
	}
}

// want takes the unit over, if nothing speaks against it: every instance's timer ran out.
func (m *Machine) want(u *unit) {
	reason := m.wish(u)
	switch {
	case reason == ReasonMasterSilent && u.answered && m.otherOwner(u):
		m.alarm(u, Action{Reason: AlarmVRRPBroken, Name: u.claim.Owner})
		m.rearm(u)
	case !u.gateway:
		m.alarm(u, Action{Reason: AlarmNoGateway})
		m.rearm(u)
	case u.quorum && m.now < m.cfg.Abstain:
		m.alarm(u, Action{Reason: AlarmAbstain})
		m.rearm(u)
	case u.quorum:
		m.askVotes(u)
	default:
		m.toMaster(u, reason)
	}
}

// wish says why the timers of u ran out.
func (m *Machine) wish(u *unit) Reason {
	reason := ReasonMasterSilent
	for i := range m.of(u) {
		switch in := &m.inst[u.first+i]; {
		case in.preempting:
			return ReasonPreempt
		case in.gaveUp:
			reason = ReasonGaveUp
		}
	}
	return reason
}

// nextDeadline returns the earliest time of anything planned.
func (m *Machine) nextDeadline() Time {
	next := Never
	for i := range m.units {
		u := &m.units[i]
		if u.state != StateMaster && u.state != StateBackup {
			continue
		}
		for _, t := range []Time{u.voteUntil, u.flushTill} {
			if t != 0 {
				next = min(next, t)
			}
		}
		for j := range m.of(u) {
			next = min(next, m.inst[u.first+j].nextDeadline(u.state))
		}
	}
	return next
}

func (in *instance) nextDeadline(s State) Time {
	if s == StateBackup {
		if !in.asked {
			return in.downAt - in.interval
		}
		return in.downAt
	}
	next := min(in.advertAt, in.secondAt, in.refreshAt)
	if len(in.announce) > 0 {
		next = min(next, in.announce[0])
	}
	return next
}
