package dataplane

import "net/netip"

// NoticeKind says what a worker asks of the director.
type NoticeKind uint8

// Kinds of Notice.
const (
	NoticeNewHop  NoticeKind = iota // Hop has no id yet: give it one and resolve it
	NoticeResolve                   // HopID is not resolved: have the kernel ask
	NoticeLearn                     // Hop.Addr was heard with MAC on Hop.Port
)

// Notice is a worker's request to the director, from the slow path only and never
// waited for: a full channel drops it, and the next packet asks again.
type Notice struct {
	Kind  NoticeKind
	Hop   HopKey     // valid for NoticeNewHop and NoticeLearn
	HopID HopID      // valid for NoticeResolve
	MAC   [6]byte    // valid for NoticeLearn
	VIP   netip.Addr // the VIP that was asked for; valid for NoticeLearn
}

func (w *Worker) notify(n Notice) {
	select {
	case w.notices <- n:
	default:
		w.stats.noticesLost++
	}
}
