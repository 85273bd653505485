package conntrack

// Detached returns an entry that is in no table and never expires by itself: for packets that are forwarded as a
// session's are, without being one.
func Detached(s *Spec) *Entry {
	e := &new(entry6).Entry // the larger one, whatever the family: wide looks behind the end of an Entry
	e.w[3] = s.fill(e, 0) | lifeLive
	return e
}
