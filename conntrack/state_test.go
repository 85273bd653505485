package conntrack

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// tcpVectors is testdata/tcp_states.json: IPVS's machine as a kernel showed it.
type tcpVectors struct {
	Timeouts    map[string]int
	Active      []string
	Transitions map[string]map[string]map[string]string
}

func readVectors(t *testing.T) (v tcpVectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/tcp_states.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// tcpStates maps IPVS's words to states.
func tcpStates() map[string]State {
	m := map[string]State{}
	for s := TCPNone; s <= TCPSynAck; s++ {
		m[s.String()] = s
	}
	return m
}

func TestTCPMovesBetweenStatesAsTheKernelDoes(t *testing.T) {
	dirs := map[string]Dir{"input": Input, "output": Output, "input_only": InputOnly}
	flags := map[string]uint8{"fin": 1, "syn": 2, "rst": 4, "ack": 16}
	states, n := tcpStates(), 0
	for dir, events := range readVectors(t).Transitions {
		for event, moves := range events {
			for from, to := range moves {
				n++
				if got := NextTCP(dirs[dir], states[from], flags[event]); got != states[to] {
					t.Errorf("%s %s in %s: %v, want %s", dir, event, from, got, to)
				}
			}
		}
	}
	if n != 3*4*11 {
		t.Errorf("%d vectors, want all of 3 directions, 4 events, 11 states", n)
	}
}

func TestTCPEventsHaveIPVSPriority(t *testing.T) {
	for flags := range 256 {
		one := uint8(0)
		for _, f := range []uint8{4, 2, 1, 16} { // rst, syn, fin, ack
			if uint8(flags)&f != 0 {
				one = f
				break
			}
		}
		for s := TCPNone; s <= TCPSynAck; s++ {
			want := TCPClose
			if one != 0 {
				want = NextTCP(Input, s, one)
			}
			if got := NextTCP(Input, s, uint8(flags)); got != want {
				t.Fatalf("flags %#x in %v: %v, want %v", flags, s, got, want)
			}
		}
	}
}

func TestNextTCPLeavesWhatIsNotTCPAlone(t *testing.T) {
	for s := UDPNormal; s < 255; s++ {
		if got := NextTCP(Output, s, 2); got != s {
			t.Errorf("%v became %v", s, got)
		}
	}
	if got := NextTCP(Dir(9), TCPSynSent, 16); got != TCPSynSent {
		t.Errorf("a direction that does not exist moved SYN_SENT to %v", got)
	}
}

func TestTimeoutsAndActiveStatesAreTheKernels(t *testing.T) {
	v, d := readVectors(t), DefaultTimeouts()
	active := map[string]bool{}
	for _, s := range v.Active {
		active[s] = true
	}
	for name, s := range tcpStates() {
		if got := d.Of(s).Duration(); got != time.Duration(v.Timeouts[name])*time.Second {
			t.Errorf("timeout of %s: %v, want %d s", name, got, v.Timeouts[name])
		}
		if s.Active() != active[name] {
			t.Errorf("%s active: %v", name, s.Active())
		}
	}
	if d.Of(UDPNormal).Duration() != 5*time.Minute || UDPNormal.Active() {
		t.Error("UDP is not inactive with 300 s")
	}
}

func TestSetTimeoutsChangesThreeAndKeepsZeroes(t *testing.T) {
	d := DefaultTimeouts()
	got := d.With(time.Minute, 0, 10*time.Millisecond)
	for s := State(0); int(s) < NumStates; s++ {
		want := d.Of(s)
		switch s {
		case TCPEstablished:
			want = 60 * TicksPerSecond
		case UDPNormal:
			want = 1 // rounded up: a timeout that was asked for is not none
		}
		if got.Of(s) != want {
			t.Errorf("%v: %d ticks, want %d", s, got.Of(s), want)
		}
	}
	if long := d.With(1<<62, 0, 0); long.Of(TCPEstablished) != Ticks(maxTimeout) {
		t.Error("a timeout of centuries is not cut to a year")
	}
}

func TestStatesHaveIPVSWords(t *testing.T) {
	for s, want := range map[State]string{
		TCPNone: "NONE", TCPSynAck: "SYNACK", UDPNormal: "UDP", TemplateNone: "NONE",
		TemplateAssured: "ASSURED", 99: "state(99)",
	} {
		if s.String() != want {
			t.Errorf("state %d: %q, want %q", uint8(s), s, want)
		}
	}
}
