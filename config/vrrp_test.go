package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"ulvs/ha"
)

const vrrpHead = "[node]\ninterfaces = [\"eth0\"]\n"

func vrrpOf(t *testing.T, text string) Takeover {
	t.Helper()
	c, err := Parse("f", []byte(vrrpHead+text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Takeover
}

// The source document's instances.
func TestAnInstanceOfTheSourceDocument(t *testing.T) {
	v := vrrpOf(t, `[[vrrp]]
name = "VI_1"
interface = "eth0"
state = "MASTER"
virtual_router_id = 51
priority = 100
advert_int = 5
auth_pass = "1111"
preempt_delay = 200
vips = ["192.168.1.8"]
`).Instances[0]
	want := ha.Instance{Name: "VI_1", Interface: "eth0", Version: 2, VRID: 51, Priority: 100, AdvertInt: 5 * time.Second,
		VIPs: []netip.Addr{netip.MustParseAddr("192.168.1.8")}, Auth: ha.AuthPass, Password: [8]byte{'1', '1', '1', '1'},
		InitialMaster: true, PreemptDelay: 200 * time.Second, DownAdverts: 3, GARPDelay: 5 * time.Second, GARPRepeat: 5,
		GARPLowerRepeat: 5, GARPRefresh: time.Minute}
	if !reflect.DeepEqual(v.Instance, want) {
		t.Errorf("\n got %+v\nwant %+v", v.Instance, want)
	}
}

func TestTheVersionFollowsFromTheIntervalAndTheFamily(t *testing.T) {
	for _, c := range []struct {
		text string
		want uint8
	}{
		{"", 2}, {"advert_int = 1", 2}, {`advert_int = "100ms"`, 3}, {"version = 3", 3},
		{`vips = ["2001:db8::1"]`, 3}, {`vips = ["192.0.2.1"]`, 2},
	} {
		v := vrrpOf(t, "[[vrrp]]\nname = \"a\"\ninterface = \"eth0\"\nvirtual_router_id = 1\n"+c.text+"\n")
		if got := v.Instances[0].Version; got != c.want {
			t.Errorf("%q: version %d, want %d", c.text, got, c.want)
		}
	}
}

func TestGroupsComeFirstAndKeepTheirOrder(t *testing.T) {
	all := vrrpOf(t, `[[vrrp]]
name = "a"
interface = "eth0"
virtual_router_id = 1
[[vrrp]]
name = "b"
interface = "eth0"
virtual_router_id = 2
[[vrrp]]
name = "c"
interface = "eth0"
virtual_router_id = 3
[[vrrp_sync_group]]
name = "G"
group = ["c", "a"]
`)
	var got []string
	for _, u := range all.Units() {
		for _, i := range u.Instances {
			got = append(got, u.Name+"/"+i.Name)
		}
	}
	if want := "G/c G/a b/b"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestTracksTakeTheWeightOfWhatTheyName(t *testing.T) {
	v := vrrpOf(t, `[[track_script]]
name = "s"
script = "/bin/true"
weight = -20
[[vrrp]]
name = "a"
interface = "eth0"
virtual_router_id = 1
track_script = ["s", { name = "s", weight = 5 }]
track_interface = ["eth1", { name = "eth2", weight = 7 }]
`).Instances[0]
	if want := []Track{{"s", -20}, {"s", 5}}; !reflect.DeepEqual(v.Scripts, want) {
		t.Errorf("scripts %v, want %v", v.Scripts, want)
	}
	if want := []Track{{"eth1", 0}, {"eth2", 7}}; !reflect.DeepEqual(v.Interfaces, want) {
		t.Errorf("interfaces %v, want %v", v.Interfaces, want)
	}
}

func TestComplaintsAboutVRRP(t *testing.T) {
	const ok = "[[vrrp]]\nname = \"a\"\ninterface = \"eth0\"\nvirtual_router_id = 1\n"
	for _, c := range []struct{ name, text, want string }{
		{"no id", "[[vrrp]]\nname = \"a\"\ninterface = \"eth0\"\n", "f:3: vrrp[0].virtual_router_id: missing; give 1 to 255"},
		{"id", ok + "priority = 256\n", "priority: 256 is out of range; give 1 to 255"},
		{"no interface", "[[vrrp]]\nname = \"a\"\nvirtual_router_id = 1\n", `vrrp[0].interface: "" is no interface name`},
		{"twice the name", ok + strings.Replace(ok, "= 1", "= 2", 1), `vrrp[1].name: "a" is given twice`},
		{"twice the id", ok + strings.Replace(ok, `"a"`, `"b"`, 1), `vrrp[1].virtual_router_id: 1 is "a"'s on eth0`},
		{"twice a VIP", ok + "vips = [\"192.0.2.1\", \"192.0.2.1/24\"]\n", "192.0.2.1 is given twice"},
		{"no VIP", ok + "vips = [\"192.0.2\"]\n", `"192.0.2" is no address`},
		{"two families", ok + "vips = [\"192.0.2.1\", \"2001:db8::1\"]\nmcast_src_ip = \"192.0.2.2\"\n", "vips_excluded"},
		{"long password", ok + "auth_pass = \"123456789\"\n", "give 1 to 8"},
		{"password in 3", ok + "version = 3\nauth_pass = \"1\"\n", "version 3 has none"},
		{"fast in 2", ok + "version = 2\nadvert_int = \"100ms\"\n", "whole seconds"},
		{"unknown script", ok + "track_script = [\"x\"]\n", `there is no "x"`},
		{"unknown member", ok + "[[vrrp_sync_group]]\nname = \"G\"\ngroup = [\"b\"]\n", `there is no [[vrrp]] "b"`},
		{"two groups", ok + "[[vrrp_sync_group]]\nname = \"G\"\ngroup = [\"a\"]\n[[vrrp_sync_group]]\nname = \"H\"\n" +
			"group = [\"a\"]\n", `"a" is in "G" already`},
		{"relative script", "[[track_script]]\nname = \"s\"\nscript = \"check\"\n", "no program"},
		{"no script", "[[track_script]]\nname = \"s\"\n", "track_script[0].script: missing"},
		{"unicast source", ok + "unicast_src_ip = \"192.0.2.2\"\n", "means nothing without unicast_peer"},
		{"unknown key", ok + "authentication = 1\n", "unknown key"},
	} {
		_, err := Parse("f", []byte(vrrpHead+c.text), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", c.name, err, c.want)
		}
	}
}

func TestAVirtualMACIsOfVIPsThatTheKernelDoesNotHold(t *testing.T) {
	const vrrp = "[[vrrp]]\nname = \"a\"\ninterface = \"eth0\"\nvirtual_router_id = 51\nvips = [\"192.0.2.1\"]\n" +
		"use_vmac = true\n"
	c, err := Parse("f", []byte(vrrpHead+vrrp), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if i := c.Takeover.Instances[0]; !i.UseVMAC || i.VirtualMAC().String() != "00:00:5e:00:01:33" {
		t.Errorf("%+v at %s", i.Instance, i.VirtualMAC())
	}
	_, err = Parse("f", []byte(vrrpHead+"vip_mode = \"netlink\"\n"+vrrp), Options{})
	if err == nil || !strings.Contains(err.Error(), `vrrp[0].use_vmac: needs vip_mode = "user"`) {
		t.Errorf("got %v", err)
	}
}

func TestAQuorumNeedsThreeDirectors(t *testing.T) {
	quorum := strings.Replace(oneInstance, "vips =", "mode = \"quorum\"\ngateway = [\"192.0.2.1\"]\nvips =", 1)
	sync := "[sync]\ninterface = \"eth1\"\ninsecure = true\npeers = "
	c, err := Parse("f", []byte(node+quorum+sync+"[\"10.9.0.2\", \"10.9.0.3\"]\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if u := c.Takeover.Units()[0]; !u.Quorum || !u.Gateway || !c.Takeover.Instances[0].Quorum {
		t.Errorf("read as %+v", u)
	}
	other := strings.NewReplacer("VI_1", "VI_2", "51", "52", "192.0.2.10", "192.0.2.20").Replace(oneInstance)
	group := "[[vrrp_sync_group]]\nname = \"G\"\ngroup = [\"VI_1\", \"VI_2\"]\n"
	for _, bad := range []struct{ text, want string }{
		{quorum + sync + "[\"10.9.0.2\"]\n", "a majority needs 3 directors, and [sync] names 1"},
		{quorum, "a majority needs 3 directors"},
		{strings.Replace(quorum, "quorum", "majority", 1), "unknown word"},
		{strings.Replace(quorum, "192.0.2.1\"", "gw\"", 1), "no address"},
		{quorum + other + group + sync + "[\"10.9.0.2\", \"10.9.0.3\"]\n", "different modes"},
	} {
		if _, err := Parse("f", []byte(node+bad.text), Options{}); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s\n%v, want %q", bad.text, err, bad.want)
		}
	}
}
