package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	node    = "[node]\ninterfaces = [\"eth0\"]\n" // lines 1 and 2
	service = node + "[[service]]\nvip = \"192.0.2.10:80\"\n"
	nat     = service + "method = \"nat\"\n"
)

func real(lines ...string) string {
	return "[[service.real_server]]\n" + strings.Join(lines, "\n") + "\n"
}

// machine has eth0 only, and four cores.
func machine() Options {
	return Options{CPUs: 4, Interfaces: func(name string) error {
		if name == "eth0" || name == "eth1" {
			return nil
		}
		return fmt.Errorf("no interface %q on this machine; it has eth0, eth1", name)
	}}
}

type complaint struct{ name, text, want string }

func expectComplaints(t *testing.T, cases []complaint) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.text), machine())
			if err == nil {
				t.Fatalf("accepted:\n%s", c.text)
			}
			if got := err.Error(); got != c.want {
				t.Errorf("complaint differs\n got: %s\nwant: %s", got, c.want)
			}
			var list ErrorList
			if !errors.As(err, &list) || len(list) == 0 {
				t.Errorf("error is %T, want a filled ErrorList", err)
			}
		})
	}
}

func TestComplaintsAboutTheFile(t *testing.T) {
	expectComplaints(t, []complaint{
		{"empty", "\n \n", `f:1: the file is empty; give at least [node] with interfaces, see: ulvs config example`},
		{"only comments", "# nothing\n", `f:1: node: missing; give [node] with interfaces = ["eth0"]`},
		{"syntax", "[node]\ninterfaces = [\"eth0\"\nname = 1\n",
			`f:3: not TOML: expected a comma (',') or array terminator (']'), but got 'n'`},
		{"key given twice", "[node]\nname = \"a\"\nname = \"b\"\n",
			`f:3: not TOML: Key 'node.name' has already been defined.`},
		{"nested too deep", "a = " + strings.Repeat("[", 100000),
			`f:1: brackets nest too deep; a list of tables is as deep as it gets`},
		{"unknown section", node + "[nod]\nx = 1\n", `f:3: nod: unknown key; did you mean node?`},
		{"unknown section like nothing", node + "\n[weather]\nport = 9100\n",
			`f:4: weather: unknown key; known: node, timeouts, settings, tuning, metrics, dashboard, notify, service, mark, ` +
				`track_script, track_file, track_process, vrrp, vrrp_sync_group, sync, ipvs_sync, restart`},
		{"keepalived's section word", node + "[[virtual_server]]\nvip = 1\n",
			`f:3: virtual_server: unknown key; did you mean service?`},
		{"tuning", node + "[tuning]\nirqbalance = false\napply = 1\n",
			`f:4: tuning.irqbalance: unknown key; known: apply, pin_irqs, stop_irqbalance, reserve_cores` + "\n" +
				`f:5: tuning.apply: 1 is a number; give true or false`},
		{"section is not a table", "node = 3\n", `f:1: node: 3 is a number; give a table: [node]`},
		{"service is a table, not a list", node + "[service]\nvip = \"192.0.2.10:80\"\n",
			`f:3: service: this is a table; give tables: [[service]]`},
		{"everything at once", node + "a = 1\n[[service]]\nvip = \"x\"\nb = 2\n[c]\n[timeouts]\ntcp = true\n",
			`f:3: node.a: unknown key; known: name, interfaces, conn_tab_bits, max_conns, workers, cpus, io, ` +
				`xdp_mode, vip_mode, control_socket, state_directory, frames, idle, probe_ports` + "\n" +
				`f:5: service[0].vip: "x" is no IP address; give an address with port like "192.0.2.10:80" or ` +
				`"[2001:db8::10]:80"` + "\n" +
				`f:6: service[0].b: unknown key; known: mark, family, protocol, vip, scheduler, flags, ` +
				`persistence_timeout, persistence_granularity, one_packet, method, tunnel_type, tunnel_port, ` +
				`tunnel_checksum, on_failure, slow_start, sorry_server_method, sorry_server, sorry_server_inhibit, ` +
				`inhibit_on_failure, delay_loop, connect_timeout, retry, delay_before_retry, warmup, alpha, via, ` +
				`virtualhost, omega, quorum, hysteresis, quorum_up, quorum_down, ha_suspend, check, checks, ` +
				`real_server` + "\n" +
				`f:7: c: unknown key; known: node, timeouts, settings, tuning, metrics, dashboard, notify, service, mark, ` +
				`track_script, track_file, track_process, vrrp, vrrp_sync_group, sync, ipvs_sync, restart` + "\n" +
				`f:9: timeouts.tcp: true is true or false; give a duration like "15m" or whole seconds like 900`},
		{"quoted keys", node + "\"a.b\" = 1\n",
			`f:3: node."a.b": unknown key; known: name, interfaces, conn_tab_bits, max_conns, workers, cpus, ` +
				`io, xdp_mode, vip_mode, control_socket, state_directory, frames, idle, probe_ports`},
	})
}

func TestComplaintsAboutTheNode(t *testing.T) {
	in := func(line string) string { return node + line + "\n" }
	expectComplaints(t, []complaint{
		{"no interfaces", "[node]\nname = \"a\"\n",
			`f:1: node.interfaces: no interfaces; give the NICs that carry VIP traffic: interfaces = ["eth0"]`},
		{"empty interfaces", "[node]\ninterfaces = []\n",
			`f:2: node.interfaces: no interfaces; give the NICs that carry VIP traffic: interfaces = ["eth0"]`},
		{"interfaces is a string", "[node]\ninterfaces = \"eth0\"\n",
			`f:2: node.interfaces: "eth0" is a string; give a list like ["eth0"]`},
		{"interface is a number", "[node]\ninterfaces = [\"eth0\", 1]\n",
			`f:2: node.interfaces[1]: 1 is a number; give a string`},
		{"interface twice", "[node]\ninterfaces = [\"eth0\", \"eth0\"]\n",
			`f:2: node.interfaces[1]: "eth0" is given twice; remove one`},
		{"interface that does not exist", "[node]\ninterfaces = [\n  \"eth0\",\n  \"eth9\",\n]\n",
			`f:4: node.interfaces[1]: no interface "eth9" on this machine; it has eth0, eth1`},
		{"interface name that cannot be", "[node]\ninterfaces = [\"a/b\"]\n",
			`f:2: node.interfaces[0]: "a/b" is no interface name; give one of 1 to 15 characters, see: ip link`},
		{"unknown key", in(`interface = "eth0"`), `f:3: node.interface: unknown key; did you mean interfaces?`},
		{"name with blanks", in(`name = "a b"`),
			`f:3: node.name: "a b" has blanks or control characters; give one word`},
		{"name too long", in(`name = "` + strings.Repeat("x", 65) + `"`),
			`f:3: node.name: 65 bytes long; give up to 64`},
		{"conn_tab_bits too large", in(`conn_tab_bits = 28`),
			`f:3: node.conn_tab_bits: 28 is out of range; give 8 to 27`},
		{"conn_tab_bits is a string", in(`conn_tab_bits = "20"`),
			`f:3: node.conn_tab_bits: "20" is a string; give a number from 8 to 27`},
		{"max_conns negative", in(`max_conns = -1`), `f:3: node.max_conns: -1 is out of range; give 0 to 268435455`},
		{"workers zero", in(`workers = 0`), `f:3: node.workers: 0 is out of range; give 1 to 256`},
		{"workers another word", in(`workers = "all"`),
			`f:3: node.workers: "all" is a string; give "auto" or a number from 1 to 256`},
		{"cpus another word", in(`cpus = "all"`),
			`f:3: node.cpus: not a list of cores; give "auto" or a list like [2, 3]`},
		{"cpus empty", in(`cpus = []`), `f:3: node.cpus: not a list of cores; give "auto" or a list like [2, 3]`},
		{"core that does not exist", in(`cpus = [0, 4]`), `f:3: node.cpus[1]: no core 4; give 0 to 3`},
		{"core twice", in(`cpus = [1, 1]`), `f:3: node.cpus[1]: core 1 is given twice; remove one`},
		{"core is a string", in(`cpus = ["1"]`), `f:3: node.cpus[0]: "1" is a string; give a core's number`},
		{"fewer cores than workers", in("workers = 2\ncpus = [1]"),
			`f:4: node.cpus: too few for 2 workers: 1; give one core for each worker`},
		{"io", in(`io = "dpdk"`), `f:3: node.io: unknown word "dpdk"; known: afxdp, asavie`},
		{"xdp_mode", in(`xdp_mode = "zero-copy"`),
			`f:3: node.xdp_mode: unknown word "zero-copy"; did you mean zerocopy?`},
		{"xdp_mode is a bool", in(`xdp_mode = true`),
			`f:3: node.xdp_mode: true is true or false; give "auto", "zerocopy", "copy", "generic"`},
		{"vip_mode", in(`vip_mode = "users"`), `f:3: node.vip_mode: unknown word "users"; did you mean user?`},
		{"idle", in(`idle = "sleep"`), `f:3: node.idle: unknown word "sleep"; known: auto, spin, poll`},
		{"socket path relative", in(`control_socket = "control.sock"`),
			`f:3: node.control_socket: "control.sock" is not an absolute path; give one like ` +
				`/run/ulvs/control.sock`},
		{"socket path too long", in(`control_socket = "/` + strings.Repeat("x", 107) + `"`),
			`f:3: node.control_socket: 108 bytes long; a unix socket's path has up to 107`},
		{"frames no power of two", in(`frames = 5000`),
			`f:3: node.frames: 5000 is no power of two; give 4096 or 8192`},
		{"frames too few", in(`frames = 512`), `f:3: node.frames: 512 is out of range; give 1024 to 1048576`},
		{"probe ports backwards", in(`probe_ports = "9-8"`),
			`f:3: node.probe_ports: "9-8" ends before it begins; give a range of at least 64 like "61440-65535"`},
		{"probe ports too few", in(`probe_ports = "60000-60062"`), `f:3: node.probe_ports: "60000-60062" are 63 ports; ` +
			`give a range of at least 64 like "61440-65535"`},
		{"frames fraction", in(`frames = 4096.5`),
			`f:3: node.frames: 4096.5 is a fraction; give a number from 1024 to 1048576`},
	})
}

func TestComplaintsAboutTimeouts(t *testing.T) {
	in := func(line string) string { return node + "[timeouts]\n" + line + "\n" }
	expectComplaints(t, []complaint{
		{"not a duration", in(`tcp = "15"`),
			`f:4: timeouts.tcp: "15" is not a duration; give a duration like "15m" or whole seconds like 900`},
		{"a date", in(`tcp = 2026-01-01`),
			`f:4: timeouts.tcp: this is a date or time; give a duration like "15m" or whole seconds like 900`},
		{"fraction of a second", in(`tcpfin = "1500ms"`),
			`f:4: timeouts.tcpfin: 1500ms has a fraction of a second; give whole seconds`},
		{"zero", in(`udp = 0`), `f:4: timeouts.udp: 0 is out of range; give 1s to 744h (31 days)`},
		{"negative", in(`udp = -5`), `f:4: timeouts.udp: -5 is out of range; give 1s to 744h (31 days)`},
		{"too long", in(`udp = "745h"`), `f:4: timeouts.udp: 745h is out of range; give 1s to 744h (31 days)`},
		{"unknown key", in(`tcp_fin = "2m"`), `f:4: timeouts.tcp_fin: unknown key; did you mean tcpfin?`},
	})
}

func TestComplaintsAboutVIPs(t *testing.T) {
	vip := func(v string) string { return node + "[[service]]\nvip = " + v + "\n" }
	expectComplaints(t, []complaint{
		{"no vip", node + "[[service]]\nprotocol = \"udp\"\n",
			`f:3: service[0].vip: missing; give an address with port like "192.0.2.10:80" or ` +
				`"[2001:db8::10]:80"`},
		{"vip is a number", vip(`80`),
			`f:4: service[0].vip: 80 is a number; give an address with port like "192.0.2.10:80" or ` +
				`"[2001:db8::10]:80"`},
		{"vip without port", vip(`"192.0.2.10"`),
			`f:4: service[0].vip: 192.0.2.10 has no port; give an address with port like "192.0.2.10:80" or ` +
				`"[2001:db8::10]:80"`},
		{"vip is a name", vip(`"www.example.org:80"`),
			`f:4: service[0].vip: "www.example.org" is no IP address; give an address with port like ` +
				`"192.0.2.10:80" or "[2001:db8::10]:80"`},
		{"vip with a bad octet", vip(`"192.0.2.300:80"`),
			`f:4: service[0].vip: "192.0.2.300" is no IP address; give an address with port like ` +
				`"192.0.2.10:80" or "[2001:db8::10]:80"`},
		{"vip with a bad port", vip(`"192.0.2.10:66000"`),
			`f:4: service[0].vip: "66000" is no port from 0 to 65535; give an address with port like ` +
				`"192.0.2.10:80" or "[2001:db8::10]:80"`},
		{"vip is a network", vip(`"192.0.2.0/24"`),
			`f:4: service[0].vip: "192.0.2.0/24" is no IP address; give an address with port like ` +
				`"192.0.2.10:80" or "[2001:db8::10]:80"`},
		{"vip is multicast", vip(`"224.0.0.18:80"`),
			`f:4: service[0].vip: 224.0.0.18 is not the address of a host; give an address with port like ` +
				`"192.0.2.10:80" or "[2001:db8::10]:80"`},
		{"vip is loopback", vip(`"[::1]:80"`),
			`f:4: service[0].vip: ::1 is a loopback address, which never leaves this machine; give an address ` +
				`with port like "192.0.2.10:80" or "[2001:db8::10]:80"`},
		{"vip is mapped", vip(`"[::ffff:192.0.2.10]:80"`),
			`f:4: service[0].vip: ::ffff:192.0.2.10 is an IPv4 address in IPv6 form (write 192.0.2.10); give ` +
				`an address with port like "192.0.2.10:80" or "[2001:db8::10]:80"`},
		{"vip has a zone", vip(`"[fe80::1%eth0]:80"`),
			`f:4: service[0].vip: fe80::1%eth0 has a zone; give an address with port like "192.0.2.10:80" or ` +
				`"[2001:db8::10]:80"`},
		{"port 0 without persistence", vip(`"192.0.2.10:0"`),
			`f:4: service[0].vip: port 0 takes every port, which needs persistence; give a port or ` +
				`persistence_timeout = "6m"`},
	})
}

func TestComplaintsAboutServices(t *testing.T) {
	in := func(line string) string { return service + line + "\n" }
	expectComplaints(t, []complaint{
		{"protocol", in(`protocol = "TCP"`), `f:5: service[0].protocol: unknown word "TCP"; did you mean tcp?`},
		{"scheduler nobody knows", in(`scheduler = "wlcc"`),
			`f:5: service[0].scheduler: unknown scheduler "wlcc"; did you mean wlc?`},
		{"scheduler like no other", in(`scheduler = "least-loaded"`),
			`f:5: service[0].scheduler: unknown scheduler "least-loaded"; known: rr, wrr, lc, wlc, lblc, ` +
				`lblcr, dh, sh, sed, nq, fo, ovf, mh, twos, none`},
		{"scheduler is a number", in(`scheduler = 1`),
			`f:5: service[0].scheduler: 1 is a number; give a name like "wlc"`},
		{"flag of another scheduler", in("scheduler = \"mh\"\nflags = [\"sh-port\"]"),
			`f:6: service[0].flags[0]: scheduler mh has no flag "sh-port"; did you mean mh-port?`},
		{"flag nobody knows", in("scheduler = \"rr\"\nflags = [\"flag-4\"]"),
			`f:6: service[0].flags[0]: scheduler rr has no flag "flag-4"; did you mean flag-1?`},
		{"method nobody knows", in(`method = "masq"`),
			`f:5: service[0].method: unknown method "masq"; did you mean nat?`},
		{"persistence too long", in(`persistence_timeout = "800h"`),
			`f:5: service[0].persistence_timeout: 800h is out of range; give 1s to 744h (31 days)`},
		{"granularity without persistence", in(`persistence_granularity = 24`),
			`f:5: service[0].persistence_granularity: means nothing without persistence_timeout; add that or ` +
				`remove this`},
		{"granularity out of range", in("persistence_timeout = 60\npersistence_granularity = 33"),
			`f:6: service[0].persistence_granularity: not a mask of clients' addresses; give a prefix length ` +
				`from 1 to 32 or a mask like "255.255.255.0"`},
		{"granularity that is no address", in("persistence_timeout = 60\npersistence_granularity = \"255.0.256.0\""),
			`f:6: service[0].persistence_granularity: not a mask of clients' addresses; give a prefix length ` +
				`from 1 to 32 or a mask like "255.255.255.0"`},
		{"one_packet over tcp", in(`one_packet = true`),
			`f:5: service[0].one_packet: only udp has services without sessions; remove it or give protocol = ` +
				`"udp"`},
		{"tunnel_type without tun", in(`tunnel_type = "ipip"`),
			`f:5: service[0].tunnel_type: means nothing with method dr; remove it or give method = "tun"`},
		{"keepalived's words", in("lb_algo = \"rr\"\nlb_kind = \"DR\""),
			`f:5: service[0].lb_algo: unknown key; did you mean scheduler?` + "\n" +
				`f:6: service[0].lb_kind: unknown key; did you mean method?`},
		{"keys of others", in("persistence_engine = \"sip\""),
			`f:5: service[0].persistence_engine: ulvs has none; remove it`},
		{"service twice", service + "[[service]]\nvip = \"192.0.2.10:80\"\n",
			`f:5: service[1]: service tcp 192.0.2.10:80 is given twice; the first one is on line 3, remove one`},
	})
}

func TestComplaintsAboutRealServers(t *testing.T) {
	expectComplaints(t, []complaint{
		{"no address", service + real("weight = 1"),
			`f:5: service[0].real_server[0].address: missing; give an address like "192.0.2.21:80"; without ` +
				`port it takes the service's`},
		{"bad address", service + real(`address = "10.0.0:80"`),
			`f:6: service[0].real_server[0].address: "10.0.0" is no IP address; give an address like ` +
				`"192.0.2.21:80"; without port it takes the service's`},
		{"loopback", service + real(`address = "127.0.0.1:80"`),
			`f:6: service[0].real_server[0].address: 127.0.0.1 is a loopback address, which never leaves this ` +
				`machine; give an address like "192.0.2.21:80"; without port it takes the service's`},
		{"the VIP itself", service + real(`address = "192.0.2.10"`),
			`f:6: service[0].real_server[0].address: 192.0.2.10 is the VIP itself; give the real server's own ` +
				`address`},
		{"port mapping by dr", service + real(`address = "10.0.0.1:8080"`),
			`f:6: service[0].real_server[0].address: method dr cannot map port 80 to 8080; give port 80 or ` +
				`method = "nat"`},
		{"port mapping by tun", service + real(`address = "10.0.0.1:8080"`, `method = "tun"`),
			`f:6: service[0].real_server[0].address: method tun cannot map port 80 to 8080; give port 80 or ` +
				`method = "nat"`},
		{"port 0 by nat", nat + real(`address = "10.0.0.1:0"`),
			`f:7: service[0].real_server[0].address: port 0 is no port to send to; give one, or none for the ` +
				`service's port 80`},
		{"families mixed by dr", service + real(`address = "2001:db8::21"`),
			`f:6: service[0].real_server[0].address: method dr cannot reach 2001:db8::21 from VIP 192.0.2.10; ` +
				`give an address of the same family or method = "tun"`},
		{"families mixed by nat", nat + real(`address = "[2001:db8::21]:80"`),
			`f:7: service[0].real_server[0].address: method nat cannot reach 2001:db8::21 from VIP 192.0.2.10; ` +
				`give an address of the same family or method = "tun"`},
		{"weight negative", service + real(`address = "10.0.0.1"`, "weight = -1"),
			`f:7: service[0].real_server[0].weight: -1 is out of range; give 0 to 2147483647`},
		{"weight too large", service + real(`address = "10.0.0.1"`, "weight = 2147483648"),
			`f:7: service[0].real_server[0].weight: 2147483648 is out of range; give 0 to 2147483647`},
		{"thresholds crossed", service + real(`address = "10.0.0.1"`, "upper_threshold = 5", "lower_threshold = 6"),
			`f:8: service[0].real_server[0].lower_threshold: 6 is above the upper_threshold 5; give a lower one`},
		{"unknown key", service + real(`adress = "10.0.0.1"`),
			`f:5: service[0].real_server[0].address: missing; give an address like "192.0.2.21:80"; without ` +
				`port it takes the service's` + "\n" +
				`f:6: service[0].real_server[0].adress: unknown key; did you mean address?`},
		{"real server twice", service + real(`address = "10.0.0.1"`) + real(`address = "10.0.0.1:80"`),
			`f:7: service[0].real_server[1]: real server 10.0.0.1:80 is given twice; the first one is on line ` +
				`5, remove one`},
		{"real_server is a string", service + "real_server = \"10.0.0.1\"\n",
			`f:5: service[0].real_server: "10.0.0.1" is a string; give tables: [[service.real_server]]`},
		{"inline tables", "service = [\n { vip = \"192.0.2.10:80\" },\n { vip = \"x\" },\n]\n" + node,
			`f:3: service[1].vip: "x" is no IP address; give an address with port like "192.0.2.10:80" or ` +
				`"[2001:db8::10]:80"`},
	})
}
