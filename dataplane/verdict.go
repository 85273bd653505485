package dataplane

import "ulvs/packet"

// Verdict is where a frame goes, with the reason. The zero value drops. Every
// frame that a worker receives ends with exactly one verdict, so the counters
// by verdict always add up to the frames received (plus those held back).
type Verdict uint8

// Verdicts that drop come first, then the ones that transmit. Reasons of
// packet.Parse follow after NumVerdicts, see ParseVerdict.
const (
	DropInternal      Verdict = iota // a path forgot to decide; a bug if ever counted
	DropOtherHost                    // for another host's MAC address
	DropOwnSource                    // claims to come from an address of our own
	DropNotOurs                      // steered to us, but for no VIP and from no real server
	DropNoService                    // for a VIP, but no service there and no answer due
	DropNoDestination                // no real server could take the session, and no answer was possible
	DropRemoved                      // the session's real server is no longer configured
	DropTableFull                    // max_conns reached
	DropDefence                      // would have started a session, and it was its turn by drop_packet
	DropNoRoute                      // the kernel has no route, or one through no interface of ours
	DropNeighbour                    // the next hop's MAC address did not resolve in time
	DropTTL                          // TTL ran out and no ICMP error was due
	DropTooBig                       // larger than the next hop's MTU and no ICMP error was due
	DropHeadroom                     // the frame's chunk has no room for the outer header
	DropFragment                     // a fragment of a datagram that we cannot match
	DropOptions                      // IPv4 options that make no sense, or a source route
	DropICMP                         // ICMP that is neither an echo to a VIP nor one we answer
	DropARP                          // ARP that asks for nothing of ours
	DropAnswerLimit                  // an answer of our own was due but over the limit per second
	DropUnsynced                     // of no session here, while a peer may be about to tell of it
	DropStackFull                    // for our own stack, which had no room, or larger than it takes
	TxDR                             // forwarded by MAC rewrite
	TxNAT                            // forwarded to the real server, destination rewritten
	TxNATReply                       // forwarded to the client, source rewritten
	TxTUN                            // forwarded inside an outer header
	TxRouted                         // a real server's packet that belongs to no session, routed as it is
	TxARP                            // answered: ARP for a VIP
	TxND                             // answered: neighbour solicitation for a VIP
	TxEcho                           // answered: echo request to a VIP
	TxICMPError                      // answered with an ICMP error of our own
	TxReset                          // answered with a TCP reset
	TxProbe                          // a health check's packet, forwarded to its real server by the method
	TxLocal                          // a packet of a server on this host, sent to its client
	Gathered                         // a fragment, kept until its datagram is whole; the last one gets its verdict
	Local                            // handed to our own stack: its session's real server is on this host
	ProbeAnswer                      // handed to our own stack: the answer to a health check
	hold                             // kept until its next hop resolves; never counted
	NumVerdicts                      // number of verdicts without the parse reasons
)

// inPieces marks a verdict of a frame whose fragments were sent in its place.
const inPieces Verdict = 1 << 7

// NumCounters is the number of counters a worker keeps: verdicts and parse reasons.
const NumCounters = int(NumVerdicts) + int(packet.NumErrors)

// ParseVerdict returns the verdict of a frame that packet.Parse refused.
func ParseVerdict(e packet.Error) Verdict { return NumVerdicts + Verdict(e) }

// Counts reports whether v is a fate that frames can meet, and so has a counter.
func (v Verdict) Counts() bool { return v != hold && v != NumVerdicts }

// IsTx reports whether the frame is transmitted.
func (v Verdict) IsTx() bool { return v >= TxDR && v < Gathered }

// IsDrop reports whether the frame is given up.
func (v Verdict) IsDrop() bool { return v < TxDR || v > hold }

var verdictNames = [NumVerdicts]string{
	"drop_internal", "drop_other_host", "drop_own_source",
	"drop_not_ours", "drop_no_service", "drop_no_destination", "drop_removed",
	"drop_table_full", "drop_defence", "drop_no_route",
	"drop_neighbour", "drop_ttl", "drop_too_big", "drop_headroom",
	"drop_fragment", "drop_options", "drop_icmp", "drop_arp", "drop_answer_limit",
	"drop_unsynced", "drop_stack_full",
	"tx_dr", "tx_nat", "tx_nat_reply", "tx_tun", "tx_routed", "tx_arp", "tx_nd", "tx_echo",
	"tx_icmp_error", "tx_reset", "tx_probe", "tx_local", "gathered", "local", "probe_answer", "hold",
}

// String returns the counter's name; parse reasons are "bad_" and the reason.
func (v Verdict) String() string {
	if v < NumVerdicts {
		return verdictNames[v]
	}
	return "bad_" + packet.Error(v-NumVerdicts).String()
}
