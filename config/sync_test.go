package config

import (
	"strings"
	"testing"
)

func TestSyncIsReadWithItsDefaults(t *testing.T) {
	c, err := Parse("f", []byte(node+`[sync]
interface = "eth1"
key_file = "/etc/ulvs/sync.key"
peers = ["10.9.0.2", "10.9.0.3:9000", "[fd00::2]:1", "fd00::3"]
`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &c.Sync
	if !s.On() || s.Port != DefaultSyncPort || s.Mode != SyncLane || s.Insecure {
		t.Errorf("read as %+v", s)
	}
	want := "[10.9.0.2:8849 10.9.0.3:9000 [fd00::2]:1 [fd00::3]:8849]"
	var got []string
	for _, a := range s.PeerAddrs() {
		got = append(got, a.String())
	}
	if "["+strings.Join(got, " ")+"]" != want {
		t.Errorf("peers are %v, want %s", got, want)
	}
	if none, err := Parse("f", []byte(node), Options{}); err != nil || none.Sync.On() {
		t.Errorf("without [sync] it is on: %v", err)
	}
}

func TestSyncWithoutAKeyIsRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`interface = "eth1"`, "key_file: missing: anybody"},
		{"interface = \"eth1\"\nkey_file = \"sync.key\"", "relative"},
		{"interface = \"eth1\"\nkey_file = \"/k\"\ninsecure = true", "remove one of them"},
		{"interface = \"eth1\"\ninsecure = true\nport = 0", "port"},
		{"interface = \"eth1\"\ninsecure = true\naddress = \"0.0.0.0\"", "not one address"},
		{"interface = \"eth1\"\ninsecure = true\npeers = [\"lvs2\"]", "not the address of a director"},
		{"interface = \"eth1\"\ninsecure = true\nsession_sync = \"multicast\"", "session_sync"},
		{"insecure = true", "interface"},
	} {
		_, err := Parse("f", []byte(node+"[sync]\n"+c.text+"\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := Parse("f", []byte(node+"[sync]\ninterface = \"eth1\"\ninsecure = true\n"), Options{}); err != nil {
		t.Error(err)
	}
}
