package main

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ulvs/control"
)

var update = flag.Bool("update", false, "write the golden files anew")

// command runs one command line as main does.
func command(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	a := &app{out: &o, errOut: &e, run: func(context.Context, runOptions) error { return nil }}
	return a.main(t.Context(), args), o.String(), e.String()
}

// golden compares with testdata/name.txt.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (see the change with -update and git diff)\n got:\n%s\nwant:\n%s", path, got, want)
	}
}

// site is a director with a bit of everything.
type site struct{ empty bool }

func (s site) Status() control.Status {
	if s.empty {
		return control.Status{Name: "new", PID: 2, Version: "v0", UptimeSeconds: 1, Generation: 1}
	}
	return control.Status{
		Name: "lvs1", PID: 4711, Version: "v0.1.0", UptimeSeconds: 93784, Generation: 12, ConfigPath: "/etc/ulvs/ulvs.toml",
		Alarms: []string{"VI_1: no director holds its VIPs"},
		Workers: []control.WorkerStatus{
			{ID: 0, CPU: 2, Queue: 0, Ports: []string{"c0", "s0"}, IO: "afxdp", Generation: 12, Frames: 123456789,
				Batches: 4567890, IdleFraction: 0.125},
			{ID: 1, CPU: -1, Queue: 1, Ports: []string{"c0", "s0"}, IO: "afxdp", Generation: 11, Frames: 12, IdleFraction: 1},
		},
		Ports: []control.PortStatus{
			{Name: "c0", MAC: "02:00:00:00:00:01", MTU: 1500, LinkUp: true, Queues: 2, XDPMode: "native", CopyMode: "copy",
				RXFrames: 123456000, TXFrames: 1000, TXFull: 1, TXErrors: 2, RXDropped: 3, RXRingFull: 4,
				SteeredFrames: 123456007, PassedFrames: 55},
			{Name: "s0", MAC: "02:00:00:00:00:02", MTU: 9000, Queues: 2, XDPMode: "native", CopyMode: "zerocopy"},
		},
		Sessions: control.Sessions{Active: 1000, Inactive: 20, Templates: 3, SizeHint: 1 << 20, MaxConns: 5000, Refused: 7,
			Bytes: 84 << 20},
		Verdicts: []control.Verdict{{Name: "tx", Frames: 123456700}, {Name: "no-service", Drop: true},
			{Name: "ttl", Frames: 99, Drop: true}},
		Routing: control.Routing{Links: 3, Routes: 12, Neighbours: 9, NextHops: 4, Unresolved: 1},
	}
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func (s site) Services() []control.Service {
	if s.empty {
		return nil
	}
	stats := control.Stats{Conns: 9, InPackets: 12, OutPackets: 3, InBytes: 123456789012, OutBytes: 120}
	hop := control.NextHop{Port: "s0", State: "resolved", MAC: "02:00:00:00:01:02"}
	hop.Address = netip.MustParseAddr("10.1.0.2")
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	return []control.Service{
		{Protocol: "udp", VIP: addr("10.0.0.1:53"), Scheduler: "rr", OnePacket: true},
		{Protocol: "tcp", VIP: addr("[2001:db8::80]:80"), Scheduler: "rr", PersistenceSeconds: 50, PersistenceBits: 64,
			RealServers: []control.RealServer{{Address: addr("[2001:db8::a0a0:a0a0:a0a0]:80"), Method: "tun",
				State: "sorry", Weight: 5}}, State: "sorry"},
		{Protocol: "tcp", VIP: addr("10.0.0.1:443"), Scheduler: "sh", Flags: []string{"sh-fallback", "sh-port"},
			PersistenceSeconds: 600, PersistenceBits: 24, Stats: stats, State: "quorum_lost"},
		{Protocol: "tcp", VIP: addr("10.0.0.1:80"), Scheduler: "wlc", Stats: stats, RealServers: []control.RealServer{
			{Address: addr("10.1.0.2:80"), Method: "dr", Weight: 3, Active: 1234567, Inactive: 2, Stats: stats, NextHop: &hop,
				State: "up", ConfiguredWeight: 3},
			{Address: addr("10.1.0.1:8080"), Method: "nat", Weight: 1, Active: 1, NextHop: &control.NextHop{State: "no route"},
				State: "rising", Since: &since, ConfiguredWeight: 16},
			{Address: addr("10.1.0.3:80"), Method: "tun", State: "down", Since: &since, Reason: "timeout", ConfiguredWeight: 1},
		}},
	}
}

func (s site) Health() []control.ServiceHealth {
	if s.empty {
		return nil
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	check := func(target string, up bool, last string) control.CheckHealth {
		return control.CheckHealth{
			Type: "tcp", Target: target, Up: up, Since: at, Answers: 12, Last: last, LatencySeconds: 0.00123456,
		}
	}
	return []control.ServiceHealth{
		{Service: "tcp 10.0.0.1:80", Quorum: true, Needed: 1, Live: 3, RealServers: []control.ServerHealth{
			{Address: addr("10.1.0.2:80"), Up: true, Since: at, Checks: []control.CheckHealth{
				check("tcp 10.0.0.1:80 via path", true, "ok"), check("ping 10.1.0.2", true, "ok"),
			}},
			{Address: addr("10.1.0.3:80"), Since: at, Reason: "timeout", Checks: []control.CheckHealth{
				check("tcp 10.0.0.1:80 via path", false, "timeout"),
			}},
			{Address: addr("10.1.0.4:80"), Up: true, Since: at},
		}},
		{Service: "udp 10.0.0.1:53", Needed: 2, Suspended: true, RealServers: []control.ServerHealth{
			{Address: addr("10.1.0.1:53"), Up: true, Since: at, Checks: []control.CheckHealth{
				{Target: "script /x", Up: true, Since: at},
			}},
		}},
	}
}

func (s site) Conns(_ control.ConnFilter, fn func(control.Conn) bool) {
	if s.empty {
		return
	}
	list := []control.Conn{
		{Protocol: "tcp", State: "ESTABLISHED", ExpiresSeconds: 899, Client: addr("172.16.0.9:1009"),
			VIP: addr("10.0.0.1:80"), RealServer: addr("10.1.0.3:80")},
		{Protocol: "udp", State: "NONE", ExpiresSeconds: 7200, Client: addr("172.16.0.0:0"), VIP: addr("10.0.0.1:53"),
			RealServer: addr("10.1.0.1:53"), Flags: []string{"template", "synced"}},
		{Protocol: "tcp", State: "SYN_RECV", ExpiresSeconds: 5, Client: addr("[2001:db8:ffff:ffff::9]:1009"),
			VIP: addr("[2001:db8::80]:80"), RealServer: addr("[2001:db8::a0a0]:80")},
	}
	for _, c := range list {
		if !fn(c) {
			return
		}
	}
}

func serve(t *testing.T, b control.Backend) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := control.NewServer(b, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestListingsLookAsOperatorsKnowThem(t *testing.T) {
	full, empty := serve(t, site{}), serve(t, site{empty: true})
	cases := []struct{ golden, socket, line string }{
		{"status", full, "status"},
		{"status-empty", empty, "status"},
		{"status-json", full, "status --json"},
		{"services", full, "services"},
		{"services-empty", empty, "services"},
		{"services-stats", full, "services --stats"},
		{"services-next-hops", full, "services --next-hops"},
		{"services-of-a-vip", full, "services --vip 10.0.0.1:443 --json"},
		{"health", full, "health"},
		{"health-empty", empty, "health"},
		{"health-down", full, "health --down"},
		{"conns", full, "conns"},
		{"conns-empty", empty, "conns"},
		{"conns-json", full, "conns --json --limit 2"},
		{"conns-of-a-client", full, "conns --client 172.16.0.0/16 --state established --protocol tcp"},
	}
	for _, c := range cases {
		t.Run(c.golden, func(t *testing.T) {
			code, out, errOut := command(t, append(strings.Fields(c.line), "--socket", c.socket)...)
			if code != exitOK || errOut != "" {
				t.Fatalf("exit %d, %s", code, errOut)
			}
			golden(t, c.golden, out)
		})
	}
}

func TestWrongCallsExitWith2AndFailuresWith1(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	cases := []struct {
		line string
		code int
		want string
	}{
		{"statsu", exitUsage, "ulvs: unknown command \"statsu\" for \"ulvs\"\n\n" +
			"Did you mean this?\n\tstatus\n\nSee: ulvs help\n"},
		{"status --jsn", exitUsage, "ulvs: unknown flag: --jsn\nSee: ulvs help\n"},
		{"run", exitUsage, "ulvs: run takes one file, 0 given; call it as: ulvs run FILE [flags]\nSee: ulvs help\n"},
		{"check a b", exitUsage, "ulvs: check takes one file, 2 given; " +
			"call it as: ulvs check FILE [flags]\nSee: ulvs help\n"},
		{"status x", exitUsage, "ulvs: unknown command \"x\" for \"ulvs status\"\nSee: ulvs help\n"},
		{"status --socket NONE", exitFailed, "ulvs: no ulvs answers on NONE: is it running? start it with: ulvs run FILE\n"},
		{"run NONE", exitFailed, "ulvs: read configuration: open NONE: no such file or directory\n"},
		{"conns --vip www", exitUsage, "ulvs: --vip: \"www\" is no address; " +
			"give one like 192.0.2.10, 192.0.2.0/24, 192.0.2.10:80 or :80\nSee: ulvs help\n"},
		{"conns --limit -1", exitUsage, "ulvs: --limit -1 is negative; give 0 for all\nSee: ulvs help\n"},
		{"run NONE --log-level loud", exitUsage, "ulvs: --log-level \"loud\" is unknown; " +
			"give debug, info, warn or error\nSee: ulvs help\n"},
		{"config x", exitUsage, "ulvs: unknown command \"x\" for \"ulvs config\"\nSee: ulvs help\n"},
	}
	for _, c := range cases {
		t.Run(c.line, func(t *testing.T) {
			code, out, errOut := command(t, strings.Fields(strings.ReplaceAll(c.line, "NONE", none))...)
			if got := strings.ReplaceAll(errOut, none, "NONE"); code != c.code || got != c.want || out != "" {
				t.Errorf("exit %d, want %d\n got: %s%s\nwant: %s", code, c.code, out, got, c.want)
			}
		})
	}
}

func TestHelpListsEverySubCommand(t *testing.T) {
	code, out, errOut := command(t)
	if code != exitOK || errOut != "" {
		t.Fatalf("exit %d, %s", code, errOut)
	}
	for _, name := range []string{"run", "check", "status", "services", "conns", "config", "version"} {
		if !strings.Contains(out, "\n  "+name+" ") {
			t.Errorf("the help does not list %s:\n%s", name, out)
		}
	}
}

func TestVersionIsPrinted(t *testing.T) {
	if code, out, _ := command(t, "version"); code != exitOK || !strings.HasPrefix(out, "ulvs ") {
		t.Errorf("exit %d, %q", code, out)
	}
	if code, out, _ := command(t, "version", "--json"); code != exitOK || !strings.Contains(out, `"version": "`) {
		t.Errorf("exit %d, %q", code, out)
	}
}
