package health

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"ulvs/lvs"
)

// Service is what an Engine watches: a VIP, its real servers and their checks.
type Service struct {
	Key        lvs.ServiceKey
	Quorum     int64 // weight of live servers that the service needs; below 1 counts as 1
	Hysteresis int64 // the quorum is gained at Quorum + Hysteresis and lost below Quorum - Hysteresis
	Omega      bool  // the end of the director is reported as the end of the servers, for their scripts' sake
	Servers    []Server
}

// Server is a real server of a service. Without checks it is up.
type Server struct {
	Address netip.AddrPort
	Method  lvs.Method
	Weight  int32 // as configured or edited, without what checks add
	Checks  []*Check
}

// ChangeKind is what became different.
type ChangeKind string

// The kinds of changes.
const (
	ServerUp            ChangeKind = "server_up"
	ServerDown          ChangeKind = "server_down"
	QuorumUp            ChangeKind = "quorum_up"
	QuorumDown          ChangeKind = "quorum_down"
	WeightChanged       ChangeKind = "weight"
	CertificateExpiring ChangeKind = "certificate_expiring"
)

// Change is something that the director has to act upon.
type Change struct {
	Kind    ChangeKind
	Time    time.Time
	Service lvs.ServiceKey
	Server  netip.AddrPort // invalid for quorums
	Check   string         // the check that decided, in words; empty for quorums
	Reason  Reason         // of a server that is down
	Detail  string
	Weight  int32 // of the server, with what checks add; of a quorum, the live servers' sum, at most MaxInt32
	Dynamic bool  // checks add to the weight
	Initial bool  // the state that something begins with, before any answer
	Again   bool  // told once more: nothing became different
}

// The reasons of changes that no check decided.
const (
	ReasonUnchecked Reason = "not checked yet"
	ReasonStopping  Reason = "director stops"
)

// checker is a check of one real server, and what is known by it.
type checker struct {
	check   *Check
	server  *server
	up      bool
	known   bool // some answer has counted
	retried int  // since the last success
	url     int  // the next one to ask for
	failed  bool // the last answer that counted was a failure, at url
	gone    bool // no longer configured: a late answer means nothing
	dynamic bool // contributes to the weight: added is valid
	added   int64
	warned  time.Time // the expiry that was warned of

	last    Result
	lastAt  time.Time
	since   time.Time // of up
	answers uint64
	fails   uint64

	timer // the engine's
}

// server is a real server in a machine.
type server struct {
	Server
	machine  *machine
	checkers []*checker
	up       bool
	since    time.Time
	why      Change // the last ServerDown or ServerUp
	weight   int32  // with what checks add
}

// machine judges one service. It has no clock and no hands: answers go in, what to do comes out.
//
//	               all checks up                        S >= quorum + hysteresis
//	server: down  ----------------> up        quorum: down -------------------> up
//	              <----------------                        <-------------------
//	               one check down                 S < quorum - hysteresis, or S = 0
//
// S is the sum of the weights of servers that are up.
type machine struct {
	Service
	servers   []*server
	quorum    bool
	suspended bool
	random    func(limit time.Duration) time.Duration // spreads first checks: [0, limit)
}

// eventKind is what a machine is told.
type eventKind uint8

const (
	evStart     eventKind = iota // begin; once
	evAnswer                     // checker has result
	evConfigure                  // service is the configuration from now on
	evSuspend                    // ask nothing, judge nothing
	evResume
	evRetell   // tell what is not well
	evRemember // memory is what another process knows
	evStop     // the director ends
)

type event struct {
	kind    eventKind
	checker *checker
	result  Result
	service *Service
	memory  *Memory
}

// action is what a machine wants: to ask a server at a time, to forget a checker, or to tell of a change.
type action struct {
	ask    *checker
	at     time.Time
	forget *checker
	change Change // valid iff both are nil
}

// step advances the machine and appends what to do.
func (m *machine) step(now time.Time, ev event, acts []action) []action {
	switch ev.kind {
	case evStart:
		return m.configure(now, &m.Service, true, acts)
	case evConfigure:
		return m.configure(now, ev.service, false, acts)
	case evAnswer:
		return m.answer(now, ev.checker, &ev.result, acts)
	case evSuspend:
		m.suspended = true
		m.each(func(c *checker) { acts = append(acts, action{forget: c}) })
	case evResume:
		m.suspended = false
		m.each(func(c *checker) { acts = append(acts, m.first(now, c)) })
	case evRetell:
		return m.retell(now, acts)
	case evRemember:
		return m.remember(now, ev.memory, acts)
	case evStop:
		return m.stop(now, acts)
	}
	return acts
}

func (m *machine) each(fn func(*checker)) {
	for _, s := range m.servers {
		for _, c := range s.checkers {
			fn(c)
		}
	}
}

// first is the first question of a checker.
func (m *machine) first(now time.Time, c *checker) action {
	at := now
	if warmup := c.check.Warmup.Value; warmup > 0 {
		at = now.Add(m.random(warmup))
	}
	return action{ask: c, at: at}
}

// answer takes one answer in.
func (m *machine) answer(now time.Time, c *checker, r *Result, acts []action) []action {
	if c.gone || m.suspended {
		return acts
	}
	c.last, c.lastAt = *r, now
	c.answers++
	was := c.up
	delay := c.judge(r)
	if c.up != was {
		c.since = now
	}
	acts = append(acts, action{ask: c, at: now.Add(delay)})
	acts = c.warn(now, r, acts)
	c.server.refine(c)
	said := len(acts)
	acts = c.server.weigh(now, acts)
	acts = c.server.settle(now, c, false, acts)
	if len(acts) == said {
		return acts // as nearly always: the sum is that of before
	}
	return m.settle(now, false, acts)
}

// judge is keepalived's rise and fall. It returns how long to wait before the next question.
//
//	         success of all URLs                   failure, retries left: wait delay_before_retry
//	down ----------------------------> up  -------------------------------------------> up
//	  ^                                 |
//	  +---------------------------------+  failure, no retries left. The first answer ever has none.
func (c *checker) judge(r *Result) time.Duration {
	loop := c.check.DelayLoop.Value
	if r.Reason == ReasonLocal {
		return loop // nothing was learnt
	}
	if !r.OK {
		c.fails++
	}
	first := !c.known
	c.known = true
	switch {
	case r.OK:
		return c.success(r)
	case c.up && !first && c.retried < c.check.Retry.Value:
		c.retried++
		return c.check.DelayBeforeRetry.Value
	}
	c.up, c.failed, c.retried = false, true, 0
	if len(c.check.pages) > 0 {
		return max(loop, c.check.DelayBeforeRetry.Value)
	}
	return loop
}

// success goes on to the next URL, or from one that had failed to the whole list.
func (c *checker) success(r *Result) time.Duration {
	c.retried = 0
	c.dynamic, c.added = r.Dynamic, r.Weight
	urls := len(c.check.pages)
	switch {
	case urls > 1 && c.failed:
		c.url, c.failed = 0, false
	case c.url+1 < urls:
		c.url++
	default:
		c.url, c.failed, c.up = 0, false, true
	}
	if !c.up && c.check.FastRecovery {
		return 0
	}
	return c.check.DelayLoop.Value
}

// decisive reports whether a failure now would take the server down, or keep it there.
func (c *checker) decisive() bool {
	return !c.up || !c.known || c.retried >= c.check.Retry.Value
}

// warn tells once of each certificate that expires soon.
func (c *checker) warn(now time.Time, r *Result, acts []action) []action {
	if !c.check.ExpiringSoon(r, now) || c.warned.Equal(r.Expires) {
		return acts
	}
	c.warned = r.Expires
	change := c.server.change(CertificateExpiring, now, c)
	change.Detail = "certificate expires " + r.Expires.UTC().Format(time.RFC3339)
	return append(acts, action{change: change})
}

func (s *server) change(kind ChangeKind, now time.Time, c *checker) Change {
	change := Change{
		Kind: kind, Time: now, Service: s.machine.Key, Server: s.Address, Weight: s.weight, Dynamic: s.dynamic(),
	}
	if c != nil {
		change.Check = c.describe()
	}
	return change
}

// dynamic reports whether checks add to the weight.
func (s *server) dynamic() bool {
	return slices.ContainsFunc(s.checkers, func(c *checker) bool { return c.dynamic })
}

// weigh computes the weight: the configured one, and what each dynamic check adds to it.
func (s *server) weigh(now time.Time, acts []action) []action {
	sum := int64(s.Weight)
	for _, c := range s.checkers {
		if !c.dynamic {
			continue
		}
		sum += c.added
		if c.check.Kind == KindScript { // it gives the weight, not the difference
			sum -= int64(s.Weight)
		}
	}
	weight := int32(min(max(sum, 0), math.MaxInt32))
	if weight == s.weight {
		return acts
	}
	s.weight = weight
	return append(acts, action{change: s.change(WeightChanged, now, nil)})
}

// settle makes the server what its checks say. by is the check that answered last, nil if none did.
func (s *server) settle(now time.Time, by *checker, initial bool, acts []action) []action {
	down := (*checker)(nil)
	for _, c := range s.checkers {
		if !c.up && (down == nil || c == by) {
			down = c
		}
	}
	if s.up == (down == nil) {
		return acts
	}
	s.up, s.since = down == nil, now
	change := s.change(ServerUp, now, by)
	if down != nil {
		change = s.change(ServerDown, now, down)
		change.Reason, change.Detail = down.last.Reason, down.last.Detail
		if !down.known {
			change.Reason = ReasonUnchecked
		}
	}
	change.Initial = initial
	s.why = change
	return append(acts, action{change: change})
}

// refine keeps the reason of a server that is down what a check says that has it down now: the answer that took it down
// may have known less, its check may succeed again, or there had been none. Nothing is told: it is as down as before.
func (s *server) refine(c *checker) {
	if s.up || c.last.OK || c.last.Reason == ReasonLocal {
		return
	}
	if slices.ContainsFunc(s.checkers, func(o *checker) bool {
		return o != c && o.known && !o.up && o.describe() == s.why.Check
	}) {
		return
	}
	s.why.Check, s.why.Reason, s.why.Detail = c.describe(), c.last.Reason, c.last.Detail
}

// sum is S.
func (m *machine) sum() (sum int64) {
	for _, s := range m.servers {
		if s.up {
			sum += int64(s.weight)
		}
	}
	return sum
}

// settle makes the quorum what the servers say.
func (m *machine) settle(now time.Time, initial bool, acts []action) []action {
	sum, quorum := m.sum(), max(m.Quorum, 1)
	has := sum >= quorum+m.Hysteresis
	if m.quorum && !initial {
		has = sum > 0 && sum >= quorum-m.Hysteresis
	}
	if has == m.quorum && !initial {
		return acts
	}
	m.quorum = has
	change := m.change(now)
	change.Initial = initial
	if initial && m.unchecked() {
		change.Reason = ReasonUnchecked
	}
	return append(acts, action{change: change})
}

// change is the state of the quorum.
func (m *machine) change(now time.Time) Change {
	kind := QuorumDown
	if m.quorum {
		kind = QuorumUp
	}
	return Change{Kind: kind, Time: now, Service: m.Key, Weight: int32(min(m.sum(), math.MaxInt32))}
}

// unchecked reports whether a server waits for its first answer.
func (m *machine) unchecked() (found bool) {
	m.each(func(c *checker) { found = found || !c.up && !c.known })
	return found
}

// retell tells once more what is not as it would be without checks.
func (m *machine) retell(now time.Time, acts []action) []action {
	again := func(c Change) {
		c.Again = true
		acts = append(acts, action{change: c})
	}
	for _, s := range m.servers {
		if s.dynamic() {
			again(s.change(WeightChanged, now, nil))
		}
		if !s.up {
			again(s.why)
		}
	}
	if !m.quorum {
		again(m.change(now))
	}
	return acts
}

// stop tells, where omega asks for it, that everything goes down.
func (m *machine) stop(now time.Time, acts []action) []action {
	m.each(func(c *checker) { acts = append(acts, action{forget: c}) })
	m.suspended = true
	if !m.Omega {
		return acts
	}
	for _, s := range m.servers {
		if s.up {
			change := s.change(ServerDown, now, nil)
			change.Reason = ReasonStopping
			acts = append(acts, action{change: change})
		}
	}
	if m.quorum {
		change := Change{Kind: QuorumDown, Time: now, Service: m.Key, Reason: ReasonStopping}
		acts = append(acts, action{change: change})
	}
	return acts
}
