package metrics

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"ulvs/control"
	"ulvs/events"
	"ulvs/notify"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// fake is a director with a bit of everything.
type fake struct{ services []control.Service }

func (f fake) Status() control.Status {
	return control.Status{
		Name: "lvs1", Version: "v1", StartedAt: time.UnixMilli(1_700_000_000_500), Generation: 12, Modified: true,
		Workers: []control.WorkerStatus{{ID: 0, CPU: 2, IO: "afxdp", Generation: 12, Frames: 1000, Batches: 100,
			IdleSeconds: 2.5}, {ID: 1, CPU: -1, IO: "afxdp"}},
		Ports: []control.PortStatus{{Name: "eth0", MAC: "02:00:00:00:00:01", MTU: 1500, LinkUp: true,
			XDPMode:  "native",
			CopyMode: "zerocopy", RXFrames: 1000, TXFrames: 900, TXFull: 1, TXErrors: 2, RXDropped: 3, RXRingFull: 4,
			InvalidDescs: 5, SteeredFrames: 1007, PassedFrames: 8, FillEmpty: 9, TXRingEmpty: 10}},
		Sessions: control.Sessions{Active: 10, Inactive: 5, Templates: 2, SizeHint: 1 << 20, MaxConns: 7, Bytes: 4096,
			Grown: 1, Refused: 3, ReplyClash: 2},
		Verdicts: []control.Verdict{{Name: "tx_dr", Frames: 900}, {Name: "drop_no_route", Frames: 7, Drop: true}},
		Stack: control.Stack{Frames: 40, Lost: 1, Probes: 2, ProbeLimit: 4096, Sessions: 3, Accepted: 6,
			Unreachable: 5},
		Routing: control.Routing{Links: 1, Routes: 2, Neighbours: 3, NextHops: 4, Unresolved: 1},
	}
}

func (f fake) Services() []control.Service { return f.services }

func (f fake) VRRP() control.VRRP {
	return control.VRRP{Rejected: map[string]uint64{"ttl": 3}, Instances: []control.VRRPInstance{
		{Name: "VI_1", State: "MASTER", Priority: 150, EffectivePriority: 140}}}
}

func (f fake) Sync() (control.Sync, bool) {
	daemon := control.IPVSDaemon{Role: "backup", Messages: 7, Conns: 70, Rejected: map[string]uint64{"sync_id": 3}}
	return control.Sync{Address: "192.0.2.2:8849", IPVS: []control.IPVSDaemon{daemon}, Ready: true,
		Sessions: 9, SentRecords: 8, Rejected: map[string]uint64{"key": 2},
		Missing: []string{"c"}, Peers: []control.SyncPeer{{Name: "b", State: "in sync", LagMS: 250,
			Coverage: 50}}}, true
}

func (f fake) Health() []control.ServiceHealth {
	end := time.Unix(1_800_000_000, 0)
	soon := end.Add(-time.Hour)
	return []control.ServiceHealth{{Service: "tcp 192.0.2.10:80", Quorum: true, RealServers: []control.ServerHealth{
		{Address: netip.MustParseAddrPort("10.0.0.1:80"), Checks: []control.CheckHealth{
			{Type: "tcp", Up: true, Answers: 5, LatencySeconds: 0.25},
			{Type: "https", Up: true, Answers: 3, LatencySeconds: 0.5, CertExpires: &end},
			{Type: "https", Answers: 4, Failures: 2, LatencySeconds: 0.125, CertExpires: &soon},
		}}}}}
}

func someServices() []control.Service {
	stats := control.Stats{Conns: 9, InPackets: 12, OutPackets: 3, InBytes: 1234, OutBytes: 120}
	real := func(i byte, weight int32) control.RealServer {
		return control.RealServer{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, i}), 80),
			Method: "dr",
			Weight: weight, Active: 5, Inactive: 2, Persistent: 1, Stats: stats, NextHop: &control.NextHop{State: "resolved"}}
	}
	over := real(3, 1)
	over.Overloaded, over.NextHop = true, nil
	return []control.Service{
		{Protocol: "tcp", VIP: netip.MustParseAddrPort("192.0.2.10:80"), Scheduler: "wlc", Stats: stats,
			RealServers: []control.RealServer{real(1, 3), real(2, 0), over}},
		{Protocol: "fwm", Mark: 7, VIP: netip.MustParseAddrPort("0.0.0.0:0"), Scheduler: "rr"},
		{Protocol: "fwm", Mark: 7, VIP: netip.MustParseAddrPort("[::]:0"), Scheduler: "rr",
			RealServers: []control.RealServer{real(1, 1)}},
	}
}

func newCollector(services []control.Service, limit int) *Collector {
	j := events.New(events.Options{})
	j.Add(events.Event{Kind: events.ConfigReloaded})
	j.Add(events.Event{Kind: events.ServerDown})
	told := []notify.Stats{{Name: "/bin/n", Delivered: 3, Failed: 1, Lost: 2, Retried: 4, Backlog: 5},
		{Name: "/bin/n"}}
	return New(Options{
		Source: fake{services}, Journal: j, RealServers: func() int { return limit },
		Notified: func() []notify.Stats { return told },
	})
}

func scrape(t *testing.T, c *Collector) string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(c, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestAScrapeSaysWhatTheDirectorSays(t *testing.T) {
	text := scrape(t, newCollector(someServices(), 100))
	const service, server = `service="tcp 192.0.2.10:80"`, `real_server="10.0.0.1:80",service="tcp 192.0.2.10:80"`
	for _, want := range []string{
		`ulvs_build_info{director="lvs1",goversion="go`,
		`ulvs_start_time_seconds 1.7000000005e+09`,
		`ulvs_config_modified 1`,
		`ulvs_config_reloads_total{result="applied"} 1`,
		`ulvs_config_reloads_total{result="refused"} 0`,
		`ulvs_frames_total{drop="false",verdict="tx_dr"} 900`,
		`ulvs_frames_total{drop="true",verdict="drop_no_route"} 7`,
		`ulvs_sessions{state="inactive"} 5`,
		`ulvs_sessions_refused_total 3`,
		`ulvs_stack_frames_total 40`,
		`ulvs_probes_max 4096`,
		`ulvs_local_sessions_unreachable_total 5`,
		`ulvs_worker_idle_seconds_total{worker="0"} 2.5`,
		`ulvs_worker_info{cpu="-1",io="afxdp",worker="1"} 1`,
		`ulvs_interface_kernel_drops_total{interface="eth0",reason="ring_full"} 4`,
		`ulvs_interface_send_drops_total{interface="eth0",reason="error"} 2`,
		`ulvs_interface_steered_frames_total{interface="eth0"} 1007`,
		`ulvs_routing_next_hops_unresolved 1`,
		`ulvs_services 3`,
		`ulvs_real_servers_hidden 0`,
		`ulvs_service_real_servers_up{` + service + `} 1`,
		`ulvs_service_weight{` + service + `} 4`,
		`ulvs_service_sessions{` + service + `,state="active"} 15`,
		`ulvs_service_in_bytes_total{` + service + `} 1234`,
		`ulvs_service_info{scheduler="rr",service="fwm 7 ipv6"} 1`,
		`ulvs_real_server_up{` + server + `} 1`,
		`ulvs_real_server_up{real_server="10.0.0.2:80",` + service + `} 0`,
		`ulvs_real_server_up{real_server="10.0.0.3:80",` + service + `} 0`,
		`ulvs_real_server_next_hop_resolved{real_server="10.0.0.3:80",` + service + `} 0`,
		`ulvs_real_server_sessions{` + server + `,state="persistent"} 1`,
		`ulvs_real_server_connections_total{` + server + `} 9`,
		`ulvs_service_quorum{` + service + `} 1`,
		`ulvs_check_up{` + server + `,type="tcp"} 1`,
		`ulvs_check_up{` + server + `,type="https"} 0`,
		`ulvs_check_answers_total{` + server + `,type="https"} 7`,
		`ulvs_check_latency_seconds{` + server + `,type="https"} 0.5`,
		`ulvs_check_certificate_expiry_timestamp_seconds{` + server + `,type="https"} 1.7999964e+09`,
		`ulvs_vrrp_state{instance="VI_1",state="MASTER"} 1`,
		`ulvs_vrrp_state{instance="VI_1",state="BACKUP"} 0`,
		`ulvs_vrrp_priority{instance="VI_1"} 140`,
		`ulvs_vrrp_rejected_adverts_total{reason="ttl"} 3`,
		`ulvs_sync_ready 1`, `ulvs_sync_peers_missing 1`, `ulvs_sync_rejected_total{reason="key"} 2`,
		`ulvs_sync_peer_lag_seconds{peer="b"} 0.25`, `ulvs_sync_peer_coverage_ratio{peer="b"} 0.5`,
		`ulvs_ipvs_sync_messages_total{role="backup"} 7`, `ulvs_ipvs_sync_connections_total{role="backup"} 70`,
		`ulvs_ipvs_sync_rejected_total{reason="sync_id",role="backup"} 3`,
		`ulvs_events_total{kind="server_down"} 1`,
		`ulvs_events_total{kind="server_up"} 0`,
		`ulvs_notifications_total{notify="0",result="lost",target="/bin/n"} 2`,
		`ulvs_notification_backlog{notify="1",target="/bin/n"} 0`,
		`go_goroutines `, `process_cpu_seconds_total `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestEveryFamilyHasSeriesAndGoodNames(t *testing.T) {
	c := newCollector(someServices(), 100)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, f := range c.Families() {
		if n, err := testutil.GatherAndCount(r, f.Name); err != nil || n == 0 {
			t.Errorf("%s: %d series, %v", f.Name, n, err)
		}
	}
}

func TestSeriesOfRealServersAreBounded(t *testing.T) {
	var list []control.Service
	for i := range 1000 {
		s := someServices()[0]
		s.VIP = netip.AddrPortFrom(s.VIP.Addr(), uint16(i+1))
		list = append(list, s)
	}
	for _, c := range []struct{ limit, shown int }{{0, 0}, {2, 0}, {10, 9}, {3000, 3000}, {1 << 30, 3000}} {
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(newCollector(list, c.limit))
		n, err := testutil.GatherAndCount(r, "ulvs_real_server_weight")
		if err != nil || n != c.shown {
			t.Errorf("limit %d: %d series, %v, want %d", c.limit, n, err, c.shown)
		}
		if n, err = testutil.GatherAndCount(r, "ulvs_service_weight"); err != nil || n != 1000 {
			t.Errorf("limit %d: %d services, %v", c.limit, n, err)
		}
		want := fmt.Sprintf("# HELP ulvs_real_servers_hidden Real servers without series of their own, because there are "+
			"more than metrics.real_servers.\n# TYPE ulvs_real_servers_hidden gauge\nulvs_real_servers_hidden %d\n",
			3000-c.shown)
		if err := testutil.GatherAndCompare(r, strings.NewReader(want), "ulvs_real_servers_hidden"); err != nil {
			t.Errorf("limit %d: %v", c.limit, err)
		}
	}
}

// TestTheDocumentIsCurrent compares docs/metrics.md with the code; -update writes it.
func TestTheDocumentIsCurrent(t *testing.T) {
	const path = "../docs/metrics.md"
	want := Document()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s is not what the code says (%v): run go generate ./metrics", path, err)
	}
}

func BenchmarkScrape(b *testing.B) {
	var list []control.Service
	for i := range 1000 {
		s := someServices()[0]
		s.VIP = netip.AddrPortFrom(s.VIP.Addr(), uint16(i+1))
		list = append(list, s)
	}
	h := Handler(newCollector(list, 10000), slog.New(slog.DiscardHandler))
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/scrape")
}
