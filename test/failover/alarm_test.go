package failover

import (
	"slices"
	"strings"
	"testing"

	"ulvs/events"
	"ulvs/internal/testutil"
)

func (p *peer) awaitEvent(kind events.Kind) {
	p.t.Helper()
	testutil.Await(p.t, p.name+" to tell "+string(kind), func() bool {
		list, err := p.client.RecentEvents(p.t.Context(), eventsOf(kind))
		return err == nil && len(list) > 0
	})
}

// A director says when nobody holds the VIP, and when somebody does again.
func TestAVIPWithoutAnOwnerIsAnAlarm(t *testing.T) {
	l := twoDirectors(t)
	d1 := startULVS(t, l, "d1", options{priority: 200, advert: fast, extra: "track_interface = [\"s0\"]"})
	d1.await("MASTER")
	shell(t, l, "d1", "ip", "link", "set", "s0", "down")
	d1.await("FAULT")
	testutil.Await(t, "an alarm: nobody holds the VIP", func() bool {
		in := d1.named("VI_1")
		return in.Masters == 0 && strings.Contains(in.Alarm, "no director")
	})
	d1.awaitEvent(events.OwnerMissing)
	st, err := d1.client.Status(t.Context())
	if err != nil || !slices.Contains(st.Alarms, "VI_1: no director holds its VIPs") {
		t.Errorf("nobody holds the VIP, and the status has the alarms %v, %v", st.Alarms, err)
	}
	shell(t, l, "d1", "ip", "link", "set", "s0", "up")
	d1.await("MASTER")
	testutil.Await(t, "the alarm's end: d1 holds the VIP", func() bool {
		in := d1.named("VI_1")
		return in.Masters == 1 && in.Alarm == ""
	})
	d1.awaitEvent(events.OwnerReturned)
}

// A peer with other services is named, until it has the same ones.
func TestAPeerWithAnotherConfigurationIsNamed(t *testing.T) {
	l := twoDirectors(t)
	o := synced(t, l, "d2", 100)
	same := o.sync
	o.sync += "\n[[service]]\nvip = \"198.18.0.100:9999\"\nscheduler = \"rr\"\n" +
		"[[service.real_server]]\naddress = \"10.18.1.11:9999\"\n"
	d2 := startULVS(t, l, "d2", o)
	d1 := startULVS(t, l, "d1", synced(t, l, "d1", 200))
	notes := func() (list []string) {
		for _, p := range d1.sync().Peers {
			list = append(list, p.Notes...)
		}
		return list
	}
	testutil.Await(t, "d1 to name d2's configuration", func() bool {
		return strings.Contains(strings.Join(notes(), "\n"), "another configuration")
	})
	o.sync = same
	wantChange(t, d2.reload(l, o), "removed")
	testutil.Await(t, "d1 to find nothing to say about d2", func() bool {
		v := d1.sync()
		return len(v.Peers) == 1 && len(notes()) == 0 && v.Peers[0].Version != ""
	})
}
