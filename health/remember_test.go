package health

import (
	"encoding/json"
	"testing"
	"time"
)

// A machine that goes on for another one knows what is down, and how often what is up has failed, and asks when the
// other one would have asked.
func TestAMachineGoesOnWhereAnotherOneWas(t *testing.T) {
	check := tcp(every(6*time.Second, 3*time.Second, 2))
	old := newStage(t, Service{Key: web(), Quorum: 3, Hysteresis: 1, Servers: serversOf(4, check)})
	for i := range 4 {
		old.answer(i, 0, yes())
	}
	for range 3 {
		old.answer(0, 0, no())
	}
	old.answer(1, 0, no()) // counts at the third
	old.expect("quorum_up (initial)", "server_down 1: connection refused")

	text, err := json.Marshal(old.m.memory(time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	var mem Memory
	if err := json.Unmarshal(text, &mem); err != nil {
		t.Fatal(err)
	}
	alpha := every(6*time.Second, 3*time.Second, 2)
	alpha.Alpha = Some(true)
	next := newStage(t, Service{Key: web(), Quorum: 3, Hysteresis: 1, Servers: serversOf(5, tcp(alpha))})
	next.log, next.now = nil, old.now
	next.step(event{kind: evRemember, memory: &mem})
	next.expect("server_down 1: connection refused (again)", "server_up 2 (again)", "server_up 3 (again)",
		"server_up 4 (again)", "quorum_up (again)")
	for i := range 4 {
		if at, want := next.asks[next.checker(i, 0)], later(old.now, old.asks[old.checker(i, 0)]); !at.Equal(want) {
			t.Errorf("server %d is asked at %v, by the other one at %v", i+1, at, want)
		}
	}
	if st := next.m.status(); st.Servers[0].Checks[0].Failures != 3 || !st.Servers[0].Since.Equal(old.m.servers[0].since) {
		t.Errorf("%+v", st.Servers[0])
	}
	next.answer(1, 0, no())
	next.expect()
	next.answer(1, 0, no())
	next.expect("server_down 2: connection refused")
	next.answer(4, 0, yes()) // it is new, and begins as any other
	next.expect("server_up 5")
}

func TestOnlyWhatWasAnsweredSinceIsToldAgain(t *testing.T) {
	st := newStage(t, Service{Key: web(), Servers: serversOf(3, tcp(every(6*time.Second, 3*time.Second, 2)))})
	st.answer(0, 0, yes())
	since := st.now
	if got := st.m.memory(time.Time{}).Servers; len(got) != 1 {
		t.Errorf("%+v, want the one that answered", got)
	}
	st.now = st.now.Add(time.Second)
	st.step(event{kind: evAnswer, checker: st.checker(2, 0), result: yes()})
	if got := st.m.memory(since).Servers; len(got) != 1 || got[0].Address.Port() != 3 {
		t.Errorf("%+v, want the one that answered since", got)
	}
}
