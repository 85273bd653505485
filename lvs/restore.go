package lvs

// Restore counts sessions that were found again when a director started anew, without anybody having bound them.
func (l *Load) Restore(active, inactive, persist int32) {
	l.active.Add(active)
	l.inactive.Add(inactive)
	l.persist.Add(persist)
	l.limit()
	l.mark()
}
