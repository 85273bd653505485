package config

import (
	"strings"
	"testing"

	"ulvs/lvs"
)

const oneInstance = "[[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\nvips = [\"192.0.2.10\"]\n"

func TestIPVSSyncIsReadWithTheKernelsDefaults(t *testing.T) {
	c, err := Parse("f", []byte(node+"[ipvs_sync]\ninterface = \"eth1\"\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &c.IPVSSync
	want := lvs.SyncDaemon{Role: "backup", Interface: "eth1", Group: "224.0.0.81", Port: 8848, TTL: 1}
	if got := s.Daemon(IPVSBackup); !s.On() || s.Role != IPVSBackup || s.Version != 1 || got != want {
		t.Errorf("read as %+v, daemon %+v", s, got)
	}
	follow := node + oneInstance + "[ipvs_sync]\nrole = \"vrrp\"\ninterface = \"eth1\"\nvrrp = \"VI_1\"\n"
	if c, err = Parse("f", []byte(follow), Options{}); err != nil || c.IPVSSync.SyncID != 51 {
		t.Errorf("a role that follows VI_1: %v, sync id %d, want its virtual_router_id", err, c.IPVSSync.SyncID)
	}
	if c, err = Parse("f", []byte(node), Options{}); err != nil || c.IPVSSync.On() {
		t.Errorf("without [ipvs_sync] it is on: %v", err)
	}
}

func TestWrongIPVSSyncIsRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"role = \"backup\"", "ipvs_sync.interface"},
		{"interface = \"eth1\"\nrole = \"slave\"", "unknown word"},
		{"interface = \"eth1\"\nsync_id = 256", "0 to 255"},
		{"interface = \"eth1\"\ngroup = \"192.0.2.1\"", "no multicast group"},
		{"interface = \"eth1\"\nversion = 2", "0 to 1"},
		{"interface = \"eth1\"\nretries = 4", "0 to 3"},
		{"interface = \"eth1\"\nttl = 0", "1 to 255"},
		{"interface = \"eth1\"\nmax_len = 65508", "0 to 65507"},
		{"interface = \"eth1\"\nvrrp = \"VI_1\"", "means nothing with role"},
		{"interface = \"eth1\"\nrole = \"vrrp\"", "ipvs_sync.vrrp"},
		{"interface = \"eth1\"\nrole = \"vrrp\"\nvrrp = \"VI_2\"", `no [[vrrp]] "VI_2"; there is "VI_1"`},
		{"interface = \"eth1\"\nsyncid = 3", "did you mean sync_id?"},
	} {
		_, err := Parse("f", []byte(node+oneInstance+"[ipvs_sync]\n"+c.text+"\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}
