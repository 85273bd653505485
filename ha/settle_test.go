package ha

import "testing"

// A new owner, and one that meets another, says how long sessions of the other may still come.
func TestSessionsOfAnotherOwnerMayStillCome(t *testing.T) {
	waits := func(acts []Action) (list []Time) {
		for _, a := range acts {
			if a.Kind == ActionSettle {
				list = append(list, a.Linger)
			}
		}
		return list
	}
	want := func(what string, acts []Action, wait ...Time) {
		t.Helper()
		if got := waits(acts); len(got) != len(wait) || len(wait) == 1 && got[0] != wait[0] {
			t.Errorf("%s: waits %v, want %v", what, got, wait)
		}
	}
	for _, alone := range []bool{false, true} {
		cfg, wait := pair(100), []Time{settleWait}
		if alone {
			cfg, wait = one(v3(100)), nil // nobody replicates
		}
		d := newDesk(t, cfg)
		d.do(Event{Kind: EventStart})
		d.now = d.m.Deadline()
		var acts []Action
		for d.m.units[0].state != StateMaster {
			acts = d.m.Step(d.now, Event{}, nil)
			d.now = max(d.now, d.m.Deadline())
		}
		want("takes over", acts, wait...)
		d.at(d.now + second)
		if !alone {
			wait = []Time{splitWait}
		}
		lower := Event{Kind: EventAdvert, Advert: advertOf(50, 100*millisecond), From: lvs2}
		want("hears a lower master", d.m.Step(d.now, lower, nil), wait...)
		want("hears it again at once", d.m.Step(d.now, lower, nil))
	}
}
