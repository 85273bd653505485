package realserver

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValidateNamesEachMistake(t *testing.T) {
	vip := addrs("192.168.1.8")
	for want, c := range map[string]Config{
		`method "": want dr`:           {},
		`method "dnat": want dr`:       {Method: "dnat", VIPs: vip},
		"no VIP: dr":                   {Method: "dr"},
		"no gateway":                   {Method: "nat"},
		"VIP 0.0.0.0":                  {Method: "dr", VIPs: addrs("0.0.0.0")},
		"VIP 127.0.0.1":                {Method: "dr", VIPs: addrs("127.0.0.1")},
		"VIP 224.0.0.18":               {Method: "dr", VIPs: addrs("224.0.0.18")},
		"VIP 255.255.255.255":          {Method: "dr", VIPs: addrs("255.255.255.255")},
		"VIP ::ffff:10.0.0.1":          {Method: "dr", VIPs: addrs("::ffff:10.0.0.1")},
		"VIP fe80::1%e0":               {Method: "dr", VIPs: addrs("fe80::1%e0")},
		"10.1.1.3: the second":         {Method: "nat", Gateways: addrs("10.1.1.2", "10.1.1.3")},
		"gateway 192.168.1.8 is a VIP": {Method: "nat", VIPs: vip, Gateways: vip},
		`decap "gre"`:                  {Method: "tun", VIPs: vip, Decap: "gre"},
		"table 254":                    {Method: "dr", VIPs: vip, Table: 254},
		"table -1":                     {Method: "dr", VIPs: vip, Table: -1},
		"1025 VIPs":                    {Method: "dr", VIPs: addrs(strings.Fields(strings.Repeat("192.168.1.8 ", 1025))...)},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	for name, c := range setups() {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnInterfaceThatIsNotThereIsNamed(t *testing.T) {
	b := newBed(t)
	err := b.ns.Do(func() error {
		_, err := b.host.Setup(Config{Method: "dr", VIPs: addrs("192.168.1.8"), Interface: "eth7"})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), `"eth7"`) {
		t.Errorf("setup = %v", err)
	}
}

func TestADamagedJournalIsRefusedAndNothingUndone(t *testing.T) {
	for i, text := range []string{
		`{`, `[]`, `{"changes":[{"kind":"sysctl","key":"/etc/passwd"}]}`, `{"changes":[{"kind":"route"}]}`,
		`{"changes":[{"kind":"sysctl","key":"/proc/sys/net/ipv4/conf/../ip_forward"}]}`,
		`{"changes":[{"kind":"address","key":"10.0.0.0/8"}]}`, `{"changes":[{"kind":"magic"}]}`,
		`{"configs":[{"method":"dr"}]}`, strings.Repeat(" ", maxFile+1),
	} {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.json", i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (Host{State: path}).Remove("", nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%.60s: %v, want an error that names the file", text, err)
		}
	}
}

// FuzzJournal: no file makes reading panic, and what is taken has parts and can be judged.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"configs":[{"method":"dr","vips":["192.168.1.8"]}],"changes":[{"id":"lo","kind":"up","key":"lo"}]}`))
	f.Add([]byte(`{"changes":[{"id":"r","kind":"route","route":{"dst":"0.0.0.0/0","gateway":"10.1.1.1","table":254}}]}`))
	f.Add([]byte(`{"configs":[{"method":"tun","vips":["::1","2001:db8::1"],"table":-1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var j journal
		if json.Unmarshal(text, &j) != nil || j.validate() != nil {
			return
		}
		for _, c := range j.Configs {
			if len(parts(c)) == 0 {
				t.Errorf("%+v needs nothing", c)
			}
		}
		for i := range j.Changes {
			if r := j.Changes[i].Route; r != nil && r.Dst.IsValid() {
				ipNet(r.Dst)
			}
		}
	})
}
