package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ulvs/events"
)

// Limits and defaults of [metrics], [dashboard] and [[notify]].
const (
	// MaxNotifies bounds the [[notify]] tables: each is a goroutine and at most one process or request.
	MaxNotifies           = 32
	maxNotifyHeaders      = 16
	maxHeaderBytes        = 1024
	maxDashboardHosts     = 64
	defaultNotifyTimeout  = 10 * time.Second
	maxNotifyTimeout      = 5 * time.Minute
	defaultMetricsServers = 10000
)

func spanMetricsServers() span { return span{0, 262144, defaultMetricsServers} }
func spanNotifyRetries() span  { return span{0, 10, 3} }

// Metrics is the [metrics] section.
type Metrics struct {
	Listen netip.AddrPort // invalid: off
	// RealServers bounds the real servers that have series of their own; beyond it there are those of
	// services only.
	RealServers int
}

// Dashboard is the [dashboard] section.
type Dashboard struct {
	Listen netip.AddrPort // invalid: off
	Hosts  []string       // names that browsers may call it by, besides addresses and localhost
}

// Notify is a [[notify]] table: who is told of events.
type Notify struct {
	Script     []string // the program and its arguments; or:
	Webhook    string   // a URL that is posted to
	Events     []events.Kind
	Service    string // a part of a service's name; empty: all
	Timeout    time.Duration
	Retries    int
	Headers    map[string]string // of a webhook
	SecretFile string            // what signs a webhook's requests
}

// Metrics returns where metrics are served.
func (c *Config) Metrics() Metrics { return c.metrics }

// Dashboard returns where the dashboard is served.
func (c *Config) Dashboard() Dashboard { return c.dashboard }

// Notifies returns who is told of events, in the order of the file. It is not to be changed.
func (c *Config) Notifies() []Notify { return c.notifies }

// sight reads what shows and tells what happens.
func (p *parser) sight(c *Config, root *table) {
	t, _ := root.table("metrics")
	c.metrics = Metrics{Listen: t.listen(), RealServers: int(t.number("real_servers", spanMetricsServers()))}
	t.done()
	t, _ = root.table("dashboard")
	c.dashboard = Dashboard{Listen: t.listen(), Hosts: t.hosts()}
	t.done()
	if l := c.metrics.Listen; l.IsValid() && l == c.dashboard.Listen {
		t.fail("listen", "%s is that of [metrics]; give another port", l)
	}
	tables := root.tables("notify")
	if len(tables) > MaxNotifies {
		p.fail("notify", "%d tables; give up to %d: one script may tell many", len(tables), MaxNotifies)
		return
	}
	for _, t := range tables {
		c.notifies = append(c.notifies, t.notify())
	}
}

// listen reads the address of one host and a port. "All addresses" is not one: what is shown here is for operators.
func (t *table) listen() (out netip.AddrPort) {
	const form = `an address of this host and a port, as "127.0.0.1:9101"`
	text := t.text("listen", form)
	if text == "" {
		return out
	}
	ap, err := netip.ParseAddrPort(text)
	switch {
	case err != nil || ap.Port() == 0 || ap.Addr().Zone() != "":
		t.fail("listen", "%.60q is no address with a port; give %s", text, form)
	case ap.Addr().IsUnspecified():
		t.fail("listen", "%s is every address of this host, VIPs' networks included; give %s", ap, form)
	default:
		return ap
	}
	return out
}

func (t *table) hosts() []string {
	hosts := t.texts("hosts", `names like ["lvs1.example.com"]`)
	if len(hosts) > maxDashboardHosts {
		t.fail("hosts", "%d names; give up to %d", len(hosts), maxDashboardHosts)
	}
	for i, h := range hosts {
		if h == "" || strings.ContainsAny(h, "/:* ") {
			t.p.fail(fmt.Sprintf("%s[%d]", t.key("hosts"), i), "%.60q is no host name; give one without scheme and port", h)
		}
	}
	return hosts
}

func (t *table) notify() Notify {
	k := t.keys([]keyReader{{"script", readCommand}, {"webhook", readWebhook}, {"timeout", readTime},
		{"service", readText}, {"secret_file", readFilePath}})
	n := Notify{
		Script: k.Command("script"), Webhook: k.Text("webhook"), Service: k.Text("service"), Events: t.eventKinds(),
		Timeout: k.Duration("timeout"), Retries: int(t.number("retries", spanNotifyRetries())),
		SecretFile: k.Text("secret_file"), Headers: t.headers(),
	}
	switch {
	case t.has("script") == t.has("webhook"):
		t.p.fail(t.path, "give a script or a webhook, one of them: script = \"/usr/local/bin/notify\"")
	case t.has("script") && (t.has("secret_file") || t.has("headers")):
		t.p.fail(t.path, "secret_file and headers are for a webhook; remove them")
	}
	if !t.has("timeout") {
		n.Timeout = defaultNotifyTimeout
	}
	if n.Timeout <= 0 || n.Timeout > maxNotifyTimeout {
		t.fail("timeout", "%v is out of range; give up to %v: later events wait for it", n.Timeout, maxNotifyTimeout)
	}
	t.done()
	return n
}

func readWebhook(t *table, key string) any {
	const form = `a URL like "https://alerts.example.com/ulvs"`
	text, ok := get[string](t, key, form)
	if !ok {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		t.fail(key, "%.60q is no URL; give %s", text, form)
	case u.User != nil:
		t.fail(key, "a password in a URL ends in logs; give it as headers = { Authorization = \"...\" }")
	default:
		return text
	}
	return nil
}

func readFilePath(t *table, key string) any {
	text, ok := get[string](t, key, "an absolute path")
	if ok && (!filepath.IsAbs(text) || strings.ContainsRune(text, 0)) {
		t.fail(key, "%.60q is not an absolute path", text)
		return nil
	}
	return text
}

func (t *table) eventKinds() (kinds []events.Kind) {
	for i, word := range t.texts("events", `kinds like ["server_down", "server_up"]`) {
		path := fmt.Sprintf("%s[%d]", t.key("events"), i)
		kind := events.Kind(word)
		switch {
		case events.InfoOf(kind).Help == "":
			t.p.fail(path, "unknown kind %.60q; %s", word, wouldBeRight(word, events.KindNames()))
		case slices.Contains(kinds, kind):
			t.p.fail(path, "%s is given twice; remove one", word)
		default:
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (t *table) headers() map[string]string {
	sub, _ := t.table("headers")
	if len(sub.m) > maxNotifyHeaders {
		t.fail("headers", "%d headers; give up to %d", len(sub.m), maxNotifyHeaders)
		return nil
	}
	var out map[string]string
	for _, name := range sortedKeys(sub.m) {
		v := sub.text(name, "a string")
		if !isHeaderName(name) || strings.ContainsAny(v, "\r\n\x00") || len(v) > maxHeaderBytes {
			sub.fail(name, "no header of HTTP; give letters, digits and dashes, and one line of up to %d bytes", maxHeaderBytes)
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = v
	}
	return out
}

func isHeaderName(s string) bool {
	isOther := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}
	return s != "" && !strings.ContainsFunc(s, isOther)
}
