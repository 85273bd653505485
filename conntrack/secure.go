package conntrack

// tcpSecureMoves are where the machine differs while secure_tcp is on (tcp_states_dos in
// ip_vs_proto_tcp.c): no ACK of a client alone makes a conn whose replies pass us ESTABLISHED,
// the server has to go on after its SYN. Where replies do not pass, SYNACK takes SYN_RECV's place.
var tcpSecureMoves = [3][]tcpMove{
	Input: {
		{evSYN, sSA, sSA}, {evFIN, sSA, sSA}, {evACK, sSR, sSR}, {evACK, sSA, sSA}, {evRST, sSA, sCL},
	},
	Output: {
		{evSYN, sSR, sSA}, {evSYN, sSA, sSA},
	},
	InputOnly: {
		{evSYN, sNO, sSA}, {evSYN, sFW, sSA}, {evSYN, sTW, sSA}, {evSYN, sCL, sSA}, {evSYN, sCW, sSA},
		{evSYN, sLA, sSA}, {evSYN, sLI, sSA}, {evSYN, sSA, sSA},
	},
}

type tcpMove struct {
	event    uint8
	from, to State
}

type tcpTable [3][numEvents][numTCPStates]State

// tcpSecure is tcpNext with the moves that differ.
var tcpSecure = hardened(tcpNext, &tcpSecureMoves)

func hardened(t tcpTable, moves *[3][]tcpMove) *tcpTable {
	for dir := range t {
		for _, m := range moves[dir] {
			t[dir][m.event][m.from] = m.to
		}
	}
	return &t
}

// NextTCPSecure is NextTCP while secure_tcp is on. Conns go over from one machine to
// the other where they are.
func NextTCPSecure(dir Dir, s State, tcpFlags uint8) State {
	if int(s) >= numTCPStates || dir > InputOnly {
		return s
	}
	return tcpSecure[dir][tcpEvents[tcpFlags&31]][s]
}
