package control

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"ulvs/lvs"
)

func TestAServiceOfASnapshotIsDescribedInFull(t *testing.T) {
	vip := netip.MustParseAddr("192.0.2.10")
	snap, err := lvs.Build(nil, []lvs.Service{{
		Key:       lvs.ServiceKey{Addr: vip, Port: 80, Proto: lvs.ProtoTCP},
		Scheduler: "sh", SchedFlags: lvs.SchedFallback | lvs.SchedPort, Persistence: time.Minute, PersistBits: 24,
		Destinations: []lvs.Destination{
			{Addr: netip.MustParseAddr("10.0.0.1"), Port: 80, Method: lvs.MethodTUN, Weight: 2, Upper: 1},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := snap.Services[1]
	s.Destinations[0].Load.Bind(true)
	s.Destinations[0].Load.BindTemplate()
	got, err := json.Marshal(ServiceOf(s))
	if err != nil {
		t.Fatal(err)
	}
	zero := `{"conns":0,"in_packets":0,"out_packets":0,"in_bytes":0,"out_bytes":0}`
	stats := `"stats":` + zero + `,"rates":` + zero
	want := `{"protocol":"tcp","vip":"192.0.2.10:80","scheduler":"sh","flags":["sh-fallback","sh-port"],` +
		`"persistence_seconds":60,"persistence_bits":24,"one_packet":false,"state":"up",` + stats + `,"real_servers":[` +
		`{"address":"10.0.0.1:80","method":"tun","tunnel":"ipip","weight":2,"configured_weight":2,"state":"up",` +
		`"active":1,"inactive":0,"persistent":1,"upper_threshold":1,"lower_threshold":0,"overloaded":true,` + stats + `}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFlagsHaveIpvsadmsWords(t *testing.T) {
	cases := []struct {
		scheduler string
		flags     lvs.SchedFlags
		want      string
	}{
		{"rr", 0, "[]"},
		{"mh", lvs.SchedPort, `["mh-port"]`},
		{"sh", lvs.SchedFallback | lvs.SchedFlag3, `["sh-fallback","flag-3"]`},
		{"wlc", lvs.SchedFallback | lvs.SchedPort, `["flag-1","flag-2"]`},
	}
	for _, c := range cases {
		if got, _ := json.Marshal(FlagWords(c.scheduler, c.flags)); string(got) != c.want {
			t.Errorf("%s %d: got %s, want %s", c.scheduler, c.flags, got, c.want)
		}
	}
}
