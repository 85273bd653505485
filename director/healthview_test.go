package director

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/lvs"
)

// shown are the first service's real servers as people see them.
func (b *bed) shown() (service string, servers []string) {
	svc := b.built.Services[1]
	out := control.ServiceOf(svc)
	b.showHealth(svc, &out)
	for i := range out.RealServers {
		r := &out.RealServers[i]
		word := fmt.Sprintf("%d %s %d of %d", r.Address.Addr().As4()[3]-10, r.State, r.Weight, r.ConfiguredWeight)
		if r.Reason != "" {
			word += " " + r.Reason
		}
		if r.Since != nil {
			word += " since"
		}
		servers = append(servers, word)
	}
	slices.Sort(servers)
	return out.State, servers
}

func (b *bed) wantShown(after, state string, want ...string) {
	b.tb.Helper()
	if service, servers := b.shown(); service != state || !slices.Equal(servers, want) {
		b.tb.Errorf("%s: %s, %s; want %s, %s", after, service, strings.Join(servers, ", "), state, strings.Join(want, ", "))
	}
}

func TestKickedRealServersAreShownWithTheReason(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2)
	s.Policy.Sorry = lvs.Sorry{Server: netip.AddrPortFrom(realAddr(9), 80)}
	b.replace(s)
	b.wantShown("configured", "up", "1 up 1 of 1", "2 up 1 of 1")
	b.SetServerHealth(s.Key, realPort(2), false, "refused")
	b.SetDynamicWeight(s.Key, realPort(1), 7)
	b.wantShown("one is dead", "up", "1 up 7 of 1", "2 down 0 of 1 refused since")
	b.SetQuorum(s.Key, false)
	b.wantShown("the quorum is lost", "sorry", "1 standby 0 of 1", "2 down 0 of 1 refused since", "9 sorry 1 of 0")
	b.SetQuorum(s.Key, true)
	b.SetServerHealth(s.Key, realPort(2), true, "")
	b.SetDynamicWeight(s.Key, realPort(1), -1)
	b.wantShown("all is well", "up", "1 up 1 of 1", "2 up 1 of 1")
}

func TestHealthTellsWhatChecksFound(t *testing.T) {
	w := newWard(t, checkedFile)
	w.servers.turn("10.0.0.1:80", false)
	w.awaitListed("10.0.0.2:80=2")
	d := &director{checks: w.checks}
	var list []control.ServiceHealth
	testutil.Await(t, "an answer of the other", func() bool {
		list = d.Health()
		return list[0].RealServers[1].Checks[0].Answers > 0
	})
	s, dead, alive := list[0], list[0].RealServers[0], list[0].RealServers[1]
	if len(list) != 1 || s.Service != "tcp 192.0.2.10:80" || !s.Quorum || s.Live != 2 || s.Needed != 1 {
		t.Errorf("got %+v", s)
	}
	c := dead.Checks[0]
	if dead.Up || dead.Reason != "connection refused" || c.Last != dead.Reason || c.Failures == 0 {
		t.Errorf("got %+v", dead)
	}
	c = alive.Checks[0]
	if !alive.Up || alive.Reason != "" || alive.Weight != 2 || c.Last != "ok" || c.LastAt == nil {
		t.Errorf("got %+v", alive)
	}
}
