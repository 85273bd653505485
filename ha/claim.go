package ha

// onClaim takes another director's claim. A master with the worse one gives up at once: its own
// is from before the other took over.
func (m *Machine) onClaim(u *unit, c Claim) {
	if c.Owner == m.cfg.Node {
		return
	}
	if c.Owner == "" { // given up
		if c.Term >= u.claim.Term && u.claim.Owner != m.cfg.Node {
			u.claim = c
		}
		return
	}
	delete(m.gone, c.Owner)
	if u.state != StateMaster {
		if c.beats(u.claim) {
			u.claim = c
		}
		return
	}
	if c.beats(u.claim) && (u.quorum || !m.outranks(u, c)) {
		u.claim = c
		m.toBackup(u, ReasonHigherTerm, linger) // no last advert: backups would race the new master
		return
	}
	if c.Term > u.claim.Term { // outranked, or this director would have yielded
		u.claim = m.claimOf(u, c.Term+1)
		m.keepTerm(u, u.claim.Term, false)
	}
	m.repeatClaim(u)
	for i := u.first; i < u.last; i++ {
		m.insist(i)
	}
}

// repeatClaim says again who owns the unit, but not without end to one that does not listen.
func (m *Machine) repeatClaim(u *unit) {
	if m.now < u.repeatAt {
		return
	}
	u.repeatAt = m.now + m.inst[u.first].AdvertInt/2
	m.act(Action{Kind: ActionClaim, Claim: u.claim})
}

// outranks reports whether VRRP's own order makes this director the better master. Without votes that decides between
// two masters, since adverts decide the same way: if one yielded to the term and the other to the advert, none
// would be left. The better one takes the next term.
func (m *Machine) outranks(u *unit, c Claim) bool {
	return m.claimOf(u, c.Term).beats(c)
}

// onHandover lets a better director have the unit, once it has all that this one has.
func (m *Machine) onHandover(u *unit, c Claim) {
	if c.Prio > m.inst[u.first].priority() || u.released {
		m.flush(u, c.Owner)
	}
}

// flush begins to give the unit up.
func (m *Machine) flush(u *unit, to string) {
	if u.state != StateMaster || u.flushTill != 0 {
		return
	}
	u.flushTo, u.flushTill = to, m.now+flushWait
	m.act(Action{Kind: ActionFlush, Unit: m.index(u), Name: to})
}

// flushed ends a handover: the other has everything, or had its time.
func (m *Machine) flushed(u *unit) {
	reason := ReasonHandover
	if u.released {
		reason = ReasonReleased
	}
	m.leave(u, StateBackup, reason)
}

// askVotes begins a vote about the next term.
func (m *Machine) askVotes(u *unit) {
	term := max(u.claim.Term, u.voted) + 1
	u.ballot = m.claimOf(u, term)
	u.votes, u.voteUntil = map[string]bool{}, m.now+voteWait
	m.keepTerm(u, term, true)
	m.act(Action{Kind: ActionVoteAsk, Claim: u.ballot})
	m.tally(u)
}

// onVoteAsk gives each term to the first director that asks for it, and none while a master is heard.
func (m *Machine) onVoteAsk(u *unit, c Claim) {
	yes := c.Term > u.voted && c.Term > u.claim.Term && !m.hears(u, c) && m.now >= m.cfg.Abstain
	if yes {
		m.keepTerm(u, c.Term, true)
	}
	m.act(Action{Kind: ActionVote, Unit: m.index(u), Name: c.Owner, Claim: c, Up: yes})
}

// hears reports whether the unit has a master as far as this director can tell.
func (m *Machine) hears(u *unit, c Claim) bool {
	if u.state == StateMaster {
		return m.serves(u) && c.Prio <= m.inst[u.first].priority()
	}
	if u.state != StateBackup || u.claim.Owner == c.Owner {
		return false
	}
	for i := range m.of(u) {
		in := &m.inst[u.first+i]
		if in.wants || in.gaveUp || m.now-in.heard > in.interval+in.interval/2 {
			return false
		}
	}
	return u.claim.Owner != ""
}

// keepTerm notes a term that must not be given again, also after a crash: a vote is worth nothing if its director
// forgets it.
func (m *Machine) keepTerm(u *unit, term uint32, durable bool) {
	if term > u.voted {
		u.voted = term
		m.act(Action{Kind: ActionTerm, Unit: m.index(u), Claim: Claim{Unit: u.name, Term: term}, Up: durable})
	}
}

// onVote counts a vote about our ballot.
func (m *Machine) onVote(u *unit, ev *Event) {
	if u.voteUntil == 0 || ev.Claim != u.ballot {
		return
	}
	if ev.Up {
		u.votes[ev.Name] = true
	}
	m.tally(u)
}

// tally takes the unit over when a majority agrees; one's own vote counts.
func (m *Machine) tally(u *unit) {
	if len(u.votes)+1 > m.cfg.Directors/2 {
		m.toMaster(u, m.wish(u))
	}
}
