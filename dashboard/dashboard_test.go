package dashboard

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"ulvs/control"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func ask(d *Dashboard, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.Host = "127.0.0.1:9102"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != 200 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return v
}

func TestOnlyKnownNamesReachTheDashboard(t *testing.T) {
	d, _ := newBed(noon)
	for host, want := range map[string]int{
		"127.0.0.1:9102": 200, "192.0.2.1:9102": 200, "192.0.2.1": 200, "[::1]:9102": 200, "[::1]": 200,
		"localhost:8080": 200, "LOCALHOST": 200, "lvs1.example.com": 200, "LVS1.example.com:9102": 200,
		"evil.example": 421, "evil.example:9102": 421, "127.0.0.1.evil.example:9102": 421, "": 421, "lvs1.example.com.": 421,
		"localhost.evil.example": 421,
	} {
		for _, path := range []string{"/", "/api/overview", "/api/events?follow=0"} {
			if got := ask(d, path, "Host", host); got.Code != want {
				t.Errorf("%s of %q: got %d, want %d", path, host, got.Code, want)
			}
		}
	}
}

func TestNothingCanBeChanged(t *testing.T) {
	d, _ := newBed(noon)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		for _, path := range []string{"/", "/api/overview", "/api/events", "/v1/ipvs/edit"} {
			r := httptest.NewRequest(method, path, strings.NewReader("{}"))
			r.Host = "localhost"
			w := httptest.NewRecorder()
			d.ServeHTTP(w, r)
			if w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: got %d", method, path, w.Code)
			}
		}
	}
}

func TestOtherSitesGetNothing(t *testing.T) {
	d, _ := newBed(noon)
	for site, want := range map[string]int{"": 200, "none": 200, "same-origin": 200, "same-site": 403,
		"cross-site": 403} {
		if got := ask(d, "/api/overview", "Sec-Fetch-Site", site).Code; got != want {
			t.Errorf("%q: got %d, want %d", site, got, want)
		}
	}
	h := ask(d, "/").Header()
	for key, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-cache"} {
		if h.Get(key) != want {
			t.Errorf("%s: got %q", key, h.Get(key))
		}
	}
	if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp,
		"unsafe") {
		t.Errorf("the policy is %q", csp)
	}
}

func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?:src|href|url\(|from|import)\s*=?\s*["'(]?(?:https?:)?//[^"')\s]+`)
	inline := regexp.MustCompile(
		`<script>|<style|\sstyle=|\son\w+=|javascript:|innerHTML|insertAdjacentHTML|document\.write|eval\(`)
	err := fs.WalkDir(web, "web", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(web, path)
		for _, wrong := range []*regexp.Regexp{elsewhere, inline} {
			if found := wrong.Find(text); found != nil {
				t.Errorf("%s has %q", path, found)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheOverviewSaysWhatIsWrong(t *testing.T) {
	d, f := newBed(noon)
	f.status.Ports[1].LinkUp = false
	f.status.Workers[2].Generation = 200
	f.status.Sessions.Refused = 3
	f.set(func(list []control.Service) {
		list[0].RealServers[1].Overloaded = true
		list[0].RealServers[2].NextHop.State = "asking"
		list[2].State = control.StateSorry
		list[6].RealServers = nil
	})
	got := decode[Overview](t, ask(d, "/api/overview"))
	var words []string
	for _, p := range got.Problems {
		words = append(words, p.Level+" "+p.Service+" "+p.Text)
	}
	all := strings.Join(words, "\n")
	for _, want := range []string{
		"error  interface eth1: link down", "error udp 192.0.2.53:53 the sorry server answers",
		"error tcp 192.0.2.12:8080 no real server takes clients", "warning  worker 2 runs generation 200 of 218",
		"warning  3 sessions were refused", "warning tcp 192.0.2.10:443 10.0.0.22:443 is above its upper threshold",
		"warning tcp 192.0.2.10:443 10.0.0.23:443: next hop: asking", "warning udp 192.0.2.14:514 no real servers",
		"warning tcp 192.0.2.10:80 10.0.0.23:80 is down: real server answers",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if got.Services.Total != 7 || got.Services.Bad != 2 || got.RealServers["down"] != 3 ||
		got.Takeover[1].State != "BACKUP" {
		t.Errorf("got %+v %v %v", got.Services, got.RealServers, got.Takeover)
	}
	if strings.LastIndex(all, "error ") > strings.Index(all, "warning ") {
		t.Errorf("errors are not first:\n%s", all)
	}
}

func TestListsComeInPages(t *testing.T) {
	d, f := newBed(noon)
	type list struct {
		Total    int
		Services []Summary
	}
	got := decode[list](t, ask(d, "/api/services?limit=2&offset=1&sort=conns"))
	if got.Total != 7 || len(got.Services) != 2 || got.Services[0].Name != "tcp 192.0.2.10:80" {
		t.Errorf("got %+v", got)
	}
	type one struct {
		Total   int
		Servers []control.RealServer `json:"real_servers"`
	}
	name := url.QueryEscape("tcp 192.0.2.10:443")
	if got := decode[one](t, ask(d,
		"/api/service?limit=4&offset=4&name="+name)); got.Total != 6 || len(got.Servers) != 2 {
		t.Errorf("got %+v", got)
	}
	type sessions struct {
		Sessions []control.Conn
		More     bool
	}
	if got := decode[sessions](t, ask(d, "/api/sessions?offset=200")); len(got.Sessions) != 50 || got.More {
		t.Errorf("%d sessions, more %v", len(got.Sessions), got.More)
	}
	if got := decode[sessions](t, ask(d,
		"/api/sessions?limit=10&protocol=udp")); len(got.Sessions) != 10 || !got.More {
		t.Errorf("%d sessions, more %v", len(got.Sessions), got.More)
	}
	for target, want := range map[string]int{
		"/api/services?limit=501": 400, "/api/services?offset=-1": 400, "/api/services?limit=x": 400,
		"/api/services?q=" + strings.Repeat("x",
			201): 400, "/api/service?name=none": 404, "/api/sessions?vip=www": 400,
		"/api/none": 404, "/none.js": 404, "/web/app.js": 404,
	} {
		if got := ask(d, target); got.Code != want {
			t.Errorf("%s: got %d %s, want %d", target, got.Code, got.Body, want)
		}
	}
	d.walks.Store(maxWalks)
	if got := ask(d, "/api/sessions").Code; got != http.StatusServiceUnavailable {
		t.Errorf("one walk too many: got %d", got)
	}
	if f.asked > 800 {
		t.Errorf("the director was asked %d times", f.asked)
	}
}

func TestManyClientsCostAsMuchAsOne(t *testing.T) {
	d, f := newBed(noon)
	f.set(func([]control.Service) {})
	before := f.asked
	for range 50 {
		ask(d, "/api/overview")
		ask(d, "/api/services")
	}
	if f.asked != before+1 {
		t.Errorf("the director was asked %d times", f.asked-before)
	}
}

func FuzzQueries(f *testing.F) {
	f.Add("/api/services", "q=a&sort=x&offset=1&limit=2")
	f.Add("/api/sessions", "client=::1&vip=:80&state=%00")
	f.Add("/api/history", "service=%ff&drops")
	f.Add("/api/events", "follow=0&kind=server_up&after=1-1")
	d, _ := newBed(noon)
	f.Fuzz(func(t *testing.T, path, query string) {
		if strings.HasSuffix(path, "/events") && !strings.Contains(query, "follow=0") {
			return // a stream
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL, r.Host = &url.URL{Path: path, RawQuery: query}, "localhost"
		ctx, cancel := deadContext()
		defer cancel()
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r.WithContext(ctx))
		if w.Code >= 500 {
			t.Fatalf("%s?%s: got %d %s", path, query, w.Code, w.Body)
		}
	})
}
