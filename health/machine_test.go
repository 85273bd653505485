package health

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/lvs"
)

// stage plays a machine by hand.
type stage struct {
	t    *testing.T
	m    *machine
	now  time.Time
	asks map[*checker]time.Time
	log  []string // changes, in short words
}

func begin() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// newStage starts a machine whose warm-ups last no time.
func newStage(t *testing.T, s Service) *stage {
	st := &stage{t: t, now: begin(), asks: map[*checker]time.Time{}}
	st.m = &machine{Service: s, random: func(time.Duration) time.Duration { return 0 }}
	st.step(event{kind: evStart})
	return st
}

func (st *stage) step(ev event) {
	for _, a := range st.m.step(st.now, ev, nil) {
		switch {
		case a.ask != nil:
			st.asks[a.ask] = a.at
		case a.forget != nil:
			delete(st.asks, a.forget)
		default:
			st.log = append(st.log, words(a.change))
		}
	}
}

func words(c Change) string {
	w := string(c.Kind)
	if c.Server.IsValid() {
		w += fmt.Sprint(" ", c.Server.Port())
	}
	if c.Kind == WeightChanged {
		w += fmt.Sprint(" = ", c.Weight)
	}
	if c.Reason != "" {
		w += ": " + string(c.Reason)
	}
	if c.Initial {
		w += " (initial)"
	}
	if c.Again {
		w += " (again)"
	}
	return w
}

// checker returns the check k of server i.
func (st *stage) checker(i, k int) *checker { return st.m.servers[i].checkers[k] }

// answer gives the answer to check k of server i, at its time.
func (st *stage) answer(i, k int, r Result) time.Duration {
	st.t.Helper()
	c := st.checker(i, k)
	at, asked := st.asks[c]
	if !asked {
		st.t.Fatalf("server %d check %d is not asked", i, k)
	}
	st.now = at
	st.step(event{kind: evAnswer, checker: c, result: r})
	return st.asks[c].Sub(at)
}

// expect compares the changes since the last call.
func (st *stage) expect(want ...string) {
	st.t.Helper()
	if !slices.Equal(st.log, want) {
		st.t.Errorf("got  %s\nwant %s", strings.Join(st.log, ", "), strings.Join(want, ", "))
	}
	st.log = nil
}

func yes() Result { return good() }
func no() Result  { return Result{Reason: ReasonRefused} }

func tcp(c Common) *Check { return mustCheck(Spec{Kind: KindTCP, Common: c}) }

func mustCheck(s Spec) *Check {
	c, err := NewCheck(s, Common{}, web())
	if err != nil {
		panic(err)
	}
	return c
}

// serversOf makes n servers, on ports 1 to n, of weight 1.
func serversOf(n int, checks ...*Check) (list []Server) {
	for i := range n {
		a := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i+1))
		list = append(list, Server{Address: a, Weight: 1, Checks: checks})
	}
	return list
}

func every(loop, delay time.Duration, retry int) Common {
	return Common{DelayLoop: Some(loop), DelayBeforeRetry: Some(delay), Retry: Some(retry)}
}

func TestAServerIsUpUntilItsFirstAnswerWhichCountsWithoutRetries(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, tcp(every(6*time.Second, 3*time.Second, 3)))})
	st.expect("quorum_up (initial)")
	if next := st.answer(0, 0, no()); next != 6*time.Second {
		t.Errorf("asks again after %v", next)
	}
	st.expect("server_down 1: connection refused", "quorum_down")
}

func TestFailuresAreRetriedBeforeTheyCount(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, tcp(every(6*time.Second, 3*time.Second, 3)))})
	st.answer(0, 0, yes())
	for i := range 3 {
		if next := st.answer(0, 0, no()); next != 3*time.Second {
			t.Errorf("retry %d comes after %v", i+1, next)
		}
	}
	st.expect("quorum_up (initial)")
	if next := st.answer(0, 0, no()); next != 6*time.Second {
		t.Errorf("asks again after %v", next)
	}
	st.expect("server_down 1: connection refused", "quorum_down")
	st.answer(0, 0, no())
	st.expect()
	if next := st.answer(0, 0, yes()); next != 6*time.Second {
		t.Errorf("asks again after %v", next)
	}
	st.expect("server_up 1", "quorum_up")
}

func TestASuccessForgetsRetries(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, tcp(every(time.Second, time.Second, 1)))})
	for range 5 {
		st.answer(0, 0, yes())
		st.answer(0, 0, no())
	}
	st.expect("quorum_up (initial)")
}

func TestAlphaIsDownUntilAllItsChecksSucceed(t *testing.T) {
	alpha := Common{Alpha: Some(true)}
	ping := mustCheck(Spec{Kind: KindPing, Common: alpha})
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, tcp(alpha), ping)})
	st.expect("server_down 1: not checked yet (initial)", "quorum_down: not checked yet (initial)")
	st.answer(0, 0, no())
	st.answer(0, 1, yes())
	st.expect()
	st.answer(0, 0, yes())
	st.expect("server_up 1", "quorum_up")
}

func TestAServerIsUpWhileNoneOfItsChecksFails(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, tcp(Common{}), mustCheck(Spec{Kind: KindPing}))})
	st.answer(0, 0, no())
	st.answer(0, 1, Result{Reason: ReasonTimeout})
	st.answer(0, 0, yes())
	st.expect("quorum_up (initial)", "server_down 1: connection refused", "quorum_down")
	st.answer(0, 1, yes())
	st.expect("server_up 1", "quorum_up")
}

func TestTheReasonIsThatOfACheckThatHasTheServerDownNow(t *testing.T) {
	alpha := Common{Alpha: Some(true)}
	ping := mustCheck(Spec{Kind: KindPing, Common: alpha})
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, tcp(alpha), ping)})
	for _, step := range []struct {
		check  int
		answer Result
		want   Reason
	}{
		{1, Result{Reason: ReasonTimeout}, ReasonTimeout}, // it was not checked yet
		{1, Result{Reason: ReasonUnreachable, Detail: "no route"}, ReasonUnreachable},
		{1, Result{Reason: ReasonLocal}, ReasonUnreachable},
		{0, no(), ReasonUnreachable}, // the other one is as good a reason as before
		{1, yes(), ReasonUnreachable},
		{0, no(), ReasonRefused},
	} {
		st.answer(0, step.check, step.answer)
		if got := st.m.status().Servers[0]; got.Up || got.Reason != step.want {
			t.Errorf("after %+v: %+v, want %s", step.answer, got, step.want)
		}
	}
	st.answer(0, 0, yes())
	st.expect("server_down 1: not checked yet (initial)", "quorum_down: not checked yet (initial)",
		"server_up 1", "quorum_up")
}

func TestWhatCouldNotBeAskedChangesNothing(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, tcp(every(time.Second, time.Second, 0)))})
	for range 5 {
		if next := st.answer(0, 0, Result{Reason: ReasonLocal}); next != time.Second {
			t.Errorf("asks again after %v", next)
		}
	}
	st.expect("quorum_up (initial)")
	st.answer(0, 0, no())
	st.expect("server_down 1: connection refused", "quorum_down")
}

func pages(n int, fast bool) *Check {
	s := Spec{Kind: KindHTTP, FastRecovery: fast, Common: every(time.Second, 3*time.Second, 1)}
	for i := range n {
		s.URLs = append(s.URLs, URL{Path: fmt.Sprint("/", i)})
	}
	return mustCheck(s)
}

func TestURLsAreAskedForOneEachDelayLoop(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, pages(3, false))})
	c := st.checker(0, 0)
	asked := []int{}
	note := func(r Result) time.Duration {
		asked = append(asked, c.url)
		return st.answer(0, 0, r)
	}
	for range 4 {
		if next := note(yes()); next != time.Second {
			t.Errorf("next after %v", next)
		}
	}
	note(no())                                             // retried
	if next := note(no()); next != 3*time.Second || c.up { // down: the longer of both delays
		t.Errorf("next after %v, up %v", next, c.up)
	}
	note(yes()) // the one that failed; now all of them
	note(yes())
	note(yes())
	if c.up {
		t.Error("up before all URLs succeeded")
	}
	note(yes())
	if want := []int{0, 1, 2, 0, 1, 1, 1, 0, 1, 2}; !slices.Equal(asked, want) || !c.up {
		t.Errorf("asked %v, want %v, up %v", asked, want, c.up)
	}
}

func TestFastRecoveryAsksForAllURLsAtOnce(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, pages(2, true))})
	if next := st.answer(0, 0, yes()); next != time.Second {
		t.Errorf("up: next after %v", next)
	}
	st.answer(0, 0, no())
	st.answer(0, 0, no())
	for i, want := range []time.Duration{0, 0, time.Second} {
		if next := st.answer(0, 0, yes()); next != want {
			t.Errorf("success %d: next after %v, want %v", i, next, want)
		}
	}
	st.expect("quorum_up (initial)", "server_down 1: connection refused", "quorum_down", "server_up 1", "quorum_up")
}

func TestTheQuorumHasHysteresis(t *testing.T) {
	st := newStage(t, Service{Key: web(), Quorum: 3, Hysteresis: 1, Servers: serversOf(5, tcp(every(time.Second, 0, 0)))})
	st.expect("quorum_up (initial)")                           // 5 >= 3 + 1
	for i, want := range []string{"", "", "", "quorum_down"} { // 4, 3, 2; 1 < 3 - 1
		st.answer(i, 0, no())
		expectQuorum(t, st, fmt.Sprint("down ", i), want)
	}
	for i, want := range []string{"", "", "quorum_up"} { // 2, 3; 4 >= 3 + 1
		st.answer(i, 0, yes())
		expectQuorum(t, st, fmt.Sprint("up ", i), want)
	}
}

func expectQuorum(t *testing.T, st *stage, what, want string) {
	t.Helper()
	got := ""
	for _, w := range st.log {
		if strings.HasPrefix(w, "quorum") {
			got += w
		}
	}
	if st.log = nil; got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestTheQuorumIsLostWithTheLastWeight(t *testing.T) {
	servers := serversOf(2, tcp(every(time.Second, 0, 0)))
	servers[0].Weight, servers[1].Weight = 0, 2
	st := newStage(t, Service{Key: web(), Quorum: 1, Hysteresis: 1, Servers: servers}) // below 1 - 1 there is nothing
	st.answer(1, 0, no())
	st.expect("quorum_up (initial)", "server_down 2: connection refused", "quorum_down")
}

func TestTheStartTellsOfAQuorumThatCannotBe(t *testing.T) {
	st := newStage(t, Service{Key: web(), Quorum: 3, Servers: serversOf(2, tcp(Common{}))})
	st.expect("quorum_down (initial)")
	newStage(t, Service{Key: web()}).expect("quorum_down (initial)")
}

func TestAScriptGivesTheWeightAndAFileAddsToIt(t *testing.T) {
	script := mustCheck(Spec{Kind: KindScript, Path: "/x", Dynamic: true})
	fileCheck := mustCheck(Spec{Kind: KindFile, Path: "/y", Dynamic: true, Weight: 1})
	servers := serversOf(1, script, fileCheck)
	servers[0].Weight = 10
	st := newStage(t, Service{Key: web(), Quorum: 5, Servers: servers})
	dynamic := func(w int64) Result { return Result{OK: true, Dynamic: true, Weight: w} }
	st.answer(0, 0, dynamic(7))
	st.answer(0, 1, dynamic(-4))
	st.expect("quorum_up (initial)", "weight 1 = 7", "weight 1 = 3", "quorum_down")
	servers[0].Weight = 20
	st.step(event{kind: evConfigure, service: &Service{Key: web(), Quorum: 5, Servers: servers}})
	st.expect() // the script's word holds
	st.answer(0, 0, yes())
	st.expect("weight 1 = 16", "quorum_up")
	st.answer(0, 1, dynamic(-1000))
	st.answer(0, 1, dynamic(math.MaxInt32))
	st.expect("weight 1 = 0", "quorum_down", "weight 1 = 2147483647", "quorum_up")
}

func TestAReloadKeepsWhatItDoesNotTouch(t *testing.T) {
	a, b := tcp(every(time.Second, 0, 0)), mustCheck(Spec{Kind: KindPing})
	st := newStage(t, Service{Key: web(), Servers: serversOf(3, a, b)})
	st.answer(0, 0, no())
	st.answer(1, 1, no())
	st.expect("quorum_up (initial)", "server_down 1: connection refused", "server_down 2: connection refused")
	kept := st.checker(0, 0)
	due := st.asks[kept]
	again := tcp(every(time.Second, 0, 0)) // the same, parsed anew
	servers := append(serversOf(2, again), serversOf(4, again)[3])
	st.step(event{kind: evConfigure, service: &Service{Key: web(), Servers: servers}})
	st.expect("server_up 2") // its failing check is gone; server 3 is, 4 is new
	if st.checker(0, 0) != kept || !st.asks[kept].Equal(due) || len(st.asks) != 3 {
		t.Errorf("the check of server 1 began anew, or %d are asked", len(st.asks))
	}
	st.step(event{kind: evConfigure, service: &Service{Key: web(), Servers: serversOf(1, again)}})
	st.expect("quorum_down") // only the dead one is left
}

func TestALateAnswerOfARemovedCheckMeansNothing(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, tcp(Common{}))})
	gone := st.checker(0, 0)
	st.step(event{kind: evConfigure, service: &Service{Key: web(), Servers: serversOf(1)}})
	st.step(event{kind: evAnswer, checker: gone, result: no()})
	st.expect("quorum_up (initial)")
	if len(st.asks) != 0 {
		t.Error("it is asked again")
	}
}

func TestASuspendedServiceIsNeitherAskedNorJudged(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(2, tcp(Common{}))})
	st.step(event{kind: evSuspend})
	if len(st.asks) != 0 {
		t.Errorf("%d are asked", len(st.asks))
	}
	st.step(event{kind: evAnswer, checker: st.checker(0, 0), result: no()})
	st.step(event{kind: evResume})
	st.expect("quorum_up (initial)")
	if len(st.asks) != 2 {
		t.Errorf("%d are asked", len(st.asks))
	}
}

func TestWhatIsNotWellIsToldAgain(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(2, tcp(Common{}))})
	st.answer(0, 0, no())
	st.log = nil
	st.step(event{kind: evRetell})
	st.expect("server_down 1: connection refused (again)")
	st.answer(1, 0, no())
	st.log = nil
	st.step(event{kind: evRetell})
	st.expect("server_down 1: connection refused (again)", "server_down 2: connection refused (again)",
		"quorum_down (again)")
	script := mustCheck(Spec{Kind: KindScript, Path: "/x", Dynamic: true})
	st = newStage(t, Service{Key: web(), Servers: serversOf(1, script)})
	st.answer(0, 0, Result{OK: true, Dynamic: true, Weight: 7})
	st.log = nil
	st.step(event{kind: evRetell})
	st.expect("weight 1 = 7 (again)")
}

func TestOmegaTellsOfTheEnd(t *testing.T) {
	for omega, want := range map[bool][]string{
		false: nil, true: {"server_down 2: director stops", "quorum_down: director stops"},
	} {
		st := newStage(t, Service{Key: web(), Omega: omega, Servers: serversOf(2, tcp(every(time.Second, 0, 0)))})
		st.answer(0, 0, no())
		st.log = nil
		st.step(event{kind: evStop})
		st.expect(want...)
		if len(st.asks) != 0 {
			t.Errorf("%d are asked", len(st.asks))
		}
	}
}

func TestACertificateIsWarnedOfOnce(t *testing.T) {
	check := mustCheck(Spec{Kind: KindHTTPS, URLs: []URL{{Path: "/"}}, ExpiryWarning: 24 * time.Hour})
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, check)})
	expires := begin().Add(48 * time.Hour)
	seen := Result{OK: true, Expires: expires}
	st.answer(0, 0, seen)
	st.expect("quorum_up (initial)")
	st.asks[st.checker(0, 0)] = begin().Add(25 * time.Hour)
	st.answer(0, 0, seen)
	st.answer(0, 0, seen)
	st.expect("certificate_expiring 1")
	seen.Expires = expires.Add(time.Hour) // another one, as short
	st.answer(0, 0, seen)
	st.expect("certificate_expiring 1")
}

func TestFirstChecksAreSpread(t *testing.T) {
	n := time.Duration(0)
	m := &machine{Service: Service{Key: web(), Servers: serversOf(3, tcp(every(6*time.Second, 0, 0)))}}
	m.random = func(limit time.Duration) time.Duration { n++; return limit / 4 * n }
	for i, a := range m.step(begin(), event{kind: evStart}, nil)[:3] {
		if want := 1500 * time.Millisecond * time.Duration(i+1); a.ask == nil || a.at.Sub(begin()) != want {
			t.Errorf("check %d begins after %v, want %v", i, a.at.Sub(begin()), want)
		}
	}
	now := tcp(Common{Warmup: Some(time.Duration(0))})
	m = &machine{Service: Service{Key: web(), Servers: serversOf(1, now)}, random: m.random}
	if a := m.step(begin(), event{kind: evStart}, nil)[0]; !a.at.Equal(begin()) {
		t.Errorf("without warmup it begins after %v", a.at.Sub(begin()))
	}
}

func TestAFailureThatDecidesAsksForADiagnosis(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(1, tcp(every(time.Second, 0, 1)))})
	c := st.checker(0, 0)
	for i, r := range []struct {
		decisive bool
		result   Result
	}{{true, yes()}, {false, no()}, {true, no()}, {true, yes()}, {false, yes()}} {
		if c.decisive() != r.decisive {
			t.Errorf("before answer %d: decisive %v", i, c.decisive())
		}
		st.answer(0, 0, r.result)
	}
}

func TestACheckIsDescribed(t *testing.T) {
	nat := Server{Address: netip.MustParseAddrPort("10.0.0.1:8080"), Method: lvs.MethodNAT, Checks: []*Check{
		tcp(Common{}), mustCheck(Spec{Kind: KindPing}), mustCheck(Spec{Kind: KindScript, Path: "/x"}),
		tcp(Common{Via: ViaAddress}),
	}}
	st := newStage(t, Service{Key: web(), Servers: []Server{nat}})
	want := []string{
		"tcp 192.0.2.1:80 via path", "ping 10.0.0.1", "script /x", "tcp 10.0.0.1:8080 via address",
	}
	for i := range want {
		if got := st.checker(0, i).describe(); got != want[i] {
			t.Errorf("got %q, want %q", got, want[i])
		}
	}
}
