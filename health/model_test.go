package health

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ulvs/internal/testutil"
)

// history is what a check of the model has been told, and nothing else.
type history struct {
	check   *Check
	answers []bool // those that count
}

// up looks at the whole history: a run of failures at its end counts when it is longer than the
// retries, or reaches back to the beginning, where there are none.
func (h *history) up() bool {
	failures := 0
	for i := len(h.answers) - 1; i >= 0 && !h.answers[i]; i-- {
		failures++
	}
	switch {
	case len(h.answers) == 0:
		return !h.check.Alpha.Value
	case failures == len(h.answers):
		return false
	}
	return failures <= h.check.Retry.Value
}

// model is a service without any memory but histories and the quorum.
type model struct {
	service Service
	checks  map[string]*history // by server and check
	quorum  bool
}

func (m *model) key(s *Server, k int) string { return fmt.Sprint(s.Address, "/", k) }

func (m *model) serverUp(s *Server) bool {
	for k := range s.Checks {
		if !m.checks[m.key(s, k)].up() {
			return false
		}
	}
	return true
}

func (m *model) settle(initial bool) {
	sum := int64(0)
	for i := range m.service.Servers {
		if s := &m.service.Servers[i]; m.serverUp(s) {
			sum += int64(s.Weight)
		}
	}
	switch {
	case initial || !m.quorum:
		m.quorum = sum >= m.service.Quorum+m.service.Hysteresis
	case sum == 0 || sum < m.service.Quorum-m.service.Hysteresis:
		m.quorum = false
	}
}

func (m *model) configure(s Service, initial bool) {
	old := m.checks
	m.service, m.checks = s, map[string]*history{}
	for i := range s.Servers {
		for k, check := range s.Servers[i].Checks {
			key := m.key(&s.Servers[i], k)
			if h := old[key]; h != nil && h.check.Equal(check) {
				m.checks[key] = h
				continue
			}
			m.checks[key] = &history{check: check}
		}
	}
	m.settle(initial)
}

// randomService makes up to five servers with up to three checks, which differ from each other so that none is
// taken for another, and of which a reload changes some.
func randomService(rng *rand.Rand) Service {
	s := Service{Key: web(), Quorum: 1 + rng.Int64N(6)}
	s.Hysteresis = rng.Int64N(s.Quorum + 2)
	for i := range 5 {
		if rng.IntN(4) == 0 {
			continue
		}
		server := Server{Weight: rng.Int32N(4), Address: netip.AddrPortFrom(real().Addr(), uint16(i+1))}
		for k := range i % 4 {
			server.Checks = append(server.Checks, mustCheck(Spec{Kind: KindTCP, ConnectPort: uint16(k + 1), Common: Common{
				Retry: Some(rng.IntN(2)), Alpha: Some(i%2 == 0), Warmup: Some(time.Duration(0)),
			}}))
		}
		s.Servers = append(s.Servers, server)
	}
	return s
}

func TestRandomEventsAgainstAModelWithoutMemory(t *testing.T) {
	rng := testutil.Rand(t)
	seen := map[ChangeKind]int{}
	for range 200 {
		play(t, rng, seen)
		if t.Failed() {
			return
		}
	}
	for _, kind := range []ChangeKind{ServerUp, ServerDown, QuorumUp, QuorumDown} {
		if seen[kind] < 100 {
			t.Errorf("only %d times %s: the test proves little", seen[kind], kind)
		}
	}
}

func play(t *testing.T, rng *rand.Rand, seen map[ChangeKind]int) {
	service := randomService(rng)
	st := &stage{t: t, now: begin(), asks: map[*checker]time.Time{}}
	st.m = &machine{Service: service, random: func(time.Duration) time.Duration { return 0 }}
	mo := &model{}
	told := newTold()
	told.take(st, event{kind: evStart})
	mo.configure(service, true)
	for step := range 100 {
		if rng.IntN(20) == 0 {
			service = randomService(rng)
			told.take(st, event{kind: evConfigure, service: &service})
			mo.configure(service, false)
		} else if i := rng.IntN(len(service.Servers) + 1); i < len(service.Servers) && len(service.Servers[i].Checks) > 0 {
			k := rng.IntN(len(service.Servers[i].Checks))
			r := []Result{yes(), no(), no(), {Reason: ReasonLocal}}[rng.IntN(4)]
			told.take(st, event{kind: evAnswer, checker: st.checker(i, k), result: r})
			if r.Reason != ReasonLocal {
				h := mo.checks[mo.key(&service.Servers[i], k)]
				h.answers = append(h.answers, r.OK)
			}
			mo.settle(false)
		}
		told.compare(t, step, st, mo)
		if t.Failed() {
			return
		}
	}
	for kind, n := range told.seen {
		seen[kind] += n
	}
}

// told is what somebody knows who hears of changes only.
type told struct {
	down   map[netip.AddrPort]bool
	quorum bool
	seen   map[ChangeKind]int
}

func newTold() *told { return &told{down: map[netip.AddrPort]bool{}, seen: map[ChangeKind]int{}} }

func (x *told) take(st *stage, ev event) {
	for _, a := range st.m.step(st.now, ev, nil) {
		if a.ask != nil || a.forget != nil {
			continue
		}
		x.seen[a.change.Kind]++
		switch a.change.Kind {
		case ServerUp:
			x.down[a.change.Server] = false
		case ServerDown:
			x.down[a.change.Server] = true
		case QuorumUp:
			x.quorum = true
		case QuorumDown:
			x.quorum = false
		}
	}
	if ev.kind == evConfigure { // the director forgets servers that are gone
		for a := range x.down {
			if !slices.ContainsFunc(ev.service.Servers, func(s Server) bool { return s.Address == a }) {
				delete(x.down, a)
			}
		}
	}
}

func (x *told) compare(t *testing.T, step int, st *stage, mo *model) {
	t.Helper()
	for i := range mo.service.Servers {
		s := &mo.service.Servers[i]
		if want := mo.serverUp(s); x.down[s.Address] == want || st.m.servers[i].up != want {
			t.Errorf("step %d: server %s: model up %v, machine %v, told down %v", step, s.Address, want,
				st.m.servers[i].up, x.down[s.Address])
		}
	}
	if mo.quorum != x.quorum || mo.quorum != st.m.quorum {
		t.Errorf("step %d: quorum: model %v, machine %v, told %v", step, mo.quorum, st.m.quorum, x.quorum)
	}
}
