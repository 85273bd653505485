package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ulvs/lvs"
)

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("f", []byte(text), machine())
	if err != nil {
		t.Fatalf("refused:\n%v\n%s", err, text)
	}
	return c
}

func TestASmallFileGetsTheDocumentedDefaults(t *testing.T) {
	c, err := Parse("f", []byte(node), Options{Hostname: "lvs1"})
	if err != nil {
		t.Fatal(err)
	}
	want := Node{
		Name: "lvs1", Interfaces: []string{"eth0"}, ConnTabBits: 20, IO: IOAFXDP, XDPMode: XDPAuto, VIPMode: VIPUser,
		ControlSocket: DefaultControlSocket, StateDir: DefaultStateDir, Frames: 8192, Idle: IdleAuto,
		ProbePorts: DefaultProbePorts(),
	}
	if !reflect.DeepEqual(c.Node, want) {
		t.Errorf("node\n got %+v\nwant %+v", c.Node, want)
	}
	if want := (Timeouts{15 * time.Minute, 2 * time.Minute, 5 * time.Minute}); c.Timeouts != want {
		t.Errorf("timeouts: got %v, want %v", c.Timeouts, want)
	}
	if got := c.Services(); len(got) != 0 {
		t.Errorf("services: got %v, want none", got)
	}
}

func TestEveryNodeKeyIsRead(t *testing.T) {
	c := mustParse(t, `[node]
name = "a"
interfaces = ["eth0", "eth1"]
conn_tab_bits = 12
max_conns = 1000
workers = 2
cpus = [3, 1]
io = "asavie"
xdp_mode = "copy"
vip_mode = "netlink"
control_socket = "/tmp/s"
state_directory = "/s"
frames = 2048
probe_ports = "50000-50999"
idle = "poll"
[timeouts]
tcp = 60
tcpfin = "30s"
udp = "1m30s"
`)
	want := Node{
		Name: "a", Interfaces: []string{"eth0", "eth1"}, ConnTabBits: 12, MaxConns: 1000, Workers: 2, CPUs: []int{3, 1},
		IO: IOAsavie, XDPMode: XDPCopy, VIPMode: VIPNetlink, ControlSocket: "/tmp/s", StateDir: "/s",
		Frames: 2048, Idle: IdlePoll,
		ProbePorts: [2]uint16{50000, 50999},
	}
	if !reflect.DeepEqual(c.Node, want) {
		t.Errorf("node\n got %+v\nwant %+v", c.Node, want)
	}
	if want := (Timeouts{time.Minute, 30 * time.Second, 90 * time.Second}); c.Timeouts != want {
		t.Errorf("timeouts: got %v, want %v", c.Timeouts, want)
	}
}

func TestEveryServiceKeyIsRead(t *testing.T) {
	c := mustParse(t, node+`
[[service]]
vip = "192.0.2.10:443"
protocol = "tcp"
scheduler = "mh"
flags = ["mh-port", "mh-fallback"]
method = "nat"
persistence_timeout = "50s"
persistence_granularity = "255.255.255.0"
  [[service.real_server]]
  address = "10.0.0.1"
  weight = 0
  upper_threshold = 10
  lower_threshold = 8
  [[service.real_server]]
  address = "10.0.0.2:8443"
  [[service.real_server]]
  address = "[2001:db8::3]:443"
  method = "tun"
  tunnel_type = "ipip"
`)
	want := lvs.Service{
		Key:       lvs.ServiceKey{Addr: netip.MustParseAddr("192.0.2.10"), Port: 443, Proto: lvs.ProtoTCP},
		Scheduler: "mh", SchedFlags: lvs.SchedPort | lvs.SchedFallback, Persistence: 50 * time.Second, PersistBits: 24,
		Destinations: []lvs.Destination{
			{Addr: netip.MustParseAddr("2001:db8::3"), Port: 443, Method: lvs.MethodTUN, Weight: 1},
			{Addr: netip.MustParseAddr("10.0.0.2"), Port: 8443, Method: lvs.MethodNAT, Weight: 1},
			{Addr: netip.MustParseAddr("10.0.0.1"), Port: 443, Method: lvs.MethodNAT, Upper: 10, Lower: 8},
		},
	}
	if got := c.Services(); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("services\n got %+v\nwant %+v", got, want)
	}
}

func TestServicesBelongToTheCaller(t *testing.T) {
	c := mustParse(t, service+real(`address = "10.0.0.1"`))
	c.Services()[0].Destinations[0].Weight = 99
	if got := c.Services()[0].Destinations[0].Weight; got != 1 {
		t.Errorf("weight after a change of the copy: got %d, want 1", got)
	}
}

func TestGranularityIsAMaskOrAPrefixLength(t *testing.T) {
	cases := []struct {
		vip, value string
		want       uint8
	}{
		{"192.0.2.10:80", `24`, 24},
		{"192.0.2.10:80", `"24"`, 24},
		{"192.0.2.10:80", `"/24"`, 24},
		{"192.0.2.10:80", `"255.255.254.0"`, 23},
		{"192.0.2.10:80", `"255.255.255.255"`, 0},
		{"192.0.2.10:80", `32`, 0},
		{"[2001:db8::10]:80", `64`, 64},
		{"[2001:db8::10]:80", `128`, 0},
	}
	for _, c := range cases {
		text := fmt.Sprintf("[[service]]\nvip = %q\npersistence_timeout = 60\npersistence_granularity = %s\n", c.vip, c.value)
		if got := mustParse(t, node+text).Services()[0].PersistBits; got != c.want {
			t.Errorf("%s of %s: got %d bits, want %d", c.value, c.vip, got, c.want)
		}
	}
}

func TestPortZeroIsEveryPortOfAPersistentService(t *testing.T) {
	text := node + "[[service]]\nvip = \"192.0.2.10:0\"\npersistence_timeout = 60\n" + real(`address = "10.0.0.1"`)
	s := mustParse(t, text).Services()[0]
	if s.Key.Port != 0 || s.Destinations[0].Port != 0 {
		t.Errorf("ports: got %d and %d, want 0 and 0", s.Key.Port, s.Destinations[0].Port)
	}
}

func TestTheExampleFileIsAcceptedAndShowsEveryKey(t *testing.T) {
	c, err := Parse("example.toml", []byte(Example()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lvs.Build(nil, c.Services()); err != nil {
		t.Errorf("the example does not build: %v", err)
	}
	for _, key := range []string{
		"name", "interfaces", "conn_tab_bits", "max_conns", "workers", "cpus", "io", "xdp_mode", "vip_mode",
		"control_socket", "state_directory", "frames", "idle", "probe_ports",
		"tcp", "tcpfin", "udp", "vip", "protocol", "scheduler", "flags", "method",
		"persistence_timeout", "persistence_granularity", "one_packet", "tunnel_type", "address", "weight",
		"upper_threshold", "lower_threshold", "tunnel_port", "tunnel_checksum", "mark", "family", "interface", "source",
		"destination", "ports", "conn_reuse_mode", "drop_entry", "on_failure", "slow_start",
		"delay_loop", "connect_timeout", "retry", "delay_before_retry", "warmup", "alpha", "omega", "quorum",
		"hysteresis", "quorum_up", "quorum_down", "sorry_server", "sorry_server_method", "sorry_server_inhibit",
		"inhibit_on_failure", "via", "virtualhost", "ha_suspend", "check", "notify_up", "notify_down", "type",
		"listen", "real_servers", "hosts", "script", "webhook", "events", "service", "timeout", "retries", "headers",
		"secret_file",
	} {
		if !strings.Contains(Example(), key+" = ") {
			t.Errorf("the example does not show %s", key)
		}
	}
}

func TestDefaultsInTheExampleAreTheRealOnes(t *testing.T) {
	var on []string
	for _, line := range strings.Split(Example(), "\n") {
		key, comment := strings.CutPrefix(line, "# ")
		if comment && strings.Contains(key, " = ") && !strings.HasPrefix(key, "name") {
			line = key
		}
		on = append(on, line)
	}
	bare, err := Parse("bare", []byte(Example()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	full, err := Parse("full", []byte(strings.Join(on, "\n")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	bare.texts, full.texts = nil, nil
	if !reflect.DeepEqual(bare, full) {
		t.Errorf("uncommented defaults change the result\nwithout %+v\n   with %+v", bare, full)
	}
}

func TestLoadReadsAFileAndNamesItInComplaints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ulvs.toml")
	if _, err := Load(path, Options{}); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("a missing file: got %v", err)
	}
	if err := os.WriteFile(path, []byte(node+"x = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, Options{})
	if err == nil || !strings.HasPrefix(err.Error(), path+":3: node.x: unknown key") {
		t.Errorf("got %v", err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Example()))
	f.Add([]byte(service + real(`address = "10.0.0.1"`)))
	f.Add([]byte("service = [{ vip = '[::1]:80', real_server = [{ address = \"\"\"x\\\"\"\"\" }] }]\n" + node))
	f.Add([]byte("[[service]]\n[service.real_server]\n\"a\\\"b\".c = 1\n[[service]]\nflags = [1, '''x'''''']"))
	f.Add([]byte("a = \"\\"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := strings.Count(string(text), "\n") + 1
		c, err := Parse("f", text, Options{CPUs: 2})
		if err == nil {
			if _, err := lvs.Build(nil, c.Services()); err != nil {
				t.Fatalf("accepted, but it does not build: %v\n%s", err, text)
			}
			return
		}
		list, ok := err.(ErrorList)
		if !ok || len(list) == 0 {
			t.Fatalf("got %T %v, want a filled ErrorList", err, err)
		}
		for _, e := range list {
			if e.Line < 1 || e.Line > lines || e.Msg == "" {
				t.Fatalf("complaint %+v about a text of %d lines", e, lines)
			}
		}
	})
}
