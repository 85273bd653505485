// Package ha decides who holds the VIPs: VRRP as keepalived speaks it, and what VRRP alone
// cannot decide, from what directors know of each other by another way.
//
// It owns the advertisement on the wire (versions 2 and 3, IPv4 and IPv6), the takeover machine
// (timers, priorities, sync groups, preemption, terms, votes) and the counting of tracked scripts. It
// does no I/O and reads no clock: the caller gives every event with its time to Step, does the
// actions that it returns, and comes again no later than Deadline. It does not know
// sessions, sockets or services: ha/vrrp has the sockets, ha/gossip the peers, and director the VIPs.
//
// # States
//
//	          start                    down timer ran out, everybody of the unit wants it,
//	INIT ------------> BACKUP          and nobody that serves was found by another way
//	                    |  ^  ------------------------------------------> MASTER
//	       fault        |  |   a better advert, a higher term, handover      |
//	      +-------------+  +-------------------------------------------------+
//	      v                |                                                 |
//	    FAULT -------------+ <-----------------------------------------------+
//	           all is well               fault: a last advert of priority 0
//
// Instances of a sync group are one unit and change state together; an instance without a group
// is a unit of its own.
package ha
