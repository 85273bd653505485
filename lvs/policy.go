package lvs

import (
	"net/netip"
	"time"
)

// OnFailure is what becomes of the sessions of a real server that fails, or that the configuration or a
// drain takes away. It is not about ipvsadm -d, whose sessions are treated as a kernel treats them.
type OnFailure uint8

// The zero value is FailDefault.
const (
	FailDefault OnFailure = iota // keep; UDP: reschedule
	// FailKeep is IPVS's way: nothing is forwarded until the real server is back; one that stays with
	// weight 0 keeps its sessions.
	FailKeep
	FailInhibit    // the real server stays, with weight 0: sessions go on, new ones do not begin
	FailExpire     // they end without a word: what follows of them is treated as anything new
	FailReset      // the client gets a reset at its next segment, and so does the real server
	FailReschedule // their next packet goes to another real server
)

// OnFailureWords are the configuration's words, by OnFailure; the default has none.
func OnFailureWords() []string {
	return []string{"", "keep", "inhibit", "expire", "reset", "reschedule"}
}

// String returns the configuration word, "" for the default.
func (f OnFailure) String() string {
	if words := OnFailureWords(); int(f) < len(words) {
		return words[f]
	}
	return "unknown"
}

// For returns what f means for a service of that protocol: never FailDefault.
func (f OnFailure) For(proto uint8) OnFailure {
	switch {
	case f != FailDefault:
		return f
	case proto == ProtoUDP:
		return FailReschedule
	}
	return FailKeep
}

// Policy is what a director does about a service beyond IPVS. The zero Policy does nothing but
// reschedule the UDP flows of failed real servers.
type Policy struct {
	OnFailure    OnFailure
	SlowStart    time.Duration // a returning real server's weight rises over so long; 0: at once
	Sorry        Sorry
	SorryInhibit bool // with the sorry server in, real servers stay with weight 0
}

// Sorry is the real server that takes over when a service has lost its quorum.
type Sorry struct {
	Server netip.AddrPort // invalid: none; a loopback address is this host's own server
	Method Method
}
