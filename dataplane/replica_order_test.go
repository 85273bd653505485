package dataplane

import (
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/lvs"
)

// Two directors that decided for the same client on two sides of a split: the newer template holds, but not once it is
// over, whether its end came first or its time is up and its director has yet to say so.
func TestWhatIsOverElsewhereTakesThePlaceOfNothing(t *testing.T) {
	web := service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80")
	web.Persistence = time.Minute
	p := newPair(t, web)
	ours := record(t, 1, conntrack.MakeVersion(1, 5))
	theirs := record(t, 0, conntrack.MakeVersion(2, 5))
	theirs.DestAddr[0], theirs.State = 0x1600000a, conntrack.TemplateAssured
	theirs.Flags, theirs.Timeout = conntrack.FlagTemplate, 480
	template := theirs
	template.DestAddr, template.Version = ours.DestAddr, ours.Version
	moved, idle, end, late := ours, theirs, theirs, theirs
	moved.DestAddr, moved.Version = theirs.DestAddr, theirs.Version
	moved.Remaining, idle.Remaining, end.Op, end.Version = 0, 0, conntrack.OpClose, theirs.Version.Next(2)
	for _, step := range []struct {
		what string
		rec  conntrack.Record
		want conntrack.Applied
	}{
		{"the template", template, conntrack.AppliedInserted},
		{"its session", ours, conntrack.AppliedInserted},
		{"a session whose time is up", moved, conntrack.AppliedNothing},
		{"a template whose time is up", idle, conntrack.AppliedNothing},
		{"its end", end, conntrack.AppliedNothing},
		{"what it was before", late, conntrack.AppliedBuried},
	} {
		p.replica.Begin(p.standby.now)
		if got := p.replica.Apply(&step.rec); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
		p.replica.End()
		if step.want == conntrack.AppliedInserted {
			continue
		}
		conns := p.standby.listed()
		for _, client := range []string{"6 192.0.2.1:0", "6 192.0.2.1:1"} {
			i, ok := conns[client]
			if !ok || i.Dest.Addr().String() != "10.0.0.21" || i.Flags&conntrack.FlagUnlinked != 0 {
				t.Errorf("%s: %s is %+v", step.what, client, i)
			}
		}
	}
}

// A client's port is used again after so many takeovers that the new session's term seems older than that of the last
// one: what is over, and what ended, are not in its way. A session that lives is.
func TestANewSessionOfAnOldPortIsTakenAfterAnyNumberOfTakeovers(t *testing.T) {
	for takeovers := range 256 {
		p := newPair(t, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
		old, end := record(t, 1, conntrack.MakeVersion(7, 5)), record(t, 2, conntrack.MakeVersion(7, 6))
		old.State, old.Remaining, end.Op = conntrack.TCPFinWait, 80, conntrack.OpClose
		p.replica.Begin(p.standby.now)
		p.replica.Apply(&old)
		p.replica.Apply(&end)
		next := [2]conntrack.Record{}
		for i := range next {
			next[i] = record(t, 1+i, conntrack.MakeVersion(uint8(7+takeovers), 9))
		}
		if got := p.replica.Apply(&next[1]); got != conntrack.AppliedInserted {
			t.Errorf("%d takeovers after it ended: %s", takeovers, got)
		}
		if got := p.replica.Apply(&next[0]); takeovers >= 192 && got != conntrack.AppliedNothing {
			t.Errorf("%d takeovers later, while it lives: %s", takeovers, got)
		}
		p.replica.End()
		p.standby.now += 90
		p.replica.Begin(p.standby.now)
		if got := p.replica.Apply(&next[0]); got != conntrack.AppliedUpdated && got != conntrack.AppliedRefreshed {
			t.Errorf("%d takeovers after its time was over: %s", takeovers, got)
		}
		p.replica.End()
	}
}

// After a split a newer template takes the place of one that a session hangs on. The session stays where it is, and
// the client's next one finds a template for as long as it lives; not longer than they need it.
func TestATemplateThatTookAnothersPlaceOutlivesTheSessionsOfThat(t *testing.T) {
	web := service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80")
	web.Persistence = time.Minute
	p := newPair(t, web)
	session := record(t, 1, conntrack.MakeVersion(1, 5))
	session.Timeout, session.Remaining = 900*8, 900*8
	newer := record(t, 0, conntrack.MakeVersion(2, 5))
	newer.DestAddr[0], newer.State, newer.Flags, newer.Timeout, newer.Remaining = 0x1600000a, conntrack.TemplateAssured,
		conntrack.FlagTemplate, 480, 480
	newest := newer
	newest.DestAddr, newest.Version = session.DestAddr, conntrack.MakeVersion(3, 5)
	for _, rec := range []conntrack.Record{session, newer, newest} {
		p.replica.Begin(p.standby.now)
		if got := p.replica.Apply(&rec); got != conntrack.AppliedInserted {
			t.Errorf("%+v: %s", rec, got)
		}
		p.replica.End()
	}
	lived, template := 0, false
	for second := range 3000 {
		p.standby.now += 8
		p.standby.worker.Sweep(p.standby.now)
		found, unlinked := p.templates()
		if _, ok := p.standby.listed()["6 192.0.2.1:1"]; ok {
			lived = second
			if found != 1 {
				t.Fatalf("%d s: the session lives, and a new one finds %d templates", second, found)
			}
		}
		template = found+unlinked > 0
	}
	if lived < 800 || template {
		t.Errorf("the session lived for %d s; templates are left: %v", lived, template)
	}
	if n := p.standby.table.Stats().Conns; n != 0 {
		t.Errorf("%d conns are left", n)
	}
	if active, inactive, templates := p.standby.loads(); active+inactive+templates != 0 {
		t.Errorf("loads are left: %d %d %d", active, inactive, templates)
	}
}

// templates counts the standby's, those that a session would find and those that another one took the place of.
func (p *pair) templates() (found, unlinked int) {
	p.standby.table.Walk(func(_ conntrack.Ref, e *conntrack.Entry, i conntrack.Info) bool {
		switch {
		case i.Flags&conntrack.FlagTemplate == 0:
		case i.Flags&conntrack.FlagUnlinked != 0:
			unlinked++
		default:
			found++
		}
		return true
	})
	return found, unlinked
}
