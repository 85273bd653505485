package conntrack

import "fmt"

// State is where a conn stands in its protocol. The TCP numbers are IPVS's
// (enum in include/net/ip_vs.h), because sync messages carry them; IPVS's number
// of an SCTP state is what it is past SCTPNone.
type State uint8

// States of TCP conns, UDP conns, templates and SCTP conns.
const (
	TCPNone State = iota
	TCPEstablished
	TCPSynSent
	TCPSynRecv
	TCPFinWait
	TCPTimeWait
	TCPClose
	TCPCloseWait
	TCPLastAck
	TCPListen
	TCPSynAck
	UDPNormal       // the one state of a UDP conn
	TemplateNone    // a template none of whose conns got through yet
	TemplateAssured // a template of which a conn was established
	SCTPNone
	SCTPInit1 // the first INIT; a second one makes it INIT
	SCTPInit
	SCTPCookieSent    // the server's INIT-ACK passed
	SCTPCookieReplied // then the client's COOKIE-ECHO
	SCTPCookieWait    // the server sent the INIT
	SCTPCookie        // then the client its INIT-ACK
	SCTPCookieEchoed  // then the server its COOKIE-ECHO
	SCTPEstablished
	SCTPShutdownSent     // the server is closing
	SCTPShutdownReceived // the client is closing
	SCTPShutdownAckSent
	SCTPRejected // an INIT was answered by an ABORT
	SCTPClosed

	// NumStates is the number of states, for tables indexed by one. A State is below 32.
	NumStates = int(SCTPClosed) + 1

	numTCPStates = int(TCPSynAck) + 1
)

var stateNames = [NumStates]string{
	"NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE",
	"CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK", "UDP", "NONE", "ASSURED",
	"NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED",
	"ESTABLISHED", "S-SENT", "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED",
}

// String returns the word of ipvsadm -Lc.
func (s State) String() string {
	if int(s) < NumStates {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// activeStates has a bit for each state that counts as active: of TCP those of
// tcp_state_active_table (ip_vs_proto_tcp.c), of SCTP only ESTABLISHED (set_sctp_state).
const activeStates = 1<<TCPEstablished | 1<<TCPSynSent | 1<<TCPSynRecv | 1<<TCPSynAck | 1<<SCTPEstablished

// Active reports whether IPVS counts a conn in s as active; all others, UDP
// included, are inactive.
func (s State) Active() bool { return activeStates>>s&1 != 0 }

// Established reports whether a conn in s got through, which assures its template.
func (s State) Established() bool { return s == TCPEstablished || s == SCTPEstablished }

// Dir says which packets of a conn the director sees, and which one this is.
type Dir uint8

// InputOnly is for DR and TUN, as long as no reply of the conn was seen.
const (
	Input     Dir = iota // client to server
	Output               // server to client
	InputOnly            // client to server, and replies do not pass us
)

// Events, in IPVS's order of priority.
const (
	evRST = iota
	evSYN
	evFIN
	evACK
	evNone
	numEvents
)

// tcpEvents maps the low five TCP flag bits (FIN 1, SYN 2, RST 4, PSH 8, ACK 16) to
// an event: rst before syn before fin before ack.
var tcpEvents = [32]uint8{
	evNone, evFIN, evSYN, evSYN, evRST, evRST, evRST, evRST,
	evNone, evFIN, evSYN, evSYN, evRST, evRST, evRST, evRST,
	evACK, evFIN, evSYN, evSYN, evRST, evRST, evRST, evRST,
	evACK, evFIN, evSYN, evSYN, evRST, evRST, evRST, evRST,
}

// Short names keep the transition table readable.
const (
	sNO = TCPNone
	sES = TCPEstablished
	sSS = TCPSynSent
	sSR = TCPSynRecv
	sFW = TCPFinWait
	sTW = TCPTimeWait
	sCL = TCPClose
	sCW = TCPCloseWait
	sLA = TCPLastAck
	sLI = TCPListen
	sSA = TCPSynAck
)

// tcpNext is IPVS's machine with secure_tcp off (ip_vs_proto_tcp.c), columns by the
// current state in the order of the constants.
var tcpNext = [3][numEvents][numTCPStates]State{
	Input: {
		evRST:  {sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sSR},
		evSYN:  {sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSR},
		evFIN:  {sCL, sCW, sSS, sTW, sTW, sTW, sCL, sCW, sLA, sLI, sTW},
		evACK:  {sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES},
		evNone: {sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
	},
	Output: {
		evRST:  {sCL, sCL, sSS, sCL, sCL, sTW, sCL, sCL, sCL, sCL, sCL},
		evSYN:  {sSS, sES, sSS, sSR, sSS, sSS, sSS, sSS, sSS, sLI, sSR},
		evFIN:  {sTW, sFW, sSS, sTW, sFW, sTW, sCL, sTW, sLA, sLI, sTW},
		evACK:  {sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sLA, sES, sES},
		evNone: {sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
	},
	InputOnly: {
		evRST:  {sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sCL},
		evSYN:  {sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSR},
		evFIN:  {sCL, sFW, sSS, sTW, sFW, sTW, sCL, sCW, sLA, sLI, sTW},
		evACK:  {sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES},
		evNone: {sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
	},
}

// NextTCP returns the state after a segment with the given flags (the TCP header's
// flag byte) in direction dir. A state that is not TCP's stays as it is.
func NextTCP(dir Dir, s State, tcpFlags uint8) State {
	if int(s) >= numTCPStates || dir > InputOnly {
		return s
	}
	return tcpNext[dir][tcpEvents[tcpFlags&31]][s]
}
