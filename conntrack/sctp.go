package conntrack

// Types of SCTP chunks (RFC 9260 section 3.2) that the dataplane has to know; NextSCTP
// knows the others.
const (
	ChunkInit       = 1
	ChunkAbort      = 6
	ChunkCookieEcho = 10
	ChunkCookieAck  = 11
)

// What a chunk means for a conn.
const (
	chunkData = iota // and everything that says nothing about the association's state
	chunkInit
	chunkInitAck
	chunkCookieEcho
	chunkCookieAck
	chunkShutdown
	chunkShutdownAck
	chunkShutdownComplete
	chunkError
	chunkAbort
	numChunks
)

// chunkEvents is by chunk type; types past the end, AUTH and the like, are data.
var chunkEvents = [16]uint8{
	ChunkInit: chunkInit, 2: chunkInitAck, ChunkAbort: chunkAbort, 7: chunkShutdown, 8: chunkShutdownAck,
	9: chunkError, ChunkCookieEcho: chunkCookieEcho, ChunkCookieAck: chunkCookieAck, 14: chunkShutdownComplete,
}

const numSCTPStates = int(SCTPClosed-SCTPNone) + 1

// sctpStates is a set of SCTP states: bit n is the state n past SCTPNone.
type sctpStates uint16

// Short names keep the moves readable.
const (
	inNO sctpStates = 1 << iota
	inI1
	inIN
	inCS
	inCR
	inCW
	inCO
	inCE
	inES
	inSS
	inSR
	inSA
	inRJ
	inCL
	inAny = 1<<numSCTPStates - 1
	inNew = inNO | inI1 | inIN // nobody answered yet
)

// sctpMove says which states a chunk moves to one other.
type sctpMove struct {
	chunk uint8
	from  sctpStates
	to    State
}

// sctpMoves is IPVS's machine by direction (ip_vs_proto_sctp.c). A state that no
// move names stays.
var sctpMoves = [3][]sctpMove{
	Input: {
		{chunkData, inNO, SCTPEstablished},
		{chunkInit, inNO, SCTPInit1},
		{chunkInit, inI1 | inRJ | inCL, SCTPInit},
		{chunkInitAck, inNew, SCTPCookieWait},
		{chunkInitAck, inCW, SCTPCookie},
		{chunkCookieEcho, inNO | inCS, SCTPCookieReplied},
		{chunkCookieEcho, inI1, SCTPInit},
		{chunkCookieAck, inNO | inCE, SCTPEstablished},
		{chunkShutdown, inNO | inES, SCTPShutdownReceived},
		{chunkShutdownAck, inNO | inSS | inSA, SCTPClosed},
		{chunkShutdownAck, inI1, SCTPInit},
		{chunkShutdownComplete, inNew | inSA, SCTPClosed},
		{chunkError, inNO | inCE, SCTPClosed},
		{chunkAbort, inAny &^ inCW, SCTPClosed},
		{chunkAbort, inCW, SCTPRejected},
	},
	Output: {
		{chunkData, inNO, SCTPEstablished},
		{chunkInit, inAny &^ inES, SCTPCookieWait},
		{chunkInitAck, inNew, SCTPCookieSent},
		{chunkCookieEcho, inNew | inCS | inCR | inCW | inCO, SCTPCookieEchoed},
		{chunkCookieAck, inNew | inCS | inCR | inCW | inCO | inCE, SCTPEstablished},
		{chunkShutdown, inNew | inCS | inCR | inCW | inCO | inCE | inES, SCTPShutdownSent},
		{chunkShutdownAck, inNew | inCS | inCR | inSS | inSR, SCTPShutdownAckSent},
		{chunkShutdownComplete, inNO, SCTPClosed},
		{chunkError, inNew | inCS | inCR, SCTPClosed},
		{chunkAbort, inAny &^ inI1, SCTPClosed},
		{chunkAbort, inI1, SCTPRejected},
	},
	InputOnly: {
		{chunkData, inNO | inCW, SCTPEstablished},
		{chunkInit, inNO, SCTPInit1},
		{chunkInit, inI1 | inCS | inCR | inCW | inRJ | inCL, SCTPInit},
		{chunkInitAck, inNew | inCS | inCR | inCW, SCTPCookieEchoed},
		{chunkCookieEcho, inNew | inCS | inCR | inCW, SCTPEstablished},
		{chunkCookieAck, inNO | inCS | inCR | inCO | inCE, SCTPEstablished},
		{chunkShutdown, inNO | inES, SCTPShutdownReceived},
		{chunkShutdownAck, inNO | inES | inSS | inSA, SCTPClosed},
		{chunkShutdownAck, inI1, SCTPInit},
		{chunkShutdownComplete, inNew | inCS | inCR | inSR | inSA, SCTPClosed},
		{chunkError, inNO, SCTPClosed},
		{chunkAbort, inAny &^ inCW, SCTPClosed},
		{chunkAbort, inCW, SCTPRejected},
	},
}

type sctpTable [3][numChunks][numSCTPStates]State

// sctpNext is sctpMoves spread out, for one load per packet.
var sctpNext = spread(&sctpMoves)

func spread(moves *[3][]sctpMove) *sctpTable {
	t := new(sctpTable)
	for dir := range t {
		for chunk := range t[dir] {
			for s := range t[dir][chunk] {
				t[dir][chunk][s] = SCTPNone + State(s)
			}
		}
		for _, m := range moves[dir] {
			for s := range numSCTPStates {
				if m.from>>s&1 != 0 {
					t[dir][m.chunk][s] = m.to
				}
			}
		}
	}
	return t
}

// NextSCTP returns the state after a packet in direction dir whose chunk, by its type, is
// the one that counts: the first, or an ABORT that follows a COOKIE-ECHO or
// COOKIE-ACK. A state that is not SCTP's stays as it is.
func NextSCTP(dir Dir, s State, chunk uint8) State {
	n := int(s) - int(SCTPNone)
	if n < 0 || n >= numSCTPStates || dir > InputOnly {
		return s
	}
	event := uint8(chunkData)
	if int(chunk) < len(chunkEvents) {
		event = chunkEvents[chunk]
	}
	return sctpNext[dir][event][n]
}
