package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ulvs/health"
)

// maxChecks bounds the checks of one real server.
const maxChecks = 32

// noCheck is the word for a real server that does not take the service's checks.
const noCheck = "none"

func checkTypes() (words []string) {
	for _, kind := range health.Kinds() {
		words = append(words, string(kind))
	}
	return words
}

// readCheck reads a check: a table, or "none".
func readCheck(t *table, key string) any {
	if t.m[key] == noCheck {
		return noCheck
	}
	m, ok := t.m[key].(map[string]any)
	if !ok {
		t.fail(key, "%s; give a table like { type = \"tcp\" }, or %q", describe(t.m[key]), noCheck)
		return nil
	}
	k := (&table{p: t.p, path: t.key(key), m: m}).check()
	if k == nil {
		return nil
	}
	return k
}

// readChecks reads a list of checks: all must pass.
func readChecks(t *table, key string) any {
	tables := t.tables(key)
	if len(tables) > maxChecks {
		t.fail(key, "%d checks; give up to %d", len(tables), maxChecks)
		return nil
	}
	list := make([]any, len(tables))
	for i, one := range tables {
		list[i] = one.check()
	}
	return list
}

// check reads one check's table: here the types of values are looked at, what they mean is judged
// by health.
func (t *table) check() Keys {
	before := len(t.p.problems)
	kind, ok := get[string](t, "type", quoteAll(checkTypes()))
	known := kindReaders(health.Kind(kind))
	switch {
	case !t.has("type"):
		t.fail("type", "missing; give %s", quoteAll(checkTypes()))
	case ok && known == nil:
		t.fail("type", "unknown type %.60q; %s", kind, wouldBeRight(kind, checkTypes()))
	}
	if known == nil {
		return nil // what its other keys mean depends on it
	}
	k := t.keys(append(commonReaders(), known...))
	if k == nil {
		k = Keys{}
	}
	k["type"] = kind
	if k.Has("urls") && (k.Has("path") || k.Has("status_code") || k.Has("digest") || k.Has("regex")) {
		t.fail("urls", "stands beside what is short for one URL; put path, status_code, digest and regex into urls")
	}
	t.done()
	if len(t.p.problems) == before {
		spec := specOf(k)
		t.blame(k, spec.Validate(netip.AddrPort{}))
	}
	return k
}

// blame complains about what health says of a check with keys k.
func (t *table) blame(k Keys, problems []health.Problem) {
	for _, pr := range problems {
		key := pr.Key
		if !k.Has("urls") {
			key = strings.TrimPrefix(key, "urls[0].")
		}
		t.p.fail(t.path+"."+key, "%s", pr.Words)
	}
}

// inherited are the keys of a service that its real servers and their checks may have, too.
func inherited() []keyReader {
	return []keyReader{
		{"delay_loop", readTime}, {"connect_timeout", readTime}, {"retry", readNumber(0, health.MaxRetry)},
		{"delay_before_retry", readTime}, {"warmup", readTime}, {"alpha", readFlag},
		{"via", readWord(string(health.ViaPath), string(health.ViaAddress))}, {"virtualhost", readText},
	}
}

// commonReaders are the keys of every check.
func commonReaders() []keyReader {
	return append(inherited(), []keyReader{
		{"connect_ip", readAddress}, {"connect_port", readNumber(1, 65535)}, {"bindto", readAddress},
		{"log_all_failures", readFlag},
	}...)
}

// kindReaders are the keys of one kind of check, nil if there is no such kind.
func kindReaders(kind health.Kind) []keyReader {
	http := append(urlReaders(), keyReader{"urls", readURLs}, keyReader{"http_protocol", readText},
		keyReader{"fast_recovery", readFlag})
	switch kind {
	case health.KindTCP, health.KindPing:
		return []keyReader{}
	case health.KindHTTP:
		return http
	case health.KindHTTPS:
		return append(http, keyReader{"sni", readText}, keyReader{"expiry_warning", readTime})
	case health.KindUDP:
		return []keyReader{{"payload", readHex}, {"require_reply", readFlag}, {"reply", readHex}}
	case health.KindDNS:
		return []keyReader{{"record", readText}, {"name", readText}}
	case health.KindSMTP:
		return []keyReader{{"helo_name", readText}}
	case health.KindScript:
		return []keyReader{{"path", readCommand}, {"args", readArguments}, {"timeout", readTime}, {"dynamic", readFlag}}
	case health.KindFile:
		return []keyReader{{"path", readText}, {"weight", readNumber(-253, 253)}, {"dynamic", readFlag}}
	}
	return nil
}

// urlReaders are the keys of a URL. Those of a check are keys of its one URL.
func urlReaders() []keyReader {
	return []keyReader{
		{"path", readText}, {"status_code", readStatus}, {"digest", readText}, {"regex", readText},
		{"virtualhost", readText},
	}
}

func readURLs(t *table, key string) any {
	tables := t.tables(key)
	list := make([]any, len(tables))
	for i, one := range tables {
		k := one.keys(urlReaders())
		if !one.has("path") {
			one.fail("path", `missing; give a path like "/health"`)
		}
		one.done()
		list[i] = k
	}
	return list
}

func readAddress(t *table, key string) any {
	s, ok := get[string](t, key, `an address like "192.0.2.21"`)
	if !ok {
		return nil
	}
	if _, err := netip.ParseAddr(s); err != nil {
		t.fail(key, `%.60q is no IP address; give one like "192.0.2.21"`, s)
		return nil
	}
	return s
}

// readStatus reads 200 or "200-299 404".
func readStatus(t *table, key string) any {
	if n, number := t.m[key].(int64); number {
		return strconv.FormatInt(n, 10)
	}
	return readText(t, key)
}

// readHex reads hexadecimal digits, which may stand apart.
func readHex(t *table, key string) any {
	s, ok := get[string](t, key, `bytes in hexadecimal like "0a ff"`)
	if !ok {
		return nil
	}
	return strings.ToLower(strings.ReplaceAll(s, " ", ""))
}

// commonOf returns the values that are inherited.
func commonOf(k Keys) health.Common {
	c := health.Common{
		Via: health.Via(k.Text("via")), VirtualHost: k.Text("virtualhost"), DelayLoop: optTime(k, "delay_loop"),
		ConnectTimeout: optTime(k, "connect_timeout"), DelayBeforeRetry: optTime(k, "delay_before_retry"),
		Warmup: optTime(k, "warmup"),
	}
	if k.Has("retry") {
		c.Retry = health.Some(int(k.Number("retry", 0)))
	}
	if k.Has("alpha") {
		c.Alpha = health.Some(k.Flag("alpha"))
	}
	return c
}

func optTime(k Keys, key string) (d health.Opt[time.Duration]) {
	if k.Has(key) {
		d = health.Some(k.Duration(key))
	}
	return d
}

// specOf returns the check that keys are about, nothing inherited.
func specOf(k Keys) health.Spec {
	s := health.Spec{
		Kind: health.Kind(k.Text("type")), Common: commonOf(k), ConnectPort: uint16(k.Number("connect_port", 0)),
		LogAllFailures: k.Flag("log_all_failures"), HTTPProtocol: k.Text("http_protocol"), SNI: k.Text("sni"),
		FastRecovery: k.Flag("fast_recovery"), ExpiryWarning: k.Duration("expiry_warning"),
		Payload: k.Text("payload"), RequireReply: k.Flag("require_reply"), Reply: k.Text("reply"),
		Name: k.Text("name"), Record: k.Text("record"), HeloName: k.Text("helo_name"),
		Timeout: optTime(k, "timeout"), Dynamic: k.Flag("dynamic"), Weight: int(k.Number("weight", 0)),
	}
	s.ConnectIP, _ = netip.ParseAddr(k.Text("connect_ip"))
	s.BindTo, _ = netip.ParseAddr(k.Text("bindto"))
	switch s.Kind {
	case health.KindHTTP, health.KindHTTPS:
		s.URLs = urlsOf(k)
	case health.KindFile:
		s.Path = k.Text("path")
	case health.KindScript:
		if argv := append(k.Command("path"), k.Command("args")...); len(argv) > 0 {
			s.Path, s.Args = argv[0], argv[1:]
		}
	}
	return s
}

// urlsOf returns the pages of an HTTP check; one without any asks for the root.
func urlsOf(k Keys) (urls []health.URL) {
	list := k.Tables("urls")
	if list == nil {
		list = []Keys{k}
	}
	for _, u := range list {
		url := health.URL{
			Path: u.Text("path"), StatusCode: u.Text("status_code"), Digest: u.Text("digest"), Regex: u.Text("regex"),
		}
		if k.Has("urls") {
			url.VirtualHost = u.Text("virtualhost") // the check's own is inherited
		}
		if url.Path == "" && !k.Has("urls") {
			url.Path = "/"
		}
		urls = append(urls, url)
	}
	return urls
}
