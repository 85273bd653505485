package director

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/health"
	"ulvs/internal/testutil"
)

// overJSON is what comes out at the other end.
func overJSON[T any](t *testing.T, v T) (out T) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// goesOn is a ward that takes over what w knows, and has asked nobody yet.
func (w *ward) goesOn(file string) *ward {
	w.t.Helper()
	next := unstartedWard(w.t, file)
	next.checks.engine.Remember(overJSON(w.t, w.checks.engine.Memory(time.Time{})))
	next.resume(overJSON(w.t, w.conditionsNow()))
	return next
}

func TestAnUpgradedDirectorKnowsWhoIsDownAndWhoIsDrained(t *testing.T) {
	const slow = "[[service.real_server]]\naddress = \"10.0.0.3\"\n[[service.real_server]]\naddress = \"10.0.0.4\"\n"
	const more = "via = \"address\"\nalpha = true\nslow_start = \"1h\"\nscheduler = \"wrr\""
	file := checked(t, `via = "address"`, more) + slow
	w := newWard(t, file)
	up := func(server string, want bool) {
		w.servers.turn(server, want)
		testutil.Await(t, "the state of "+server, func() bool {
			return slices.ContainsFunc(w.checks.engine.Status()[0].Servers, func(s health.ServerStatus) bool {
				return s.Address.String() == server && s.Up == want
			})
		})
	}
	for _, s := range []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"} {
		up(s, true)
	}
	up("10.0.0.1:80", false)
	third := netip.MustParseAddrPort("10.0.0.3:80")
	if _, err := w.Drain(control.DrainRequest{RealServer: third, All: true, TimeoutSeconds: 3600}); err != nil {
		t.Fatal(err)
	}
	w.Follow() // which drains the one that has no sessions
	want, drains := w.listed(), w.Drains()
	next := w.goesOn(file)
	if got := next.listed(); got != want {
		t.Errorf("before %s, after %s", want, got)
	}
	if got := next.Drains(); !slices.Equal(got, drains) || len(got) != 1 {
		t.Errorf("before %v, after %v", drains, got)
	}
	if got := next.happened("server_down"); len(got) != 0 {
		t.Errorf("what was known is told again: %v", got)
	}
	for server, asked := range next.servers.hit {
		t.Errorf("%s was asked %d times", server, asked)
	}
}

func TestCountersGoOn(t *testing.T) {
	some := dataplane.DestStats{Conns: 10, InPackets: 1000, OutPackets: 500, InBytes: 1 << 20, OutBytes: 1 << 21}
	before := counter{zero: dataplane.DestStats{Conns: 3}}
	before.rates.tick(some)
	more := some
	more.Add(dataplane.DestStats{Conns: 2, InPackets: 7})
	after := counter{}
	h := overJSON(t, before.hand(more))
	after.take(&h)
	if got := after.show(); got != before.show() {
		t.Errorf("shown before %+v, after %+v", before.show(), got)
	}
	more.Add(dataplane.DestStats{Conns: 1})
	before.rates.tick(more)
	after.rates.tick(dataplane.DestStats{Conns: 1}) // of its own workers
	if got := after.show(); got != before.show() || got.Stats.Conns != 10 {
		t.Errorf("a tick later %+v, by the one before %+v", got, before.show())
	}
	after.take(nil) // what the one before did not have
}
