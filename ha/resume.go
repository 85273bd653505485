package ha

// SameWire reports whether two instances are one to other directors: adverts of the one are those of the other.
// Whatever else differs may change while the instance runs.
func (i *Instance) SameWire(o *Instance) bool {
	return i.Interface == o.Interface && i.VRID == o.VRID && i.Version == o.Version && i.Family6() == o.Family6() &&
		i.UseVMAC == o.UseVMAC
}

// Resume has a machine that was just made go on where another one stopped, of the same director with another
// configuration. Units and instances of the same names keep their states, timers and claims; others start. Of those
// whose wire is another one only the term is kept: have the old machine retire them before (EventRetire). keep tells
// which tracked things of an instance, by name, are still tracked. The old machine is of no use afterwards.
func (m *Machine) Resume(old *Machine, now Time, keep func(instance int, track string) bool) []Action {
	m.acts = nil
	m.now = max(now, old.now)
	// Whether the data plane moves is told again.
	m.ready, m.members, m.gone, m.rejects = old.ready, old.members, old.gone, old.rejects
	for i := range m.units {
		u := &m.units[i]
		if ou := old.unitNamed(u.name); ou != nil {
			m.resumeUnit(u, ou, old, keep)
		}
		m.start(u) // unless it goes on
	}
	m.runTimers()
	m.deadline = m.nextDeadline()
	return m.acts
}

func (m *Machine) unitNamed(name string) *unit {
	for i := range m.units {
		if m.units[i].name == name {
			return &m.units[i]
		}
	}
	return nil
}

func (m *Machine) resumeUnit(u, ou *unit, old *Machine, keep func(int, string) bool) {
	u.claim, u.voted = ou.claim, max(u.voted, ou.voted)
	if ou.state == StateStop || ou.state == StateInit {
		return // it begins anew, with the next term
	}
	u.state, u.since, u.released, u.alarmed = ou.state, ou.since, ou.released, ou.alarmed
	u.syncLost = ou.syncLost
	u.answered, u.repeatAt = ou.answered, ou.repeatAt
	u.ballot, u.votes, u.voteUntil, u.askUntil = ou.ballot, ou.votes, ou.voteUntil, ou.askUntil
	u.flushTo, u.flushTill = ou.flushTo, ou.flushTill
	switch {
	case u.asksGateway && ou.asksGateway:
		u.gateway = ou.gateway
	case u.state == StateMaster:
		u.gateway = true // until the first that is asked has had its time
	}
	for j := range m.of(u) {
		in := &m.inst[u.first+j]
		if oi := old.instanceNamed(ou, in.Name); oi != nil {
			m.resumeInstance(u, in, oi)
			for name, t := range oi.tracks {
				if keep(u.first+j, name) {
					in.tracks[name] = t
				}
			}
			in.downAt += in.skew() - oi.skew()
			continue
		}
		in.listen(m.now)
		if u.state == StateMaster {
			in.advertAt = m.now
			in.announceTakeover(m.now)
		}
	}
}

func (m *Machine) instanceNamed(u *unit, name string) *instance {
	for i := u.first; i < u.last; i++ {
		if m.inst[i].Name == name {
			return &m.inst[i]
		}
	}
	return nil
}

func (m *Machine) resumeInstance(u *unit, in, oi *instance) {
	in.interval = oi.interval
	if in.AdvertInt != oi.AdvertInt && (in.Version == 2 || u.state == StateMaster) {
		in.interval = in.AdvertInt // what another master said in version 3 holds
	}
	in.heard, in.downAt, in.asked, in.wants = oi.heard, oi.downAt, oi.asked, oi.wants
	in.preempting, in.gaveUp, in.preemptAt = oi.preempting, oi.gaveUp, oi.preemptAt
	in.advertAt, in.announce, in.secondAt, in.refreshAt = oi.advertAt, oi.announce, oi.secondAt, oi.refreshAt
	in.answerAt, in.lowerAt, in.senders = oi.answerAt, oi.lowerAt, oi.senders
	if u.state != StateMaster {
		return
	}
	if in.Priority != oi.Priority || in.AdvertInt != oi.AdvertInt {
		in.advertAt = m.now // others hear of it at once
	}
	if !in.sameAddrs(oi.VIPs) || len(in.Excluded) != len(oi.Excluded) {
		in.advertAt = m.now
		in.announceTakeover(m.now)
	}
}
