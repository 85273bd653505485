package health

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/dashboard"
	"ulvs/events"
	"ulvs/internal/testutil"
	"ulvs/lvs"
)

// Where the director shows itself, in its own namespace.
const (
	metricsAt   = "127.0.0.1:9101"
	dashboardAt = "127.0.0.1:9102"
)

// get asks the director's namespace for a path; host is what the client calls it.
func (s *site) get(addr, host, path string) (status int, body string, err error) {
	var conn net.Conn
	err = s.Do("d1", func() (err error) { // a socket belongs to the namespace that its thread is in
		conn, err = net.Dial("tcp", addr)
		return err
	})
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, host)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func (s *site) mustGet(addr, path string) string {
	s.t.Helper()
	status, body, err := s.get(addr, addr, path)
	if err != nil || status != http.StatusOK {
		s.t.Fatalf("%s%s: %d %s, %v", addr, path, status, body, err)
	}
	return body
}

func TestAKickIsShownAndToldEverywhere(t *testing.T) {
	dir := t.TempDir()
	script, told := filepath.Join(dir, "notify"), filepath.Join(dir, "told")
	body := "#!/bin/sh\necho \"$ULVS_DIRECTOR $ULVS_EVENT $ULVS_SERVICE $ULVS_REAL_SERVER $ULVS_REASON\" >> " + told + "\n"
	must(t, os.WriteFile(script, []byte(body), 0o755))
	s := newSite(t, fmt.Sprintf("\n[metrics]\nlisten = %q\n[dashboard]\nlisten = %q\n"+
		"[[notify]]\nscript = %q\nevents = [\"server_down\", \"server_up\"]\n", metricsAt, dashboardAt, script))
	victim := s.Addresses().Reals[1]
	real, service := joinPort(victim.Addr.IPv4), "tcp "+s.vip(lvs.MethodDR, false).String()
	before, err := s.client.RecentEvents(t.Context(), control.EventQuery{
		Filter: events.Filter{Kinds: []events.Kind{events.ServerDown}}, Limit: 1000,
	}) // a first check that a busy machine had no time for
	must(t, err)
	began := time.Now()
	must(t, killWeb(s, victim))
	s.awaitEvents(events.ServerDown, victim, began, s.services(methods()))

	testutil.Await(t, "the script to hear of it", func() bool {
		text, _ := os.ReadFile(told) // not there yet
		return strings.Contains(string(text), "d1 server_down "+service+" "+real+" connection refused")
	})
	s.checkMetrics(service, real, len(before)+6)
	s.checkDashboard(service, real)
	out, err := s.Command("d1", binary, "top", "--once", "--socket", s.ControlSocket("d1")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "down") || !strings.Contains(string(out), "connection refused") {
		t.Errorf("ulvs top: %v\n%s", err, out)
	}
	s.reloadWithout("[dashboard]\nlisten = \"" + dashboardAt + "\"\n")
	testutil.Await(t, "the dashboard to be gone, as a reload said", func() bool {
		_, _, err := s.get(dashboardAt, dashboardAt, "/")
		return err != nil
	})
	s.mustGet(metricsAt, "/metrics")
}

func (s *site) checkMetrics(service, real string, downs int) {
	s.t.Helper()
	labels := fmt.Sprintf(`real_server=%q,service=%q`, real, service)
	wanted := []string{
		`ulvs_real_server_up{` + labels + `} 0`, `ulvs_check_up{` + labels + `,type="http"} 0`,
		`ulvs_service_real_servers_up{service="` + service + `"} 2`,
		fmt.Sprintf(`ulvs_events_total{kind="server_down"} %d`, downs),
		`ulvs_frames_total{drop="false",verdict="tx_dr"} `, `ulvs_interface_up{interface="c0"} 1`,
		`ulvs_worker_frames_total{worker="0"} `,
	}
	text := ""
	missing := func(want string) bool { return !strings.Contains(text, "\n"+want) }
	testutil.Await(s.t, fmt.Sprintf("all of %q", wanted), func() bool {
		text = s.mustGet(metricsAt, "/metrics")
		return !slices.ContainsFunc(wanted, missing)
	})
}

func (s *site) checkDashboard(service, real string) {
	s.t.Helper()
	if page := s.mustGet(dashboardAt, "/"); !strings.Contains(page, "<title>ulvs</title>") {
		s.t.Errorf("the page is %s", page)
	}
	var o dashboard.Overview
	testutil.Await(s.t, "an overview of now: it may be a second old", func() bool {
		o = dashboard.Overview{}
		must(s.t, json.Unmarshal([]byte(s.mustGet(dashboardAt, "/api/overview")), &o))
		return o.RealServers["down"] == 6
	})
	if o.Name != "d1" || o.Services.Total != 6 || o.RealServers["up"] != 12 {
		s.t.Errorf("the overview: %s, %+v, %v", o.Name, o.Services, o.RealServers)
	}
	found := false
	for _, p := range o.Problems {
		found = found || p.Service == service && strings.HasPrefix(p.Text, real+" is down: connection refused")
	}
	if !found {
		s.t.Errorf("no such problem in %+v", o.Problems)
	}
	status, _, err := s.get(dashboardAt, "evil.example", "/api/overview")
	if err != nil || status != http.StatusMisdirectedRequest {
		s.t.Errorf("called evil.example it answers %d, %v", status, err)
	}
}

// reloadWithout takes text out of the configuration.
func (s *site) reloadWithout(text string) {
	s.t.Helper()
	old, err := os.ReadFile(s.file)
	must(s.t, err)
	if !strings.Contains(string(old), text) {
		s.t.Fatalf("%q is not in the file", text)
	}
	must(s.t, os.WriteFile(s.file, []byte(strings.Replace(string(old), text, "", 1)), 0o600))
	_, err = s.client.Reload(context.Background())
	must(s.t, err)
}
