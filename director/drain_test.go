package director

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"ulvs/config"
	"ulvs/control"
	"ulvs/lvs"
	"ulvs/packet"
)

// states returns what `ulvs services` says of port 80's real servers.
func (b *bed) states() string {
	_, servers := b.shown()
	for i := range servers {
		servers[i] = strings.Fields(servers[i])[1]
	}
	return strings.Join(servers, " ")
}

func (b *bed) drain(server int, seconds int64) []control.Drain {
	b.tb.Helper()
	list, err := b.Drain(control.DrainRequest{
		Service: "tcp 198.18.0.100:80", RealServer: realPort(server), TimeoutSeconds: seconds,
	})
	if err != nil {
		b.tb.Fatal(err)
	}
	return list
}

func TestADrainEndsWhenNoSessionIsLeft(t *testing.T) {
	b := newBed(t)
	now := time.Unix(1000, 0)
	b.opt.Now = func() time.Time { return now }
	s := service(80, 1, 2)
	s.Policy.OnFailure = lvs.FailReset
	b.replace(s)
	first := b.syn()
	b.syn()
	server := int(first.As4()[3]) - 10
	want := control.Drain{Service: s.Key.Name(), RealServer: realPort(server), State: control.StateDraining,
		SessionsLeft: 1, SecondsLeft: 60}
	if list := b.drain(server, 60); len(list) != 1 || list[0] != want {
		t.Errorf("the drain begins with %+v", list)
	}
	for range 4 {
		if got := b.syn(); got == first {
			t.Error("a session began with a draining real server")
		}
	}
	port := uint16(1024)
	if got := b.packet(port, packet.TCPAck); got != first {
		t.Errorf("the session's packet went to %v", got)
	}
	b.Follow()
	if got := b.Drains(); len(got) != 1 || got[0].State != control.StateDraining {
		t.Errorf("with a session left: %+v", got)
	}
	b.packet(port, packet.TCPFin|packet.TCPAck)
	b.Follow()
	if got := b.Drains(); got[0].State != control.StateDrained || got[0].SessionsLeft != 0 {
		t.Errorf("without a session: %+v", got)
	}
	if d := b.built.Service(s.Key).Destinations; d[0].Fate != lvs.FailDefault || d[1].Fate != lvs.FailDefault {
		t.Error("a drain that ended by itself has a fate for sessions")
	}
}

func TestADrainsTimeoutMeetsOnFailure(t *testing.T) {
	b := newBed(t)
	now := time.Unix(1000, 0)
	b.opt.Now = func() time.Time { return now }
	s := service(80, 1, 2)
	s.Policy.OnFailure = lvs.FailReset
	b.replace(s)
	server := int(b.syn().As4()[3]) - 10
	b.drain(server, 60)
	now = now.Add(59 * time.Second)
	b.Follow()
	if got := b.Drains()[0]; got.State != control.StateDraining || got.SecondsLeft != 1 {
		t.Errorf("after 59 s: %+v", got)
	}
	now = now.Add(time.Second)
	b.Follow()
	if got := b.Drains()[0]; got.State != control.StateDrained || got.SessionsLeft != 1 {
		t.Errorf("after 60 s: %+v", got)
	}
	if d := b.built.Dest(b.destID(80, server)); d.Fate != lvs.FailReset || d.Weight != 0 {
		t.Errorf("what is left meets %q at weight %d", d.Fate, d.Weight)
	}
}

func TestDrainSurvivesAReloadAndEndsWithEnable(t *testing.T) {
	b := newBed(t)
	s := service(80, 1, 2)
	s.Scheduler, s.Policy.SlowStart = "wrr", time.Minute
	b.replace(s)
	b.drain(1, 0)
	b.Follow()
	s.Destinations = []lvs.Destination{s.Destinations[0], s.Destinations[1]}
	s.Destinations[1].Weight = 5
	b.replace(s)
	if got := b.states(); got != "drained up" {
		t.Errorf("after a reload: %q", got)
	}
	b.SetServerHealth(s.Key, realPort(1), false, "refused")
	if got := b.states(); got != "down up" {
		t.Errorf("failed while drained: %q", got)
	}
	b.SetServerHealth(s.Key, realPort(1), true, "")
	if _, err := b.Enable(control.DrainRequest{RealServer: netip.AddrPortFrom(realAddr(1), 0), All: true}); err != nil {
		t.Fatal(err)
	}
	if got := b.states(); got != "rising up" {
		t.Errorf("enabled: %q", got)
	}
	if len(b.Drains()) != 0 {
		t.Errorf("drains %+v", b.Drains())
	}
}

func TestWhatCannotBeDrainedIsNamed(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1))
	for _, c := range []struct {
		r    control.DrainRequest
		want string
	}{
		{control.DrainRequest{Service: "198.18.0.100:81", RealServer: realPort(1)},
			"there is no service tcp 198.18.0.100:81"},
		{control.DrainRequest{Service: "198.18.0.100:80", RealServer: realPort(2)},
			"service tcp 198.18.0.100:80 has no real server 10.18.1.12:80"},
		{control.DrainRequest{RealServer: netip.AddrPortFrom(realAddr(2), 0), All: true},
			"no service has a real server 10.18.1.12"},
		{control.DrainRequest{Service: "web"}, `"web" is no service; give one like`},
		{control.DrainRequest{Service: "198.18.0.100:80", RealServer: realPort(1), TimeoutSeconds: -1},
			"timeout of -1 s is out of range; give 0 (at once) to 604800"},
	} {
		if _, err := b.Drain(c.r); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

func TestEditsInTheFilesWordsAreAllOrNothing(t *testing.T) {
	b := newBed(t)
	b.replace(service(80, 1, 2))
	generation := b.generation
	set := config.Edit{Op: config.EditSetServer, Service: "198.18.0.100:80", Server: "10.18.1.11",
		Keys: map[string]any{"weight": 4.0}}
	wrong := set
	wrong.Keys = map[string]any{"weight": "many"}
	if _, err := b.ApplyEdits([]config.Edit{set, wrong}); err == nil || b.generation != generation {
		t.Errorf("got %v, generation %d", err, b.generation)
	}
	add := config.Edit{Op: config.EditAddService, Keys: map[string]any{"vip": "198.18.0.101:80",
		"real_server": []any{map[string]any{"address": "10.18.1.13"}}}}
	changes, err := b.ApplyEdits([]config.Edit{set, add})
	if err != nil || len(changes) != 2 || b.generation != generation+1 {
		t.Errorf("changes %q, %v, generation %d -> %d", changes, err, generation, b.generation)
	}
	b.wants("edited", "1:4 2:1 3:1")
}
