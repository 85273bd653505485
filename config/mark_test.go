package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"ulvs/lvs"
)

func TestMarksAreReadInTheOrderOfTheFile(t *testing.T) {
	c := mustParse(t, node+`
[[mark]]
mark = 7
interface = "eth0"
source = "10.0.0.0/8"
destination = "192.0.2.10"
protocol = "tcp"
ports = "5000-5100"
[[mark]]
mark = 4294967295
destination = "2001:db8::/32"
protocol = "udp"
ports = 53
[[mark]]
mark = 1
protocol = "icmpv6"
`)
	want := []Mark{
		{Mark: 7, Interface: "eth0", Source: netip.MustParsePrefix("10.0.0.0/8"),
			Destination: netip.MustParsePrefix("192.0.2.10/32"), Protocol: lvs.ProtoTCP, Ports: [2]uint16{5000, 5100}},
		{Mark: 1<<32 - 1, Destination: netip.MustParsePrefix("2001:db8::/32"), Protocol: lvs.ProtoUDP,
			Ports: [2]uint16{53, 53}},
		{Mark: 1, Protocol: 58},
	}
	if got := c.Marks(); !reflect.DeepEqual(got, want) {
		t.Errorf("marks\n got %+v\nwant %+v", got, want)
	}
}

func TestAServiceOfAMarkHasNoAddress(t *testing.T) {
	c := mustParse(t, node+`
[[service]]
mark = 7
persistence_timeout = "6m"
  [[service.real_server]]
  address = "10.0.0.1"
  [[service.real_server]]
  address = "10.0.0.2:8080"
[[service]]
mark = 7
family = "ipv6"
one_packet = true
method = "tun"
tunnel_type = "gue"
tunnel_port = 6080
tunnel_checksum = "remcsum"
  [[service.real_server]]
  address = "10.0.0.1"
  [[service.real_server]]
  address = "2001:db8::2"
  tunnel_type = "gre"
  [[service.real_server]]
  address = "2001:db8::3"
  tunnel_port = 7000
  [[service.real_server]]
  address = "2001:db8::4"
  method = "nat"
`)
	v4 := lvs.ServiceKey{Addr: netip.IPv4Unspecified(), Mark: 7}
	v6 := lvs.ServiceKey{Addr: netip.IPv6Unspecified(), Mark: 7}
	gue := lvs.Tunnel{Type: lvs.TunnelGUE, Port: 6080, Checksum: lvs.TunnelRemoteChecksum}
	other := gue
	other.Port = 7000
	want := []lvs.Service{
		{Key: v4, Scheduler: "wlc", Persistence: 6 * time.Minute, Destinations: []lvs.Destination{
			{Addr: netip.MustParseAddr("10.0.0.2"), Port: 8080, Weight: 1},
			{Addr: netip.MustParseAddr("10.0.0.1"), Weight: 1},
		}},
		{Key: v6, Scheduler: "wlc", OnePacket: true, Destinations: []lvs.Destination{
			{Addr: netip.MustParseAddr("2001:db8::4"), Method: lvs.MethodNAT, Weight: 1},
			{Addr: netip.MustParseAddr("2001:db8::3"), Method: lvs.MethodTUN, Weight: 1, Tunnel: other},
			{Addr: netip.MustParseAddr("2001:db8::2"), Method: lvs.MethodTUN, Weight: 1,
				Tunnel: lvs.Tunnel{Type: lvs.TunnelGRE}},
			{Addr: netip.MustParseAddr("10.0.0.1"), Method: lvs.MethodTUN, Weight: 1, Tunnel: gue},
		}},
	}
	if got := c.Services(); !reflect.DeepEqual(got, want) {
		t.Errorf("services\n got %+v\nwant %+v", got, want)
	}
	if _, err := lvs.Build(nil, c.Services()); err != nil {
		t.Error(err)
	}
}

func TestSettingsAreAKernelsWhereTheFileSaysNothing(t *testing.T) {
	want := lvs.DefaultSettings()
	if got := mustParse(t, node).Settings; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want.DropEntry, want.SloppyTCP, want.PMTUDisc, want.ConnReuseMode = 2, 1, 0, 0
	got := mustParse(t, node+"[settings]\ndrop_entry = 2\nsloppy_tcp = true\npmtu_disc = false\nconn_reuse_mode = 0\n")
	if got.Settings != want {
		t.Errorf("got %+v, want %+v", got.Settings, want)
	}
}

func TestProtocolSCTPIsAServicesToo(t *testing.T) {
	c := mustParse(t, service+"protocol = \"sctp\"\n")
	if got := c.Services()[0].Key.Proto; got != lvs.ProtoSCTP {
		t.Errorf("got %d", got)
	}
}

func TestComplaintsAboutSettings(t *testing.T) {
	in := func(line string) string { return node + "[settings]\n" + line + "\n" }
	expectComplaints(t, []complaint{
		{"unknown", in("sloppy_tpc = 1"), `f:4: settings.sloppy_tpc: unknown key; did you mean sloppy_tcp?`},
		{"a level that is none", in("drop_entry = 4"),
			`f:4: settings.drop_entry: 4 is out of range; give a number from 0 to 3`},
		{"a level that is no number", in("drop_entry = true"),
			`f:4: settings.drop_entry: true is true or false; give a number from 0 to 3`},
		{"neither on nor off", in("sloppy_tcp = 2"),
			`f:4: settings.sloppy_tcp: 2 is out of range; give true, false, 1 or 0`},
		{"a word", in(`sloppy_tcp = "on"`),
			`f:4: settings.sloppy_tcp: "on" is a string; give true, false, 1 or 0`},
	})
}

func TestComplaintsAboutMarks(t *testing.T) {
	in := func(line string) string { return node + "[[mark]]\nmark = 1\n" + line + "\n" }
	expectComplaints(t, []complaint{
		{"no mark", node + "[[mark]]\nprotocol = \"tcp\"\n",
			`f:3: mark[0].mark: missing; give the mark of the packets that match: mark = 1`},
		{"mark 0", node + "[[mark]]\nmark = 0\n", `f:4: mark[0].mark: 0 is out of range; give 1 to 4294967295`},
		{"an interface that is not served", in(`interface = "eth1"`),
			`f:5: mark[0].interface: "eth1" is none of node.interfaces; did you mean eth0?`},
		{"no network", in(`source = "lan"`),
			`f:5: mark[0].source: "lan" is no network; give a network like "192.0.2.0/24" or an address`},
		{"bits behind the prefix", in(`source = "10.0.0.1/8"`),
			`f:5: mark[0].source: 10.0.0.1/8 has bits behind the prefix; give 10.0.0.0/8`},
		{"families mixed", in("source = \"10.0.0.0/8\"\ndestination = \"::/0\""),
			`f:6: mark[0].destination: ::/0 is not of the family of source 10.0.0.0/8; no packet is of both`},
		{"ports of everything", in(`ports = "80"`),
			`f:5: mark[0].ports: only tcp, udp and sctp have ports; give one of them as protocol`},
		{"ports backwards", in("protocol = \"tcp\"\nports = \"90-80\""),
			`f:6: mark[0].ports: "90-80" ends before it begins; give a port like "80" or a range like "5000-5100"`},
		{"port 0", in("protocol = \"tcp\"\nports = 0"),
			`f:6: mark[0].ports: "0" is no port from 1 to 65535; give a port like "80" or a range like "5000-5100"`},
		{"a slip", in("dest = \"10.0.0.1\""), `f:5: mark[0].dest: unknown key; known: mark, interface, source, ` +
			`destination, protocol, ports`},
		{"too many", node + strings.Repeat("[[mark]]\nmark = 1\n", MaxMarks+1),
			`f:3: mark: 1025 rules; give up to 1024: every frame is compared with all of them`},
	})
}

func TestComplaintsAboutServicesOfMarks(t *testing.T) {
	in := func(lines ...string) string {
		return node + "[[service]]\nmark = 7\n" + strings.Join(lines, "\n") + "\n"
	}
	expectComplaints(t, []complaint{
		{"a vip besides", in(`vip = "192.0.2.10:80"`), `f:5: service[0].vip: means nothing with mark: the [[mark]] ` +
			`rules choose the packets; remove one of them`},
		{"a protocol besides", in(`protocol = "tcp"`), `f:5: service[0].protocol: means nothing with mark: the ` +
			`[[mark]] rules choose the packets; remove one of them`},
		{"a family without", service + "family = \"ipv6\"\n",
			`f:5: service[0].family: means nothing without mark: the vip tells; remove it`},
		{"keepalived's word", service + "fwmark = 3\n", `f:5: service[0].fwmark: unknown key; did you mean mark?`},
		{"mark twice", in("[[service]]", "mark = 7"),
			`f:5: service[1]: service fwm 7 is given twice; the first one is on line 3, remove one`},
		{"other family by dr", in("[[service.real_server]]", `address = "2001:db8::1"`),
			`f:6: service[0].real_server[0].address: method dr cannot reach 2001:db8::1 from VIP 0.0.0.0; give an ` +
				`address of the same family or method = "tun"`},
	})
}

func TestComplaintsAboutTunnels(t *testing.T) {
	in := func(lines ...string) string { return service + "method = \"tun\"\n" + strings.Join(lines, "\n") + "\n" }
	expectComplaints(t, []complaint{
		{"gue without port", in(`tunnel_type = "gue"`), `f:6: service[0].tunnel_type: gue needs the UDP port that the ` +
			`real servers listen on; give tunnel_port = 6080, or theirs`},
		{"unknown type", in(`tunnel_type = "vxlan"`),
			`f:6: service[0].tunnel_type: unknown word "vxlan"; known: ipip, gue, gre`},
		{"a port of gre", in(`tunnel_type = "gre"`, `tunnel_port = 1`), `f:7: service[0].tunnel_port: only gue has a ` +
			`port; remove it or give tunnel_type = "gue"`},
		{"a checksum of ipip", in(`tunnel_checksum = "csum"`), `f:6: service[0].tunnel_checksum: ipip has no checksum; ` +
			`remove it or give tunnel_type = "gue" or "gre"`},
		{"a remote checksum of gre", in(`tunnel_type = "gre"`, `tunnel_checksum = "remcsum"`),
			`f:7: service[0].tunnel_checksum: only gue has a remote checksum; give "none" or "csum"`},
		{"a tunnel of dr", service + "tunnel_port = 1\n", `f:5: service[0].tunnel_port: means nothing with method dr; ` +
			`remove it or give method = "tun"`},
	})
}
