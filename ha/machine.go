package ha

import "time"

// Bounds of waiting for another director.
const (
	// handoverWait is how long an owner may take to hand over before the asking one preempts.
	handoverWait = 3 * time.Second
	// flushWait is how long an owner waits until its flush is reported done.
	flushWait = 2 * time.Second
	// staleAfter is how long a director may stand still before it doubts that it has all sessions.
	staleAfter = 250 * time.Millisecond
	// voteWait is how long votes are waited for.
	voteWait = 300 * time.Millisecond
	// linger is how long a director goes on forwarding what still reaches it after it gave up
	// a unit: neighbours learn the new owner one by one.
	linger = time.Second
	// settleWait is how long what another director told before it gave up may be on its way, and splitWait how long
	// it takes until two that both served have each other's sessions.
	settleWait = 200 * time.Millisecond
	splitWait  = 2 * time.Second
	// alarmPause keeps one alarm of a unit from repeating with every advert.
	alarmPause = 10 * time.Second
	// gossipGrace is how long a director that has just started may take to find the others.
	gossipGrace = 5 * time.Second
	// lowerPause bounds the announcements that a lower master's adverts cause.
	lowerPause = time.Second
)

// Machine is the takeover machine of one director. It is pure: same events, same actions.
// One goroutine uses it at a time.
type Machine struct {
	cfg   Config
	units []unit
	inst  []instance

	now, deadline    Time
	acts             []Action
	ready, dataplane bool
	members          int
	gone             map[string]bool // directors that gossip holds for dead
	rejects          [NumRejects]uint64
}

// unit is a group of instances that change state together.
type unit struct {
	name        string
	first, last int // its instances
	quorum      bool
	asksGateway bool
	gateway     bool // it answers, or is not asked
	state       State
	claim       Claim // the best one known, ours included
	released    bool

	answered  bool // the owner said that it serves, since the timers were armed
	voted     uint32
	ballot    Claim           // our own, while voteUntil is set
	votes     map[string]bool // of directors that agreed to ballot
	voteUntil Time            // 0: no vote under way
	askUntil  Time            // 0: no handover asked for
	flushTo   string
	flushTill Time // 0: no flush under way
	alarmed   map[Reason]Time
	syncLost  bool // AlarmSyncLost was told last, not AlarmSyncBack
	since     Time // of the state
	repeatAt  Time // the claim is not repeated before
}

// New makes a machine in state INIT. The instances must be valid.
func New(cfg Config) *Machine {
	m := &Machine{
		cfg: cfg, now: cfg.Start, deadline: Never, ready: true, dataplane: true, members: 1,
		gone: map[string]bool{},
	}
	for _, u := range cfg.Units {
		first := len(m.inst)
		for _, i := range u.Instances {
			m.inst = append(m.inst, newInstance(i.WithDefaults(), len(m.units)))
		}
		term := cfg.Terms[u.Name]
		m.units = append(m.units, unit{
			name: u.Name, first: first, last: len(m.inst), claim: Claim{Unit: u.Name, Term: term}, voted: term,
			alarmed: map[Reason]Time{}, quorum: cfg.Quorum || u.Quorum, asksGateway: u.Gateway, gateway: !u.Gateway,
		})
	}
	return m
}

// Step takes one event at time now and appends what is to be done to acts, in the order in which to do it.
// Time that goes backwards stands still.
func (m *Machine) Step(now Time, ev Event, acts []Action) []Action {
	m.acts = acts
	late := now - m.deadline
	m.now = max(now, m.now)
	if late > 0 && m.deadline != Never {
		m.overslept(late)
	}
	m.handle(&ev)
	m.runTimers()
	m.deadline = m.nextDeadline()
	return m.acts
}

// Deadline returns when Step must be called at the latest, with EventTimer if nothing else happened.
func (m *Machine) Deadline() Time { return m.deadline }

// Rejects returns how many adverts were refused for each reason.
func (m *Machine) Rejects() [NumRejects]uint64 { return m.rejects }

// overslept deals with a process that was stopped: what it believes is old. Backups listen once more before
// they believe that the master is dead. A master that the others held for dead meanwhile is none any more: it
// listens, and takes over again if nobody did.
func (m *Machine) overslept(late Time) {
	if m.cfg.Gossip && late > staleAfter {
		m.ready = false // others may have held us for dead, and told us nothing: we are told anew whether we are
	}
	for i := range m.units {
		u := &m.units[i]
		paused := u.state == StateMaster && m.missed(u)
		if paused {
			m.toBackup(u, ReasonPaused, linger)
		}
		for j := range m.of(u) {
			if in := &m.inst[u.first+j]; u.state == StateBackup && (paused || late > in.AdvertInt) {
				in.downAt = m.now + in.interval + in.skew()
			}
		}
	}
}

// missed reports whether a master's last adverts are older than its backups wait for the next: those of every
// instance, since a backup takes them together.
func (m *Machine) missed(u *unit) bool {
	for i := range m.of(u) {
		in := &m.inst[u.first+i]
		if sentAt := in.advertAt - in.AdvertInt; m.now-sentAt <= in.downTime() {
			return false
		}
	}
	return true
}

// of returns the instances of u.
func (m *Machine) of(u *unit) []instance { return m.inst[u.first:u.last] }

func (m *Machine) act(a Action) { m.acts = append(m.acts, a) }

// index returns u's number.
func (m *Machine) index(u *unit) int { return m.inst[u.first].unit }

// alarm tells the operator, once in a while.
func (m *Machine) alarm(u *unit, a Action) {
	if last, ok := u.alarmed[a.Reason]; ok && m.now-last < alarmPause {
		return
	}
	u.alarmed[a.Reason] = m.now
	a.Kind, a.Unit = ActionAlarm, m.index(u)
	m.act(a)
}

// loseSync tells, once, that a unit's peer sends adverts and no gossip.
func (m *Machine) loseSync(u *unit) {
	if !u.syncLost {
		u.syncLost = true
		m.act(Action{Kind: ActionAlarm, Unit: m.index(u), Reason: AlarmSyncLost})
	}
}

// findSync tells, once, that gossip arrives again.
func (m *Machine) findSync(u *unit) {
	if u.syncLost && m.members > 1 {
		u.syncLost = false
		m.act(Action{Kind: ActionAlarm, Unit: m.index(u), Reason: AlarmSyncBack})
	}
}

// faulty reports whether a unit may not be master, and why.
func (m *Machine) faulty(u *unit) (Reason, bool) {
	if !m.dataplane {
		return ReasonDataplane, true
	}
	for i := range m.of(u) {
		if m.inst[u.first+i].fault() {
			return ReasonFault, true
		}
	}
	return "", false
}

// settle brings u's state in line with what is tracked.
func (m *Machine) settle(u *unit) {
	reason, bad := m.faulty(u)
	switch {
	case u.state == StateInit || u.state == StateStop:
	case bad && u.state != StateFault:
		m.leave(u, StateFault, reason)
	case !bad && u.state == StateFault:
		m.toBackup(u, ReasonRecovered, 0)
	case u.state == StateMaster:
		m.cutOff(u)
	}
}

// cutOff makes a master yield if somebody else could do better: one of a majority that it does not see, unless its
// gateway says that it is the others who are cut off; or another director that it sees, while its gateway is silent.
func (m *Machine) cutOff(u *unit) {
	minority := u.quorum && m.members < m.cfg.Directors/2+1
	switch {
	case minority && !(u.asksGateway && u.gateway):
		m.leave(u, StateBackup, ReasonNoMajority)
	case !u.gateway && m.cfg.Gossip && m.members > 1:
		m.leave(u, StateBackup, ReasonGateway)
	}
}

// start leaves INIT.
func (m *Machine) start(u *unit) {
	if u.state != StateInit {
		return
	}
	if reason, bad := m.faulty(u); bad {
		m.become(u, StateFault, reason, 0)
		return
	}
	owner := true
	for i := range m.of(u) {
		in := &m.inst[u.first+i]
		in.preemptAt = m.now + in.PreemptDelay
		owner = owner && in.priority() == PriorityOwner
	}
	if m.cfg.Resume[u.name] && u.gateway {
		m.toMaster(u, ReasonResumed)
		return
	}
	if owner && !u.quorum && u.gateway {
		m.toMaster(u, ReasonOwner)
		return
	}
	m.toBackup(u, ReasonStart, 0)
	for i := range m.of(u) {
		if in := &m.inst[u.first+i]; in.InitialMaster {
			in.downAt = m.now + in.AdvertInt + in.skew()
		}
	}
}

// become changes the state and says so.
func (m *Machine) become(u *unit, s State, r Reason, linger Time) {
	u.state, u.since = s, m.now
	u.voteUntil, u.askUntil, u.flushTill = 0, 0, 0
	m.act(Action{Kind: ActionBecome, Unit: m.index(u), State: s, Reason: r, Claim: u.claim, Linger: linger})
}

// toMaster takes the unit: adverts first, so that other directors know before neighbours do.
func (m *Machine) toMaster(u *unit, r Reason) {
	term := u.claim.Term + 1
	if u.voteUntil != 0 {
		term = u.ballot.Term
	}
	u.claim = m.claimOf(u, term)
	u.released = false
	m.keepTerm(u, term, false)
	if !m.ready {
		m.alarm(u, Action{Reason: AlarmNotReady})
	}
	for i := u.first; i < u.last; i++ {
		m.inst[i].interval = m.inst[i].AdvertInt
		m.send(i, m.inst[i].priority())
	}
	m.settling(u, settleWait)
	m.become(u, StateMaster, r, 0)
	m.act(Action{Kind: ActionClaim, Claim: u.claim})
	for i := u.first; i < u.last; i++ {
		m.inst[i].announceTakeover(m.now)
		m.announcements(i)
	}
}

// settling says that sessions of another director may yet come.
func (m *Machine) settling(u *unit, wait Time) {
	if m.cfg.Gossip && m.cfg.Directors > 1 {
		m.act(Action{Kind: ActionSettle, Unit: m.index(u), Linger: wait})
	}
}

// claimOf is what this director claims with a term.
func (m *Machine) claimOf(u *unit, term uint32) Claim {
	in := &m.inst[u.first]
	return Claim{Unit: u.name, Term: term, Owner: m.cfg.Node, Prio: in.priority(), Source: in.Source}
}

// toBackup begins to listen.
func (m *Machine) toBackup(u *unit, r Reason, linger Time) {
	m.unclaim(u)
	for i := range m.of(u) {
		m.inst[u.first+i].listen(m.now)
	}
	u.answered = false
	m.become(u, StateBackup, r, linger)
}

// leave gives a unit up, or what one could have had of it. A master says so to everybody.
func (m *Machine) leave(u *unit, s State, r Reason) {
	after := Time(0)
	if u.state == StateMaster {
		m.giveUp(u)
		if r == ReasonHandover || r == ReasonReleased {
			after = linger
		}
	}
	if s == StateBackup {
		m.toBackup(u, r, after)
		return
	}
	m.become(u, s, r, after)
}

// giveUp sends the last adverts and takes the claim back.
func (m *Machine) giveUp(u *unit) {
	for i := u.first; i < u.last; i++ {
		m.send(i, PriorityGiveUp)
	}
	m.unclaim(u)
}

// unclaim takes our claim back.
func (m *Machine) unclaim(u *unit) {
	if u.claim.Owner == m.cfg.Node {
		u.claim.Owner = ""
		m.act(Action{Kind: ActionClaim, Claim: u.claim})
	}
}

// send has an advert sent and sets the time of the next.
func (m *Machine) send(i int, priority uint8) {
	in := &m.inst[i]
	in.advertAt = m.now + in.AdvertInt
	m.act(Action{Kind: ActionSend, Instance: i, Unit: in.unit, Advert: in.advert(priority)})
}
