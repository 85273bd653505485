package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"ulvs/events"
)

const sightHead = "[node]\ninterfaces = [\"eth0\"]\n"

func TestWhatShowsAndTells(t *testing.T) {
	c, err := Parse("f", []byte(sightHead+`
[metrics]
listen = "[::1]:9101"
[dashboard]
listen = "127.0.0.1:9102"
hosts = ["lvs1.example.com"]
[[notify]]
script = "/bin/notify -v"
[[notify]]
webhook = "https://a.example/b?c=d"
events = ["server_up"]
service = ":80"
timeout = "500ms"
retries = 0
headers = { X-A = "b" }
secret_file = "/k"
`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Notify{
		{Script: []string{"/bin/notify", "-v"}, Timeout: 10 * time.Second, Retries: 3},
		{Webhook: "https://a.example/b?c=d", Events: []events.Kind{events.ServerUp}, Service: ":80",
			Timeout: 500 * time.Millisecond, Headers: map[string]string{"X-A": "b"}, SecretFile: "/k"},
	}
	if got := c.Notifies(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got, want := c.Metrics(), (Metrics{netip.MustParseAddrPort("[::1]:9101"), 10000}); got != want {
		t.Errorf("got %+v", got)
	}
	d := Dashboard{netip.MustParseAddrPort("127.0.0.1:9102"), []string{"lvs1.example.com"}}
	if got := c.Dashboard(); !reflect.DeepEqual(got, d) {
		t.Errorf("got %+v", got)
	}
}

func TestNothingShowsUnlessAsked(t *testing.T) {
	c, err := Parse("f", []byte(sightHead), Options{})
	if err != nil || c.Metrics().Listen.IsValid() || c.Dashboard().Listen.IsValid() || len(c.Notifies()) != 0 {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestWrongSightIsRefusedWithWhatIsRight(t *testing.T) {
	many := strings.Repeat("[[notify]]\nscript = \"/a\"\n", MaxNotifies+1)
	const script, webhook = "[[notify]]\nscript = \"/a\"\n", "[[notify]]\nwebhook = \"http://a\"\n"
	for _, c := range []struct{ text, want string }{
		{"[metrics]\nlisten = \":9101\"",
			`f:4: metrics.listen: ":9101" is no address with a port; give an address`},
		{"[metrics]\nlisten = \"0.0.0.0:1\"", "metrics.listen: 0.0.0.0:1 is every address of this host"},
		{"[metrics]\nlisten = \"127.0.0.1:0\"", "is no address with a port"},
		{"[metrics]\nreal_servers = -1", "metrics.real_servers: -1 is out of range"},
		{"[dashboard]\nhosts = [\"http://a\"]", `f:4: dashboard.hosts[0]: "http://a" is no host name`},
		{"[dashboard]\nhost = 1", "did you mean hosts?"},
		{"[[notify]]", "notify[0]: give a script or a webhook, one of them"},
		{script + "webhook = \"b\"", "give a script or a webhook, one of them"},
		{"[[notify]]\nscript = \"a\"", "notify[0].script: no program"},
		{script + "headers = {}", "secret_file and headers are for a webhook"},
		{"[[notify]]\nwebhook = \"ftp://a/\"", `notify[0].webhook: "ftp://a/" is no URL`},
		{"[[notify]]\nwebhook = \"https://a:b@c/\"", "a password in a URL ends in logs"},
		{script + "timeout = 0", "notify[0].timeout: 0s is out of range"},
		{script + "retries = 11", "notify[0].retries: 11 is out of range; give 0 to 10"},
		{script + "events = [\"serverup\"]", `unknown kind "serverup"; did you mean server_up?`},
		{script + "events = [\"server_up\", \"server_up\"]", "server_up is given twice"},
		{webhook + "headers = { \"a b\" = \"c\" }", "no header of HTTP"},
		{webhook + "headers = { a = \"b\\r\\nc\" }", "no header of HTTP"},
		{webhook + "secret_file = \"a\"", "is not an absolute path"},
		{many, fmt.Sprintf("%d tables; give up to %d", MaxNotifies+1, MaxNotifies)},
		{"[metrics]\nlisten = \"127.0.0.1:1\"\n[dashboard]\nlisten = \"127.0.0.1:1\"",
			"127.0.0.1:1 is that of [metrics]"},
	} {
		_, err := Parse("f", []byte(sightHead+c.text), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestSavingKeepsWhatShowsAndTells(t *testing.T) {
	text := sightHead + "[[notify]]\nscript = \"/a\"\n\n[dashboard]\nlisten = \"127.0.0.1:1\"\n"
	c, err := Parse("f", []byte(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := c.State()
	want.Timeouts.UDP = time.Minute
	out, err := Merge("f", []byte(text), want)
	if err != nil || !strings.Contains(string(out), "[[notify]]\nscript = \"/a\"\n") ||
		!strings.Contains(string(out), "[dashboard]\nlisten = \"127.0.0.1:1\"") {
		t.Errorf("got %s, %v", out, err)
	}
}
