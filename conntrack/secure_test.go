package conntrack

import "testing"

func TestSecureTCPMovesBetweenStatesAsTheKernelDoes(t *testing.T) {
	flags := map[string]uint8{"fin": 1, "syn": 2, "rst": 4, "ack": 16}
	states, m := tcpStates(), readMachine(t, "tcp_states_secure.json")
	n := m.each(func(dir Dir, event, from, to string) {
		if got := NextTCPSecure(dir, states[from], flags[event]); got != states[to] {
			t.Errorf("direction %d, %s in %s: %v, want %s", dir, event, from, got, to)
		}
	})
	if n != 3*4*11 {
		t.Errorf("%d moves, want all of 3 directions, 4 events, 11 states", n)
	}
}

func TestSecureTCPWithoutAFlagIsClose(t *testing.T) {
	for dir := Input; dir <= InputOnly; dir++ {
		for s := TCPNone; s <= TCPSynAck; s++ {
			if got := NextTCPSecure(dir, s, 8); got != TCPClose {
				t.Errorf("no flag in %v: %v", s, got)
			}
		}
	}
}

func TestSecureTCPLeavesTheOrdinaryMachineAlone(t *testing.T) {
	if got := NextTCP(Input, TCPSynRecv, 16); got != TCPEstablished {
		t.Errorf("an ACK in SYN_RECV: %v", got)
	}
	if got := NextTCPSecure(Input, TCPSynRecv, 16); got != TCPSynRecv {
		t.Errorf("an ACK in SYN_RECV with secure_tcp: %v", got)
	}
	for _, s := range []State{UDPNormal, TemplateNone, SCTPInit, 200} {
		if got := NextTCPSecure(Output, s, 2); got != s {
			t.Errorf("%v became %v", s, got)
		}
	}
	if got := NextTCPSecure(Dir(9), TCPSynSent, 16); got != TCPSynSent {
		t.Errorf("a direction that does not exist moved SYN_SENT to %v", got)
	}
}
