package ha

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestEachMistakeOfAnInstanceIsNamed(t *testing.T) {
	good := Instance{Name: "VI_1", Source: lvs1, VRID: 51, VIPs: []netip.Addr{vip4}}
	for _, c := range []struct {
		name  string
		spoil func(*Instance)
		want  string
	}{
		{"nothing", func(*Instance) {}, ""},
		{"no id", func(i *Instance) { i.VRID = 0 }, "virtual_router_id is missing"},
		{"too many VIPs", func(i *Instance) { i.VIPs = make([]netip.Addr, 256) }, "an advert holds 255"},
		{"another family", func(i *Instance) { i.VIPs = []netip.Addr{vip6} }, "vips_excluded"},
		{"version 4", func(i *Instance) { i.Version = 4 }, "version 4: 2 or 3"},
		{"version 2 over IPv6", func(i *Instance) { i.Version, i.Source, i.VIPs = 2, ll1, nil }, "use version 3"},
		{"half seconds in version 2", func(i *Instance) { i.AdvertInt = 1500 * time.Millisecond }, "whole seconds"},
		{"milliseconds in version 3", func(i *Instance) { i.Version, i.AdvertInt = 3, 5*time.Millisecond },
			"multiples of 10ms"},
		{"too slow", func(i *Instance) { i.Version, i.AdvertInt = 3, time.Minute }, "to 40.95s"},
		{"a password in version 3", func(i *Instance) { i.Version, i.Auth = 3, AuthPass }, "version 3 has none"},
		{"preempt_delay", func(i *Instance) { i.PreemptDelay = 1001 * time.Second }, "preempt_delay 16m41s"},
		{"down_timer_adverts", func(i *Instance) { i.DownAdverts = 101 }, "1 to 100"},
	} {
		i := good
		c.spoil(&i)
		i = i.WithDefaults()
		err := i.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAdvertsThatAreNotTheInstancesAreCountedByReason(t *testing.T) {
	pass := [8]byte{'1', '1', '1', '1'}
	i := Instance{Version: 2, Priority: 100, Auth: AuthPass, Password: pass}
	uni := i
	uni.Peers = []netip.Addr{lvs2}
	good := Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Auth: AuthPass, Password: pass}
	for _, c := range []struct {
		name  string
		i     Instance
		spoil func(*Advert, *Arrival)
		want  Reject
	}{
		{"nothing", i, func(*Advert, *Arrival) {}, RejectNone},
		{"through a router", i, func(_ *Advert, at *Arrival) { at.TTL = 254 }, RejectTTL},
		{"unicast may be routed", uni, func(_ *Advert, at *Arrival) { at.TTL = 63 }, RejectNone},
		{"a stranger", uni, func(a *Advert, at *Arrival) { a.Priority, at.Src = 255, vip4 }, RejectSource},
		{"version", i, func(a *Advert, _ *Arrival) { a.Version = 3 }, RejectVersion},
		{"id", i, func(a *Advert, _ *Arrival) { a.VRID = 52 }, RejectVRID},
		{"no password", i, func(a *Advert, _ *Arrival) { a.Auth = AuthNone }, RejectAuth},
		{"wrong password", i, func(a *Advert, _ *Arrival) { a.Password[3] = '2' }, RejectAuth},
		{"interval", i, func(a *Advert, _ *Arrival) { a.Interval = 2 * time.Second }, RejectInterval},
		{"our own", i, func(_ *Advert, at *Arrival) { at.Src = lvs1 }, RejectOwn},
	} {
		m := New(one(c.i))
		a, at := good, multicast(lvs2)
		c.spoil(&a, &at)
		if got := m.Check(0, &a, at); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if n := m.Rejects()[c.want]; c.want != RejectNone && n != 1 {
			t.Errorf("%s: counted %d times", c.name, n)
		}
	}
}

func TestScriptsRiseAndFallAsKeepalivedCountsThem(t *testing.T) {
	for _, c := range []struct {
		rise, fall int
		results    string // + success, - failure
		want       string // U up, D down, after each
	}{
		{1, 1, "+-+-", "UDUD"},
		{2, 3, "+--+---", "UUUUUUD"},
		{2, 3, "---+-++", "DDDDDDU"},
		{3, 1, "-++-+++", "DDDDDDU"},
	} {
		s, got := NewScript(c.rise, c.fall, false), ""
		for _, r := range c.results {
			s.Result(r == '+')
			got += map[bool]string{true: "U", false: "D"}[s.Up()]
		}
		if got != c.want {
			t.Errorf("rise %d fall %d %s: %s, want %s", c.rise, c.fall, c.results, got, c.want)
		}
	}
}
