package conntrack

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"
)

// machine is a machine as a kernel showed it; those moves it would not show are of its source.
type machine struct {
	Timeouts    map[string]int
	Active      []string
	Transitions map[string]map[string]map[string]string
	Unobserved  []string
}

func readMachine(t *testing.T, file string) (m machine) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// each calls fn for every move and returns how many there are.
func (m *machine) each(fn func(dir Dir, event, from, to string)) (n int) {
	dirs := map[string]Dir{"input": Input, "output": Output, "input_only": InputOnly}
	for dir, events := range m.Transitions {
		for event, moves := range events {
			for from, to := range moves {
				n++
				fn(dirs[dir], event, from, to)
			}
		}
	}
	return n
}

func sctpStatesByName() map[string]State {
	m := map[string]State{}
	for s := SCTPNone; s <= SCTPClosed; s++ {
		m[s.String()] = s
	}
	return m
}

func TestSCTPMovesBetweenStatesAsTheKernelDoes(t *testing.T) {
	chunks := map[string]uint8{
		"data": 0, "init": 1, "init_ack": 2, "abort": 6, "shutdown": 7, "shutdown_ack": 8, "error": 9,
		"cookie_echo": 10, "cookie_ack": 11, "shutdown_complete": 14,
	}
	states, m := sctpStatesByName(), readMachine(t, "sctp_states.json")
	n := m.each(func(dir Dir, event, from, to string) {
		if got := NextSCTP(dir, states[from], chunks[event]); got != states[to] {
			t.Errorf("direction %d, %s in %s: %v, want %s", dir, event, from, got, to)
		}
	})
	if n != 3*numChunks*numSCTPStates || len(m.Unobserved) != n-338 {
		t.Errorf("%d moves, %d of them not observed", n, len(m.Unobserved))
	}
}

func TestChunksThatSayNothingAreData(t *testing.T) {
	known := map[int]bool{1: true, 2: true, 6: true, 7: true, 8: true, 9: true, 10: true, 11: true, 14: true}
	for chunk := range 256 {
		for dir := Input; dir <= InputOnly; dir++ {
			for s := SCTPNone; s <= SCTPClosed; s++ {
				if got, want := NextSCTP(dir, s, uint8(chunk)), NextSCTP(dir, s, 0); !known[chunk] && got != want {
					t.Fatalf("chunk %d in %v: %v, want %v", chunk, s, got, want)
				}
			}
		}
	}
}

func TestNextSCTPLeavesWhatIsNotSCTPAlone(t *testing.T) {
	for s := range State(255) {
		got := NextSCTP(Output, s, ChunkAbort)
		if isSCTP := s >= SCTPNone && s <= SCTPClosed; !isSCTP && got != s || isSCTP && got != SCTPClosed && s != SCTPInit1 {
			t.Errorf("%v became %v", s, got)
		}
	}
	if got := NextSCTP(Dir(9), SCTPInit, ChunkAbort); got != SCTPInit {
		t.Errorf("a direction that does not exist moved INIT to %v", got)
	}
}

func TestSCTPTimeoutsAndActiveStatesAreTheKernels(t *testing.T) {
	m, d := readMachine(t, "sctp_states.json"), DefaultTimeouts()
	d = d.With(time.Minute, time.Minute, time.Minute) // ipvsadm --set is not about SCTP
	states := sctpStatesByName()
	if len(states) != numSCTPStates || len(m.Timeouts) != numSCTPStates {
		t.Fatalf("%d names, %d timeouts", len(states), len(m.Timeouts))
	}
	for name, s := range states {
		if got := d.Of(s).Duration(); got != time.Duration(m.Timeouts[name])*time.Second {
			t.Errorf("timeout of %s: %v, want %d s", name, got, m.Timeouts[name])
		}
		if want := fmt.Sprint(m.Active) == "["+name+"]"; s.Active() != want || s.Established() != want {
			t.Errorf("%s active: %v, established: %v", name, s.Active(), s.Established())
		}
	}
}

// TestSCTPStatesHaveIPVSNumbers: sync messages carry them (enum in include/net/ip_vs.h).
func TestSCTPStatesHaveIPVSNumbers(t *testing.T) {
	for s, want := range map[State]uint8{
		SCTPInit1: 1, SCTPCookieWait: 5, SCTPEstablished: 8, SCTPShutdownAckSent: 11, SCTPClosed: 13,
	} {
		if got := uint8(s - SCTPNone); got != want {
			t.Errorf("%v is %d, want %d", s, got, want)
		}
	}
}
