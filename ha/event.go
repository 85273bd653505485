package ha

import (
	"net/netip"
	"time"
)

// State is where an instance, and its unit, stands.
type State uint8

// The states, by keepalived's names.
const (
	StateInit State = iota // not started
	StateBackup
	StateMaster
	StateFault
	StateStop
)

var stateNames = [...]string{"INIT", "BACKUP", "MASTER", "FAULT", "STOP"}

// String returns keepalived's word.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "UNKNOWN"
}

// EventKind says what happened.
type EventKind uint8

// The kinds, with the fields of Event that each uses.
const (
	EventTimer     EventKind = iota // nothing but the time
	EventStart                      // begins; all else is ignored before, but for what is remembered
	EventStop                       // the end: masters give up at once
	EventAdvert                     // Advert, From, Arrival checked; Instance
	EventSource                     // Instance, From: the interface's address is another
	EventTrack                      // Instance, Name, Weight, Up: a tracked thing
	EventDataplane                  // Up: every worker's heart beats and the rings move
	EventReady                      // Up: the session table equals the owner's; opens preemption
	EventGateway                    // Unit, Up: its gateway answers
	EventMembers                    // Members: directors that gossip sees, this one included
	EventClaim                      // Unit, Claim
	EventPeerGone                   // Name: gossip holds that director for dead
	EventQuery                      // Unit, Name asks whether we serve
	EventAnswer                     // Unit, Claim, Up: Claim.Owner serves, or not
	EventVoteAsk                    // Unit, Claim: may Claim.Owner have Claim.Term?
	EventVote                       // Unit, Claim, Up: Name's vote about it
	EventHandover                   // Unit, Claim: a better director that is ready asks for the unit
	EventFlushed                    // Unit: what ActionFlush asked for is done
	EventRelease                    // Unit: the operator wants this director to give it up
	EventResume                     // Unit: the operator takes EventRelease back
	EventRetire                     // Unit: it is no longer configured, or in another way on the wire
)

// Event is one thing that happened.
type Event struct {
	Kind     EventKind
	Instance int // index over all units' instances, in order
	Unit     int
	Advert   *Advert // borrowed
	From     netip.Addr
	Name     string
	Weight   int // what Up adds to the priority, or, negative, what !Up takes; 0: !Up is a fault
	Up       bool
	Members  int
	Claim    Claim
}

// Claim is a director's word that it owns a unit. Terms rise by one with each takeover, so two
// claims of one unit are ordered whatever the clocks say.
type Claim struct {
	Unit  string `json:"unit"`
	Term  uint32 `json:"term"`
	Owner string `json:"owner"` // the director's name; empty: nobody, given up
	Prio  uint8  `json:"prio"`
	// Source is what the owner's adverts come from. It breaks ties as VRRP does.
	Source netip.Addr `json:"source"`
}

// beats reports whether c wins over d: the higher term, then the priority, the address and the name.
func (c Claim) beats(d Claim) bool {
	if c.Term != d.Term {
		return c.Term > d.Term
	}
	if c.Prio != d.Prio {
		return c.Prio > d.Prio
	}
	if c.Source != d.Source {
		return higher(c.Source, d.Source)
	}
	return c.Owner > d.Owner
}

// ActionKind says what to do.
type ActionKind uint8

// The kinds, with the fields of Action that each uses.
const (
	ActionSend        ActionKind = iota // Instance, Advert
	ActionBecome                        // Unit, State, Reason, Claim (of a master: its term)
	ActionAnnounce                      // Instance, Count: gratuitous ARP and NA for every VIP, so many times
	ActionClaim                         // Claim: tell all directors
	ActionQuery                         // Unit, Name: ask that director whether it serves
	ActionAnswer                        // Unit, Name, Claim, Up: answer it
	ActionVoteAsk                       // Claim: ask all directors for their vote
	ActionVote                          // Unit, Name, Claim, Up: our vote about Name's claim
	ActionHandoverAsk                   // Unit, Name, Claim: ask the owner to hand over to us
	ActionFlush                         // Unit, Name: send that director what it lacks, then EventFlushed
	ActionAlarm                         // Unit, Reason: an operator should know
	ActionSettle                        // Unit, Linger: sessions of others may still come for that long
	ActionTerm                          // Unit, Claim.Term: keep it; before the next action, where Up is set
)

// Reason is why a state changed, or what an operator should know.
type Reason string

// Reasons of state changes and alarms. Operators read them in events, so they are stable.
const (
	ReasonStart        Reason = "started"
	ReasonOwner        Reason = "owns the addresses (priority 255)"
	ReasonResumed      Reason = "goes on where another process of this director ended"
	ReasonMasterSilent Reason = "no advert within the master down time"
	ReasonGaveUp       Reason = "the master gave up"
	ReasonPreempt      Reason = "higher priority than the master"
	ReasonBetter       Reason = "a better advert was heard"
	ReasonHigherTerm   Reason = "another director claims a higher term"
	ReasonFault        Reason = "a tracked interface, script, file or process failed"
	ReasonDataplane    Reason = "the data plane does not move"
	ReasonGateway      Reason = "the gateway does not answer"
	ReasonNoMajority   Reason = "neither a majority of directors nor the gateway is reachable"
	ReasonRecovered    Reason = "all that is tracked is well again"
	ReasonHandover     Reason = "handed over"
	ReasonReleased     Reason = "released by the operator"
	ReasonPaused       Reason = "this director stood still for longer than the others wait"
	ReasonStopped      Reason = "stopped"
	ReasonRetired      Reason = "removed from the configuration, or changed on the wire"

	AlarmNotReady     Reason = "taking over with an incomplete session table: nobody serves"
	AlarmVRRPBroken   Reason = "adverts do not arrive, but the owner serves: VRRP's path is broken"
	AlarmSyncLost     Reason = "adverts arrive, but gossip does not: sessions are not replicated"
	AlarmSyncBack     Reason = "gossip arrives again: sessions are replicated" // the end of AlarmSyncLost
	AlarmNoGateway    Reason = "nobody serves, and this director does not reach the gateway"
	AlarmAbstain      Reason = "nobody serves, and this director does not vote yet: it does not know what it voted before"
	AlarmNoVotes      Reason = "nobody serves, and a majority did not agree to a takeover"
	AlarmTwoMasters   Reason = "another master was heard"
	AlarmVRIDUsed     Reason = "somebody else uses this virtual_router_id with other addresses"
	AlarmHandoverLate Reason = "the owner did not hand over in time: preempting"
)

// Action is one thing to do. Advert and its fields are good until the next Step.
type Action struct {
	Kind     ActionKind
	Instance int
	Unit     int
	Advert   Advert
	State    State
	Reason   Reason
	Name     string
	Count    int
	Claim    Claim
	Up       bool
	From     netip.Addr // alarms about adverts: who sent it
	Linger   time.Duration
}
