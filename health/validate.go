package health

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Limits of a Spec, each with the complaint of Validate that names it.
const (
	MaxURLs         = 16
	MaxRetry        = 1000
	MaxTime         = 24 * time.Hour // of every duration
	MinTime         = time.Millisecond
	MaxPayload      = 1024 // bytes
	MaxReply        = 255  // bytes; keepalived's limit
	maxTextBytes    = 1024 // of paths, patterns and names
	maxScriptArgs   = 64
	maxStatusRanges = 16
)

// Problem is something wrong with a Spec: the key to blame, by its name in a configuration, and
// words that say what would be right.
type Problem struct{ Key, Words string }

// Validate returns all that is wrong with s. real is the server it is for, invalid if not known yet.
func (s *Spec) Validate(real netip.AddrPort) []Problem {
	v := &validator{s: s}
	if !slices.Contains(Kinds(), s.Kind) {
		v.fail("type", "unknown check type %.60q; give tcp, http, https, udp, dns, smtp, ping, script or file", s.Kind)
		return v.problems
	}
	v.common(s.Common)
	v.address(real)
	switch s.Kind {
	case KindHTTP, KindHTTPS:
		v.http()
	case KindUDP:
		v.udp()
	case KindDNS:
		v.dns()
	case KindSMTP:
		v.text("helo_name", s.HeloName)
	case KindScript:
		v.script()
	case KindFile:
		v.absolute("path", s.Path, "a file that holds a number")
		if s.Weight > math.MaxInt32 || s.Weight < -math.MaxInt32 {
			v.fail("weight", "%d; give -%d to %d", s.Weight, math.MaxInt32, math.MaxInt32)
		}
	}
	return v.problems
}

// Validate returns what is wrong with values that are inherited.
func (c Common) Validate() []Problem {
	v := &validator{s: &Spec{Kind: KindTCP}}
	v.common(c)
	return v.problems
}

type validator struct {
	s        *Spec
	problems []Problem
}

func (v *validator) fail(key, format string, args ...any) {
	v.problems = append(v.problems, Problem{key, fmt.Sprintf(format, args...)})
}

func (v *validator) common(c Common) {
	if c.Via != "" && c.Via != ViaPath && c.Via != ViaAddress {
		v.fail("via", "unknown way %.60q; give \"path\" or \"address\"", c.Via)
	}
	v.time("delay_loop", c.DelayLoop, MinTime)
	v.time("connect_timeout", c.ConnectTimeout, MinTime)
	v.time("delay_before_retry", c.DelayBeforeRetry, 0)
	v.time("warmup", c.Warmup, 0)
	if c.Retry.Set && (c.Retry.Value < 0 || c.Retry.Value > MaxRetry) {
		v.fail("retry", "%d; give 0 to %d", c.Retry.Value, MaxRetry)
	}
	v.hostname("virtualhost", c.VirtualHost)
}

func (v *validator) time(key string, d Opt[time.Duration], low time.Duration) {
	if d.Set && (d.Value < low || d.Value > MaxTime) {
		v.fail(key, "%v; give %v to %v", d.Value, low, MaxTime)
	}
}

func (v *validator) address(real netip.AddrPort) {
	s := v.s
	if s.ConnectIP.IsValid() && s.Via == ViaPath {
		v.fail("connect_ip", "means nothing with via = \"path\": probes go to the VIP; remove one of them")
	}
	if !s.Kind.connects() && s.Via == ViaPath {
		v.fail("via", "a %s check cannot take the clients' path; give \"address\" or nothing", s.Kind)
	}
	if s.Kind.connects() && real.IsValid() && real.Port() == 0 && s.ConnectPort == 0 {
		v.fail("connect_port", "missing: the real server has no port of its own; give one")
	}
	if !s.Kind.connects() && s.ConnectPort != 0 {
		v.fail("connect_port", "a %s check has no port; remove it", s.Kind)
	}
	peer := real.Addr()
	if s.ConnectIP.IsValid() {
		peer = s.ConnectIP
	}
	if s.BindTo.IsValid() && peer.IsValid() && s.Via != ViaPath && s.BindTo.Is4() != peer.Is4() {
		v.fail("bindto", "%s cannot reach %s: not the same family; give another address", s.BindTo, peer)
	}
}

// text refuses what would end a line of a protocol, or a whole message.
func (v *validator) text(key, s string) bool {
	if len(s) > maxTextBytes {
		v.fail(key, "%d bytes; give up to %d", len(s), maxTextBytes)
		return false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		v.fail(key, "%.60q has control characters; give printable ones", s)
		return false
	}
	return true
}

func (v *validator) hostname(key, s string) {
	if v.text(key, s) && strings.ContainsAny(s, " /?#@") {
		v.fail(key, "%.60q is no host name; give one like \"www.example.org\"", s)
	}
}

func (v *validator) absolute(key, path, what string) {
	if !v.text(key, path) {
		return
	}
	switch {
	case path == "":
		v.fail(key, "missing; give %s", what)
	case !strings.HasPrefix(path, "/"):
		v.fail(key, "%.60q is not absolute; give the whole path of %s", path, what)
	}
}

func (v *validator) script() {
	v.absolute("path", v.s.Path, "a program")
	v.time("timeout", v.s.Timeout, MinTime)
	if len(v.s.Args) > maxScriptArgs {
		v.fail("args", "%d; give up to %d", len(v.s.Args), maxScriptArgs)
	}
	for i, arg := range v.s.Args {
		if len(arg) > maxTextBytes || strings.ContainsRune(arg, 0) {
			v.fail(fmt.Sprintf("args[%d]", i), "give up to %d bytes, none of them 0", maxTextBytes)
		}
	}
}

func (v *validator) http() {
	s := v.s
	if len(s.URLs) == 0 || len(s.URLs) > MaxURLs {
		v.fail("urls", "%d URLs; give 1 to %d, or path for one", len(s.URLs), MaxURLs)
	}
	switch s.HTTPProtocol {
	case "", "1.0", "1.0C", "1.1":
	default:
		v.fail("http_protocol", "unknown protocol %.60q; give \"1.0\", \"1.0C\" or \"1.1\"", s.HTTPProtocol)
	}
	if s.Kind == KindHTTP && (s.SNI != "" || s.ExpiryWarning != 0) {
		v.fail("type", "sni and expiry_warning are for https; give type = \"https\"")
	}
	v.hostname("sni", s.SNI)
	if s.ExpiryWarning < 0 || s.ExpiryWarning > 10*365*MaxTime {
		v.fail("expiry_warning", "%v; give up to ten years", s.ExpiryWarning)
	}
	for i := range s.URLs {
		v.url(fmt.Sprintf("urls[%d].", i), &s.URLs[i])
	}
}

func (v *validator) url(at string, u *URL) {
	if v.text(at+"path", u.Path) && (!strings.HasPrefix(u.Path, "/") || strings.Contains(u.Path, " ")) {
		v.fail(at+"path", "%.60q; give a path like \"/health\", without spaces", u.Path)
	}
	v.hostname(at+"virtualhost", u.VirtualHost)
	if _, err := parseStatus(u.StatusCode); err != nil {
		v.fail(at+"status_code", "%v; give codes and ranges like \"200-299 301\"", err)
	}
	if sum, err := hex.DecodeString(u.Digest); u.Digest != "" && (err != nil || len(sum) != 16) {
		v.fail(at+"digest", "%.60q is no MD5; give 32 hex digits", u.Digest)
	}
	if len(u.Regex) > maxTextBytes {
		v.fail(at+"regex", "%d bytes; give up to %d", len(u.Regex), maxTextBytes)
	} else if _, err := regexp.Compile(u.Regex); err != nil {
		v.fail(at+"regex", "%v; give one in the syntax of RE2", err)
	}
}

// statusRange is a range of HTTP codes, both ends included.
type statusRange struct{ low, high int }

func parseStatus(text string) (ranges []statusRange, err error) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' }) {
		low, high, isRange := strings.Cut(word, "-")
		if !isRange {
			high = low
		}
		a, err1 := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || a < 100 || b > 999 || a > b {
			return nil, fmt.Errorf("%.60q is no code or range", word)
		}
		ranges = append(ranges, statusRange{a, b})
	}
	if len(ranges) > maxStatusRanges {
		return nil, fmt.Errorf("%d ranges are more than %d", len(ranges), maxStatusRanges)
	}
	return ranges, nil
}

func (v *validator) udp() {
	if _, err := hex.DecodeString(v.s.Payload); err != nil || len(v.s.Payload) > 2*MaxPayload {
		v.fail("payload", "%.60q; give up to %d pairs of hex digits", v.s.Payload, MaxPayload)
	}
	if _, err := parsePattern(v.s.Reply); err != nil {
		v.fail("reply", "%v; give pairs of hex digits, X for any", err)
	}
	if v.s.Reply != "" && !v.s.RequireReply {
		v.fail("reply", "means nothing without require_reply = true; add that or remove this")
	}
}

// pattern is what a reply has to begin with: each byte, masked, is equal.
type pattern struct{ want, mask []byte }

func parsePattern(text string) (p pattern, err error) {
	if len(text)%2 != 0 || len(text) > 2*MaxReply {
		return p, fmt.Errorf("%d digits are odd or more than %d", len(text), 2*MaxReply)
	}
	for i := range len(text) {
		digit, mask := uint64(0), byte(0)
		if c := text[i]; c != 'X' && c != 'x' {
			mask = 0xf
			if digit, err = strconv.ParseUint(string(rune(c)), 16, 4); err != nil {
				return pattern{}, fmt.Errorf("%q is no hex digit", c)
			}
		}
		if i%2 == 0 {
			p.want, p.mask = append(p.want, byte(digit)<<4), append(p.mask, mask<<4)
			continue
		}
		p.want[i/2] |= byte(digit)
		p.mask[i/2] |= mask
	}
	return p, nil
}

func (p pattern) matches(reply []byte) bool {
	if len(reply) < len(p.want) {
		return false
	}
	for i := range p.want {
		if reply[i]&p.mask[i] != p.want[i] {
			return false
		}
	}
	return true
}

// recordTypes are the words of a DNS check.
func recordTypes() map[string]dnsmessage.Type {
	return map[string]dnsmessage.Type{
		"A": dnsmessage.TypeA, "NS": dnsmessage.TypeNS, "CNAME": dnsmessage.TypeCNAME, "SOA": dnsmessage.TypeSOA,
		"MX": dnsmessage.TypeMX, "TXT": dnsmessage.TypeTXT, "AAAA": dnsmessage.TypeAAAA, "PTR": dnsmessage.TypePTR,
		"SRV": dnsmessage.TypeSRV, "ANY": dnsmessage.TypeALL, "RRSIG": 46, "DNSKEY": 48,
	}
}

func (v *validator) dns() {
	if _, err := queryName(v.s.Name); err != nil {
		v.fail("name", "%.60q: %v; give a name like \"example.org\"", v.s.Name, err)
	}
	if _, ok := recordTypes()[strings.ToUpper(v.s.Record)]; !ok && v.s.Record != "" {
		v.fail("record", "unknown type %.60q; give A, AAAA, NS, CNAME, SOA, MX, TXT, PTR, SRV, ANY, RRSIG or DNSKEY",
			v.s.Record)
	}
}

// queryName is a name as a DNS message wants it: with the dot at its end.
func queryName(name string) (dnsmessage.Name, error) {
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return n, err
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{})
	if err := b.StartQuestions(); err != nil {
		return n, err
	}
	return n, b.Question(dnsmessage.Question{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET})
}
