// Package kernelsync makes a director the backup of a kernel's IPVS, or the master of one: what moves a site over from
// a kernel director, and back, without losing a session.
//
// It owns the multicast sockets, what becomes of a message's connections on their way into the connection table
// and of the table's on their way into messages, when they are sent, and the counters of what was refused. It
// does not know the bytes (ha/ipvssync does) or decide when a director is which (package director does).
//
// The protocol has no authentication: whoever is on that network can make sessions up. It belongs on a
// network that only directors are on.
package kernelsync

import (
	"sync/atomic"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/lvs"
)

// Table is the sessions, used in rounds by one goroutine at a time: dataplane.Replica is one.
type Table interface {
	Begin()
	End()
	ApplyKernel(k *dataplane.KernelConn) conntrack.Applied
	Own(at uint64, n int, fn func(rec *conntrack.Record)) uint64
	// Service returns the configured service of an identity, nil if there is none. It is not to be changed.
	Service(identity uint64) *lvs.Service
}

// Reject is why something of a kernel's was not taken, or something of ours was not sent.
type Reject uint8

// The reasons.
const (
	RejectMalformed Reject = iota // a message that is cut, or longer or shorter than it says
	RejectVersion                 // a message, or a connection in it, of a version that nobody speaks yet
	RejectSyncID                  // of another group of directors
	RejectOversized               // longer than maxlen: the sender has a larger MTU
	RejectProtocol                // neither TCP, UDP nor SCTP: IPVS's AH and ESP
	RejectState                   // a state that its protocol does not have
	RejectMethod                  // forwarded past all real servers (bypass), or a method that IPVS does not have
	RejectOnePacket               // one-packet scheduling: there is nothing to take over
	RejectNoPort                  // its client's port is not known yet (active FTP)
	RejectEngine                  // a template of a persistence engine (SIP)
	RejectTooLong                 // ours: does not fit a message
	RejectFamily                  // ours: IPv6 in version 0

	// NumRejects is the number of reasons.
	NumRejects = int(RejectFamily) + 1
)

var rejectNames = [NumRejects]string{
	"malformed", "version", "sync_id", "oversized", "protocol", "state", "method", "one_packet", "no_client_port",
	"persistence_engine", "too_long", "family",
}

// String returns the counter's name.
func (r Reject) String() string { return rejectNames[r] }

// Stats count what a daemon did. Any goroutine may read them.
type Stats struct {
	Messages, Conns, Bytes atomic.Uint64
	Failed                 atomic.Uint64 // messages that could not be sent, or reads that failed
	Unrepeated             atomic.Uint64 // messages not sent again for want of room
	Rejected               [NumRejects]atomic.Uint64
	Applied                [conntrack.NumApplied]atomic.Uint64 // of a backup
}

func (s *Stats) reject(why Reject) { s.Rejected[why].Add(1) }
