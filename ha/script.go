package ha

// Script counts the results of a vrrp_script as keepalived does: a counter from 0 to rise+fall-1, up from rise on. A
// success at rise or above jumps to the top, a failure that gets below it to 0, so that it takes fall failures in
// a row to go down and rise successes in a row to come up.
type Script struct {
	rise, fall int
	count      int
	known      bool
}

// NewScript makes a counter. rise and fall are at least 1; initFail begins as down and known,
// else nothing is known before the first result.
func NewScript(rise, fall int, initFail bool) *Script {
	return &Script{rise: max(rise, 1), fall: max(fall, 1), known: initFail}
}

// Result takes the outcome of one run and reports whether the state is another or was not known before.
func (s *Script) Result(ok bool) (changed bool) {
	before, known := s.Up(), s.known
	if !known { // the first result counts at once
		s.known, s.count = true, 0
		if ok {
			s.count = s.rise + s.fall - 1
		}
		return true
	}
	if ok {
		s.count = min(s.count+1, s.rise+s.fall-1)
		if s.count >= s.rise {
			s.count = s.rise + s.fall - 1
		}
	} else if s.count = max(s.count-1, 0); s.count < s.rise {
		s.count = 0
	}
	return s.Up() != before
}

// Up reports whether the script holds for well. False as long as nothing is known.
func (s *Script) Up() bool { return s.known && s.count >= s.rise }

// Known reports whether there was a result.
func (s *Script) Known() bool { return s.known }
