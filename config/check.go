package config

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxChecks bounds the checks of one real server, and the URLs of one check.
const maxChecks = 32

// noCheck is the word for a real server that does not take the service's checks.
const noCheck = "none"

func checkTypes() []string {
	return []string{"tcp", "http", "https", "udp", "dns", "smtp", "ping", "script", "file"}
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
	return (&table{p: t.p, path: t.key(key), m: m}).check()
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

// check reads one check's table.
func (t *table) check() Keys {
	kind, ok := get[string](t, "type", quoteAll(checkTypes()))
	known := kindReaders(kind)
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
	t.checkNeeds(kind, k)
	t.done()
	return k
}

// checkNeeds complains about what a kind of check cannot do without.
func (t *table) checkNeeds(kind string, k Keys) {
	for _, need := range []struct{ kind, key, form string }{
		{"script", "path", `the program: path = "/usr/local/bin/check"`},
		{"file", "path", `the file: path = "/run/health"`},
	} {
		if kind == need.kind && !t.has(need.key) {
			t.fail(need.key, "missing; give %s", need.form)
		}
	}
	if k.Has("urls") && k.Has("path") {
		t.fail("urls", "stands beside path, which is short for one; put it into urls")
	}
	if k.Has("reply") && !k.Flag("require_reply", true) {
		t.fail("reply", "means nothing with require_reply = false; remove one of them")
	}
	if !k.Has("via") || k.Text("via") != "path" {
		return
	}
	switch kind {
	case "ping", "script", "file":
		t.fail("via", "a %s check asks the real server itself; give \"address\" or remove it", kind)
	}
}

// commonReaders are the keys of every check.
func commonReaders() []keyReader {
	return append(inherited(), []keyReader{
		{"connect_ip", readAddress},
		{"connect_port", readNumber(1, 65535)},
		{"bindto", readAddress},
		{"log_all_failures", readFlag},
	}...)
}

// kindReaders are the keys of one kind of check, nil if there is no such kind.
func kindReaders(kind string) []keyReader {
	http := append(urlReaders(), []keyReader{
		{"urls", readURLs}, {"http_protocol", readWord("1.0", "1.0c", "1.1")}, {"fast_recovery", readFlag},
	}...)
	switch kind {
	case "tcp", "ping":
		return []keyReader{}
	case "http":
		return http
	case "https":
		return append(http, keyReader{"sni", readSNI}, keyReader{"expiry_warning", readTime(0)},
			keyReader{"verify", readFlag})
	case "udp":
		return []keyReader{{"payload", readHex}, {"require_reply", readFlag}, {"reply", readReply}}
	case "dns":
		return []keyReader{{"record", readText(`a type like "SOA"`)}, {"name", readText(`a name like "example.com"`)}}
	case "smtp":
		return []keyReader{{"helo_name", readText(`a name like "lvs1.example.com"`)}}
	case "script":
		return []keyReader{{"path", readCommand}, {"args", readArguments}, {"timeout", readTime(time.Millisecond)},
			{"dynamic", readFlag}}
	case "file":
		return []keyReader{{"path", readPath}, {"weight", readNumber(-253, 253)}, {"dynamic", readFlag}}
	}
	return nil
}

// urlReaders are the keys of a URL.
func urlReaders() []keyReader {
	return []keyReader{
		{"path", readText(`a path like "/health"`)},
		{"status_code", readStatus},
		{"digest", readDigest},
		{"regex", readRegex},
		{"virtualhost", readText(`a name like "www.example.com"`)},
	}
}

func readURLs(t *table, key string) any {
	tables := t.tables(key)
	if len(tables) > maxChecks {
		t.fail(key, "%d URLs; give up to %d", len(tables), maxChecks)
		return nil
	}
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

// readStatus reads keepalived's list: "200", "200-299 404".
func readStatus(t *table, key string) any {
	const form = `a code like 200, or a list like "200-299 404"`
	text, ok := t.m[key].(string)
	if n, number := t.m[key].(int64); number {
		text, ok = strconv.FormatInt(n, 10), true
	}
	if !ok {
		t.fail(key, "%s; give %s", describe(t.m[key]), form)
		return nil
	}
	words := strings.Fields(strings.ReplaceAll(text, ",", " "))
	for _, word := range words {
		first, last, ranged := strings.Cut(word, "-")
		if !ranged {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || a < 100 || b > 999 || a > b {
			t.fail(key, "%.60q is no status of HTTP; give %s", word, form)
			return nil
		}
	}
	if len(words) == 0 || len(words) > maxChecks {
		t.fail(key, "%d codes; give %s, of up to %d", len(words), form, maxChecks)
		return nil
	}
	return strings.Join(words, " ")
}

func readDigest(t *table, key string) any {
	s, ok := get[string](t, key, "an MD5 sum, as genhash prints it")
	if !ok {
		return nil
	}
	if sum, err := hex.DecodeString(s); err != nil || len(sum) != 16 {
		t.fail(key, "%.60q is no MD5 sum; give 32 hexadecimal digits", s)
		return nil
	}
	return strings.ToLower(s)
}

func readRegex(t *table, key string) any {
	v := readText("a regular expression")(t, key)
	s, _ := v.(string)
	if _, err := regexp.Compile(s); err != nil {
		t.fail(key, "%v; give one of Go's syntax (RE2)", err)
		return nil
	}
	return v
}

// readSNI reads true for the virtual host's name, or a name.
func readSNI(t *table, key string) any {
	if on, ok := t.m[key].(bool); ok {
		return on
	}
	return readText(`true, or a name like "www.example.com"`)(t, key)
}

// readHex reads bytes as hexadecimal digits.
func readHex(t *table, key string) any {
	const form = `bytes in hexadecimal like "0a ff"`
	s, ok := get[string](t, key, form)
	if !ok {
		return nil
	}
	digits := strings.ReplaceAll(s, " ", "")
	if b, err := hex.DecodeString(digits); err != nil || len(b) == 0 || len(b) > maxPayload {
		t.fail(key, "%.60q is not; give %s, up to %d", s, form, maxPayload)
		return nil
	}
	return strings.ToLower(digits)
}

// maxPayload is keepalived's limit for what UDP_CHECK sends.
const maxPayload = 255

// readReply reads bytes in which X is any digit.
func readReply(t *table, key string) any {
	const form = `bytes in hexadecimal like "0a fX", X for any digit`
	s, ok := get[string](t, key, form)
	if !ok {
		return nil
	}
	digits := strings.ToLower(strings.ReplaceAll(s, " ", ""))
	if b, err := hex.DecodeString(strings.ReplaceAll(digits, "x", "0")); err != nil || len(b) == 0 || len(b) > maxPayload {
		t.fail(key, "%.60q is not; give %s, up to %d", s, form, maxPayload)
		return nil
	}
	return digits
}

func readPath(t *table, key string) any {
	s, ok := get[string](t, key, "an absolute path")
	switch {
	case !ok:
		return nil
	case !strings.HasPrefix(s, "/") || strings.ContainsRune(s, 0) || len(s) > maxTextBytes:
		t.fail(key, "%.60q is no absolute path; give one like \"/run/health\"", s)
		return nil
	}
	return s
}
