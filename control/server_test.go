package control

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func ask(b Backend, method, target string) *httptest.ResponseRecorder {
	r := httptest.NewRecorder()
	NewServer(b, slog.New(slog.DiscardHandler)).Handler().ServeHTTP(r, httptest.NewRequest(method, target, nil))
	return r
}

func TestWrongRequestsAreRefusedWithWhatIsRight(t *testing.T) {
	cases := []struct {
		name, method, target string
		status               int
		want                 string
	}{
		{"unknown path", "GET", "/v1/sessions", 404,
			`{"error":"nothing at \"/v1/sessions\"; there is /v1/status, /v1/services, /v1/conns, ` +
				`/v1/ipvs/listing, /v1/ipvs/conns, /v1/ipvs/edit, /v1/settings, /v1/reload, /v1/upgrade, /v1/running, /v1/saved, ` +
				`/v1/drain, /v1/drains, /v1/enable, /v1/edit, /v1/events, /v1/vrrp, /v1/vrrp/release, ` +
				`/v1/sync, /v1/capture, /v1/trace and /metrics"}`},
		{"a change", "POST", "/v1/status", 405, `{"error":"POST is not possible here; only GET is"}`},
		{"unknown parameter", "GET", "/v1/conns?vips=1", 400,
			`{"error":"unknown parameter \"vips\"; known: protocol, client, vip, real_server, state, limit"}`},
		{"a parameter where there are none", "GET", "/v1/status?a=1", 400, `{"error":"unknown parameter \"a\"; known: "}`},
		{"parameter twice", "GET", "/v1/services?vip=::1&vip=::2", 400,
			`{"error":"parameter vip is given 2 times; give it once"}`},
		{"bad address", "GET", "/v1/services?vip=www", 400, `{"error":"parameter vip: \"www\" is no address; ` +
			`give one like 192.0.2.10, 192.0.2.0/24, 192.0.2.10:80 or :80"}`},
		{"bad limit", "GET", "/v1/conns?limit=-1", 400,
			`{"error":"parameter limit: \"-1\" is no count; give a number, 0 for all"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := ask(newFake(), c.method, c.target)
			if got := strings.TrimSpace(r.Body.String()); r.Code != c.status || got != c.want {
				t.Errorf("%s %s\n got %d %s\nwant %d %s", c.method, c.target, r.Code, got, c.status, c.want)
			}
		})
	}
}

func TestListsAreNeverNull(t *testing.T) {
	b := &fakeBackend{services: []Service{{}}, conns: []Conn{{}}, status: Status{Workers: []WorkerStatus{{}}}}
	for _, target := range []string{"/v1/status", "/v1/services", "/v1/conns"} {
		r := ask(b, "GET", target)
		if r.Code != 200 || strings.Contains(r.Body.String(), "null") {
			t.Errorf("%s: got %d %s", target, r.Code, r.Body)
		}
	}
	b.services = nil
	if got := ask(b, "GET", "/v1/services").Body.String(); got != "[]\n" {
		t.Errorf("no services: got %q, want []", got)
	}
}

func TestAnAnswerThatCannotBeEncodedIsAnError(t *testing.T) {
	b := newFake()
	b.status.Workers[0].IdleFraction = math.NaN()
	if r := ask(b, "GET", "/v1/status"); r.Code != http.StatusInternalServerError {
		t.Errorf("got %d %s", r.Code, r.Body)
	}
}

func TestALimitEndsTheWalk(t *testing.T) {
	b := newFake()
	r := ask(b, "GET", "/v1/conns?limit=2")
	if got := strings.Count(r.Body.String(), "\n"); got != 2 || b.walked != 2 {
		t.Errorf("got %d lines after %d sessions, want 2 after 2", got, b.walked)
	}
}

func TestFiltersSurviveTheWire(t *testing.T) {
	f := ConnFilter{Protocol: "tcp", State: "UDP", Limit: 9}
	for i, text := range []string{"192.0.2.0/24", "[2001:db8::1]:80", ":80"} {
		m, err := ParseMatch(text)
		if err != nil {
			t.Fatal(err)
		}
		*[]*Match{&f.Client, &f.VIP, &f.RealServer}[i] = m
	}
	got, err := connFilterOf(f.values())
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("got %+v, %v, want %+v", got, err, f)
	}
}

func TestAMatchTakesWhatItSays(t *testing.T) {
	cases := []struct {
		match, address string
		want           bool
	}{
		{"", "192.0.2.1:80", true},
		{"192.0.2.1", "192.0.2.1:80", true},
		{"192.0.2.1", "192.0.2.2:80", false},
		{"192.0.2.0/24", "192.0.2.2:80", true},
		{"192.0.2.7/24", "192.0.2.2:80", true},
		{"192.0.2.1:80", "192.0.2.1:80", true},
		{"192.0.2.1:80", "192.0.2.1:81", false},
		{"192.0.2.1:0", "192.0.2.1:81", false},
		{":80", "[2001:db8::1]:80", true},
		{":80", "[2001:db8::1]:81", false},
		{"2001:db8::/32", "[2001:db8::1]:81", true},
		{"2001:db8::/32", "192.0.2.1:80", false},
	}
	for _, c := range cases {
		m, err := ParseMatch(c.match)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Takes(addrPort(c.address)); got != c.want {
			t.Errorf("%q takes %s: got %v, want %v", c.match, c.address, got, c.want)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("/v1/conns", "client=192.0.2.0/24&limit=3")
	f.Add("/v1/services", "vip=[::1]:80&vip=%zz")
	f.Add("/v1/status", "=&;")
	f.Add("//..%2f/v1/x", "protocol=tcp&state=x&real_server=:99999")
	f.Fuzz(func(t *testing.T, path, query string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = &url.URL{Path: path, RawQuery: query}
		w := httptest.NewRecorder()
		NewServer(newFake(), slog.New(slog.DiscardHandler)).Handler().ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s?%s: got %d %s", path, query, w.Code, w.Body)
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		if filter, err := connFilterOf(values); err == nil {
			again, err := connFilterOf(filter.values())
			if err != nil || !reflect.DeepEqual(again, filter) {
				t.Fatalf("%+v does not survive the wire: %+v, %v", filter, again, err)
			}
		}
	})
}
