package appliance

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ulvs/config"
)

func TestWordsAreDividedAsTheKernelDoes(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                    nil,
		"root=/dev/sda2 ro quiet":             nil,
		"ro ulvs.a=1  ulvs.b\tulvs.c=2\n":     {"a=1", "b", "c=2"},
		`ulvs.k="x y" z`:                      {"k=x y"},
		`"ulvs.k=x y" ulvs.l=""`:              {"k=x y", "l="},
		`ulvs.k="never ends ulvs.l=1`:         {"k=never ends ulvs.l=1"},
		"# ulvs.a=1":                          {"a=1"}, // a command line has no comments
		"xulvs.a=1 ulvs. " + Prefix + "b=c=d": {"", "b=c=d"},
	} {
		if got := Words(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	got := FileWords("# ulvs.a=1\n ulvs.b=2 ulvs.c=3\n  # ulvs.d\nulvs.e")
	if !slices.Equal(got, []string{"b=2", "c=3", "e"}) {
		t.Errorf("of a file: %q", got)
	}
}

func base64Of(text string) string { return "base64:" + base64.StdEncoding.EncodeToString([]byte(text)) }

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return base64Of(b.String())
}

func TestWordsThatAreWrongAreAllNamed(t *testing.T) {
	for words, want := range map[string]string{
		"nonsense=1":                           "ulvs.nonsense: no such word",
		"hostname=":                            "ulvs.hostname=: want letters",
		"hostname=-a":                          "want letters",
		"hostname=" + strings.Repeat("a.", 60): "want letters",
		"address=eth0":                         "want INTERFACE:ADDRESS/LENGTH",
		"address=eth0:10.0.0.1":                "want an address with its network's length",
		"address=eth0:224.0.0.1/24":            "want an address with its network's length",
		"address=../x:10.0.0.1/24":             "want an interface such as eth0",
		"address=abcdefghijklmnop:dhcp":        "want an interface such as eth0",
		"gateway=10.0.0.1,x":                   `"x": want an address`,
		"gateway=fe80::1%eth0":                 "want an address",
		"interfaces=eth0,":                     "want an interface",
		"vip=10.0.0.9:80":                      "want VIP:PORT",
		"vip=10.0.0.9:80,dr":                   "want VIP:PORT",
		"vip=10.0.0.9:80,10.0.0.1":             "want VIP:PORT",
		"vip=10.0.0.9,dr,10.0.0.1":             "want VIP:PORT",
		"vip=10.0.0.9:80,dr,10.0.0.1,10.0.0":   `"10.0.0" is no real server`,
		"config=/etc/x":                        "want base64:TEXT",
		"config=ftp://a/b":                     "want base64:TEXT",
		"config=base64:...":                    "no base64",
		"config=base64:H4sIAAAA":               "unpack it",
		"config=" + zipped(strings.Repeat("#", MaxConfig+1)): "unpack it: more than",
		"password-hash=secret":                               "a password itself is not taken",
		"ssh-key=AAAA":                                       "want a public key",
		"ask=maybe":                                          "want yes or no",
	} {
		if _, err := Parse([]string{words}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", words, err, want)
		}
	}
	_, err := Parse([]string{"hostname=_", "ask=", "vip=10.0.0.9:80,dr,10.0.0.1", "config=http://a/b"})
	for _, want := range []string{"ulvs.hostname", "ulvs.ask", "one or the other"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not name %s", err, want)
		}
	}
}

// twoNICs are a machine's.
var twoNICs = []NIC{{Name: "eth0", MAC: "52:54:00:00:00:01"}, {Name: "eth1", MAC: "52:54:00:00:00:02"}}

// filesOf returns the files of words by name, on a machine with twoNICs.
func filesOf(t *testing.T, line string) map[string]string {
	t.Helper()
	s, err := Parse(Words(line))
	if err != nil {
		t.Fatal(err)
	}
	files, err := s.Files(twoNICs, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for _, f := range files {
		byName[f.Name] = strings.TrimPrefix(f.Text, header)
	}
	return byName
}

func TestWordsBecomeFiles(t *testing.T) {
	got := filesOf(t, `ro ulvs.hostname=lvs1.example.com ulvs.address=eth0:192.168.1.2/24 ulvs.address=eth0:2001:db8::2/64
		ulvs.gateway=192.168.1.1,2001:db8::1 ulvs.address=52-54-00-00-00-02:dhcp ulvs.dns=192.168.1.53
		ulvs.vip=192.168.1.8:80,dr,rr,192.168.1.16,192.168.1.17 ulvs.vip=[2001:db8::8]:53/udp,nat,[2001:db8::16]:5353
		"ulvs.ssh-key=ssh-ed25519 AAAA me"`)
	want := map[string]string{
		"etc/hostname":    "lvs1.example.com\n",
		"etc/hosts":       "127.0.0.1 localhost\n127.0.1.1 lvs1.example.com lvs1\n::1 localhost ip6-localhost\n",
		"etc/resolv.conf": "nameserver 192.168.1.53\n",
		"etc/systemd/network/10-ulvs-eth0.network": "[Match]\nName=eth0\n\n[Network]\nAddress=192.168.1.2/24\n" +
			"Gateway=192.168.1.1\nAddress=2001:db8::2/64\nGateway=2001:db8::1\n",
		"etc/systemd/network/10-ulvs-eth1.network": "[Match]\nName=eth1\n\n[Network]\nDHCP=yes\n",
		"root/.ssh/authorized_keys":                "ssh-ed25519 AAAA me\n",
		ConfigFile: `
[node]
interfaces = ["eth0", "eth1"]

[[service]]
vip = "192.168.1.8:80"
protocol = "tcp"
method = "dr"
scheduler = "rr"

  [[service.real_server]]
  address = "192.168.1.16"

  [[service.real_server]]
  address = "192.168.1.17"

[[service]]
vip = "[2001:db8::8]:53"
protocol = "udp"
method = "nat"

  [[service.real_server]]
  address = "[2001:db8::16]:5353"
`,
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d: %v", len(got), len(want), got)
	}
}

func TestAnInterfaceWithoutAnAddressIsPutUp(t *testing.T) {
	got := filesOf(t, "ulvs.address=eth0:10.0.0.2/24 ulvs.interfaces=eth1")
	if text := got["etc/systemd/network/10-ulvs-eth1.network"]; !strings.Contains(text, "RequiredForOnline=no") {
		t.Errorf("eth1: %s", text)
	}
	if text := got["etc/systemd/network/10-ulvs-eth0.network"]; strings.Contains(text, "RequiredForOnline") || text == "" {
		t.Errorf("eth0: %s", text)
	}
}

func TestAConfigurationComesWhole(t *testing.T) {
	text := "[node]\ninterfaces = [\"eth0\"] # mine\n"
	for _, word := range []string{base64Of(text), zipped(text)} {
		if got := filesOf(t, "ulvs.config="+word); !reflect.DeepEqual(got, map[string]string{ConfigFile: text}) {
			t.Errorf("%.20s: %v", word, got)
		}
	}
	if got := filesOf(t, "ulvs.config=http://10.0.0.1/lvs1.toml"); got[URLFile] != "http://10.0.0.1/lvs1.toml\n" {
		t.Errorf("by URL: %v", got)
	}
}

func TestWhatCannotBeIsNamed(t *testing.T) {
	for line, want := range map[string]string{
		"ulvs.address=eth7:dhcp":                                     "no interface eth7 on this machine; it has eth0, eth1",
		"ulvs.interfaces=52-54-00-00-00-09":                          "no interface 52-54-00-00-00-09",
		"ulvs.vip=10.0.0.9:80,dr,10.0.0.1":                           "a VIP needs an interface",
		"ulvs.interfaces=eth0 ulvs.vip=10.0.0.9:80,dr,wlcc,10.0.0.1": `unknown scheduler "wlcc"`,
		"ulvs.config=" + base64Of("nonsense = 1"):                    "unknown key",
	} {
		s, err := Parse(Words(line))
		if err == nil {
			_, err = s.Files(twoNICs, config.Options{})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// Whatever the words are, files stay where they belong, and no value becomes a line of its own.
func FuzzWordsBecomeFiles(f *testing.F) {
	f.Add("ulvs.hostname=a ulvs.address=eth0:10.0.0.2/24 ulvs.gateway=10.0.0.1 ulvs.vip=10.0.0.9:80,dr,rr,10.0.0.3")
	f.Add(`"ulvs.ssh-key=ssh-ed25519 AAAA x y" ulvs.config=http://a/b ulvs.dns=::1 ulvs.interfaces=eth0,52-54-00-00-00-02`)
	f.Add("ulvs.config=" + zipped("[node]\ninterfaces=[\"eth0\"]") + " ulvs.password-hash=$6$salt$0123456789 ulvs.ask=no")
	f.Add("ulvs.vip=[2001:db8::8]:53/udp,nat,[2001:db8::16]:5353 ulvs.address=eth1:dhcp")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := Parse(FileWords(line))
		if err != nil {
			return
		}
		files, err := s.Files(twoNICs, config.Options{})
		if err != nil {
			return
		}
		for _, file := range files {
			judge(t, file)
		}
	})
}

var places = []string{"etc/hostname", "etc/hosts", "etc/resolv.conf", "root/.ssh/authorized_keys", URLFile, ConfigFile,
	"etc/systemd/network/10-ulvs-eth0.network", "etc/systemd/network/10-ulvs-eth1.network"}

func judge(t *testing.T, f File) {
	t.Helper()
	if !slices.Contains(places, f.Name) {
		t.Errorf("a file in the wrong place: %q", f.Name)
	}
	if f.Name == ConfigFile {
		return // judged by config
	}
	for line := range strings.Lines(f.Text) {
		known := false
		for _, begin := range []string{"#", "[", "\n", "Name=", "Address=", "Gateway=", "DHCP=yes\n",
			"RequiredForOnline=no\n"} {
			known = known || strings.HasPrefix(line, begin)
		}
		if !known && strings.HasPrefix(f.Name, "etc/systemd") || strings.ContainsAny(line, "\x00\r") {
			t.Errorf("%s: %q", f.Name, line)
		}
	}
}
