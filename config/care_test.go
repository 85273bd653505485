package config

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/health"
	"ulvs/lvs"
)

const watched = node + `[[service]]
vip = "192.0.2.10:80"
method = "nat"
on_failure = "reset"
slow_start = "1m"
sorry_server = "127.0.0.1:8080"
sorry_server_inhibit = true
inhibit_on_failure = true
delay_loop = 6
quorum = 2
quorum_up = ["/bin/notify", "up"]
check = { type = "http", path = "/", status_code = 200, retry = 0 }
[[service.real_server]]
address = "10.0.0.1"
notify_down = "/bin/notify down"
[[service.real_server]]
address = "10.0.0.2"
inhibit_on_failure = false
check = "none"
[[service.real_server]]
address = "10.0.0.3"
[[service.real_server.checks]]
type = "tcp"
connect_timeout = "1500ms"
[[service.real_server.checks]]
type = "udp"
payload = "0A FF"
require_reply = true
reply = "0x Xf"
`

func TestKeysAboutHealthAreRead(t *testing.T) {
	c := mustParse(t, watched)
	s := c.Services()[0]
	policy := lvs.Policy{
		OnFailure: lvs.FailReset, SlowStart: time.Minute, SorryInhibit: true,
		Sorry: lvs.Sorry{Server: netip.MustParseAddrPort("127.0.0.1:8080"), Method: lvs.MethodNAT},
	}
	if s.Policy != policy {
		t.Errorf("policy\n got %+v\nwant %+v", s.Policy, policy)
	}
	for i, want := range []bool{true, false, true} { // newest first
		if got := s.Destinations[i].Inhibit; got != want {
			t.Errorf("%s: inhibit %v, want %v", s.Destinations[i].AddrPort(), got, want)
		}
	}
	want := []Care{{
		Service: s.Key,
		Keys: Keys{
			"delay_loop": "6s", "quorum": int64(2), "quorum_up": []any{"/bin/notify", "up"},
			"check": Keys{"type": "http", "path": "/", "status_code": "200", "retry": int64(0)},
		},
		Servers: []ServerCare{
			{netip.MustParseAddrPort("10.0.0.1:80"), Keys{"notify_down": "/bin/notify down"}},
			{netip.MustParseAddrPort("10.0.0.2:80"), Keys{"check": "none"}},
			{netip.MustParseAddrPort("10.0.0.3:80"), Keys{"checks": []any{
				Keys{"type": "tcp", "connect_timeout": "1.5s"},
				Keys{"type": "udp", "payload": "0aff", "require_reply": true, "reply": "0xxf"},
			}}},
		},
	}}
	if !reflect.DeepEqual(c.Care(), want) {
		t.Errorf("care\n got %+v\nwant %+v", c.Care(), want)
	}
}

func TestAStateIsTheSameAfterJSON(t *testing.T) {
	for _, text := range []string{watched, Example()} {
		c, err := Parse("f", []byte(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := json.Marshal(c.State())
		if err != nil {
			t.Fatal(err)
		}
		var back State
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatal(err)
		}
		if changes := Words(Diff(c.State(), back)); len(changes) != 0 || !back.Equal(c.State()) {
			t.Errorf("JSON changed %v", changes)
		}
	}
}

func TestOnFailureInhibitMeansEveryRealServer(t *testing.T) {
	c := mustParse(t, service+"on_failure = \"inhibit\"\n"+real(`address = "10.0.0.1"`)+
		real(`address = "10.0.0.2"`, "inhibit_on_failure = false"))
	if d := c.Services()[0].Destinations; !d[1].Inhibit || d[0].Inhibit {
		t.Errorf("inhibit %v and %v, want true and the real server's own false", d[1].Inhibit, d[0].Inhibit)
	}
}

func TestDifferencesOfHealthAreNamed(t *testing.T) {
	after := strings.NewReplacer("quorum = 2", "quorum = 3", `"reset"`, `"expire"`, `"/bin/notify down"`, `"/bin/other"`,
		"slow_start = \"1m\"\n", "", "inhibit_on_failure = false", "inhibit_on_failure = true").Replace(watched)
	got := strings.Join(Words(Diff(mustParse(t, watched).State(), mustParse(t, after).State())), "\n")
	want := `service tcp 192.0.2.10:80: on_failure reset -> expire, slow_start 1m -> unset, quorum 2 -> 3
service tcp 192.0.2.10:80: real server 10.0.0.1:80: notify_down /bin/notify down -> /bin/other
service tcp 192.0.2.10:80: real server 10.0.0.2:80: inhibit_on_failure false -> true`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestMergeWritesChecksWhereTheyStand(t *testing.T) {
	state := mustParse(t, watched).State()
	state.Care = []Care{{
		Service: state.Services[0].Key, Keys: Keys{"quorum": int64(2), "check": Keys{"type": "ping"}},
		Servers: []ServerCare{{netip.MustParseAddrPort("10.0.0.3:80"), Keys{"check": Keys{"type": "tcp"}}}},
	}}
	out, err := Merge("f", []byte(watched), state)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(watched, "[[service.real_server.checks]]")
	want := strings.NewReplacer("delay_loop = 6\n", "", "quorum_up = [\"/bin/notify\", \"up\"]\n", "",
		`{ type = "http", path = "/", status_code = 200, retry = 0 }`, `{ type = "ping" }`,
		"notify_down = \"/bin/notify down\"\n", "", "check = \"none\"\n", "").Replace(watched[:i]) +
		"check = { type = \"tcp\" }\n"
	if string(out) != want {
		t.Errorf("got:\n%s\nwant:\n%s", out, want)
	}
}

func TestComplaintsAboutHealth(t *testing.T) {
	in := func(line string) string { return service + line + "\n" }
	real2 := func(line string) string { return service + real(`address = "10.0.0.1"`, line) }
	check := func(line string) string { return in("check = { " + line + " }") }
	expectComplaints(t, []complaint{
		{"on_failure", in(`on_failure = "drop"`),
			`f:5: service[0].on_failure: unknown word "drop"; known: keep, inhibit, expire, reset, reschedule`},
		{"delay_loop zero", in(`delay_loop = 0`), `f:5: service[0].delay_loop: 0s; give 1ms to 24h0m0s`},
		{"warmup too fine", in(`warmup = "1500us"`), `f:5: service[0].warmup: 1500us has a fraction of a millisecond; ` +
			`give a duration like "6s" or "250ms", or whole seconds like 6`},
		{"retry", real2("retry = 1001"), `f:7: service[0].real_server[0].retry: 1001 is out of range; give 0 to 1000`},
		{"hysteresis", in("quorum = 2\nhysteresis = 2"), `f:6: service[0].hysteresis: 2 is not below quorum 2: the ` +
			`quorum could never be lost; give a lower one`},
		{"script", in(`quorum_up = "notify"`), `f:5: service[0].quorum_up: no program; give an absolute path with its ` +
			`arguments, "/usr/bin/notify up", or a list of them`},
		{"script is a number", in(`quorum_up = 1`), `f:5: service[0].quorum_up: 1 is a number; give an absolute path ` +
			`with its arguments, "/usr/bin/notify up", or a list of them`},
		{"sorry method alone", in(`sorry_server_method = "nat"`),
			`f:5: service[0].sorry_server_method: means nothing without sorry_server; add that or remove this`},
		{"sorry server's port", in(`sorry_server = "127.0.0.1:81"`),
			`f:5: service[0].sorry_server: method dr cannot map port 80 to 81; give port 80 or method = "nat"`},
		{"sorry server", in(`sorry_server = "0.0.0.0"`), `f:5: service[0].sorry_server: 0.0.0.0 is not the address of ` +
			`a host; give an address like "192.0.2.21:80"; without port it takes the service's`},
		{"check and checks", in("check = { type = \"tcp\" }\nchecks = []"), `f:6: service[0].checks: stands beside ` +
			`check; put all checks into checks, or remove one of them`},
		{"check is a word", in(`check = "tcp"`),
			`f:5: service[0].check: "tcp" is a string; give a table like { type = "tcp" }, or "none"`},
		{"no type", check(`path = "/"`), `f:5: service[0].check.type: missing; give "tcp", "http", "https", "udp", ` +
			`"dns", "smtp", "ping", "script", "file"`},
		{"keepalived's type", check(`type = "misc"`),
			`f:5: service[0].check.type: unknown type "misc"; did you mean script?`},
		{"unknown key of a type", check(`type = "tcp", path = "/"`), `f:5: service[0].check.path: unknown key; known: ` +
			`type, delay_loop, connect_timeout, retry, delay_before_retry, warmup, alpha, via, virtualhost, connect_ip, ` +
			`connect_port, bindto, log_all_failures`},
		{"what health says of a check", check(`type = "http", status_code = "2xx"`), `f:5: service[0].check.status_code: ` +
			`"2xx" is no code or range; give codes and ranges like "200-299 301"`},
		{"of one of its URLs", check(`type = "http", urls = [{ path = "/" }, { path = "/a", digest = "ab" }]`),
			`f:5: service[0].check.urls[1].digest: "ab" is no MD5; give 32 hex digits`},
		{"of a check for a real server", real2("check = { type = \"tcp\", via = \"address\", bindto = \"::1\" }"), `f:7: ` +
			`service[0].real_server[0].check: bindto: ::1 cannot reach 10.0.0.1: not the same family; give another address`},
		{"path beside urls", check(`type = "http", path = "/", urls = [{ path = "/a" }]`), `f:5: service[0].check.urls: ` +
			`stands beside what is short for one URL; put path, status_code, digest and regex into urls`},
		{"url without path", check(`type = "http", urls = [{ digest = 1 }]`),
			`f:5: service[0].check.urls[0].digest: 1 is a number; give a string` + "\n" +
				`f:5: service[0].check.urls[0].path: missing; give a path like "/health"`},
		{"script without program", check(`type = "script"`), `f:5: service[0].check.path: missing; give a program`},
		{"empty text", check(`type = "dns", name = ""`),
			`f:5: service[0].check.name: empty; give something or remove it`},
		{"connect_ip", check(`type = "tcp", connect_ip = "a"`),
			`f:5: service[0].check.connect_ip: "a" is no IP address; give one like "192.0.2.21"`},
		{"keepalived's word", service + real(`address = "10.0.0.1"`, `TCP_CHECK = 1`),
			`f:7: service[0].real_server[0].TCP_CHECK: unknown key; did you mean check?`},
	})
}

func TestChecksAreTheRealServersOwnOrTheServices(t *testing.T) {
	c := mustParse(t, watched)
	state := c.State()
	got := ChecksOf(&state.Services[0], state.CareOf(state.Services[0].Key))
	if got.Quorum != 2 || !slices.Equal(got.QuorumUp, []string{"/bin/notify", "up"}) || len(got.Servers) != 3 {
		t.Fatalf("got %+v", got)
	}
	first, second, third := got.Servers[0], got.Servers[1], got.Servers[2]
	if !slices.Equal(first.NotifyDown, []string{"/bin/notify", "down"}) || first.Address.String() != "10.0.0.1:80" {
		t.Errorf("the first is %+v", first)
	}
	if s := first.Specs; len(s) != 1 || s[0].Kind != health.KindHTTP || s[0].DelayLoop.Value != 6*time.Second ||
		s[0].Retry.Value != 0 || s[0].URLs[0] != (health.URL{Path: "/", StatusCode: "200"}) {
		t.Errorf("the service's check is %+v", s)
	}
	if len(second.Specs) != 0 {
		t.Errorf("without checks, there are %+v", second.Specs)
	}
	if s := third.Specs; len(s) != 2 || s[0].ConnectTimeout.Value != 1500*time.Millisecond || s[1].Reply != "0xxf" {
		t.Errorf("its own checks are %+v", s)
	}
	plain := ChecksOf(&state.Services[0], nil)
	if plain.Quorum != 1 || len(plain.Servers) != 3 || plain.Servers[0].Specs != nil {
		t.Errorf("of nothing said: %+v", plain)
	}
}
