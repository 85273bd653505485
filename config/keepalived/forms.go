package keepalived

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// number is a whole number.
func number(m *mapper, t *table, s *stmt, r *rule) {
	n, err := strconv.ParseInt(s.arg(1), 10, 64)
	if err != nil {
		m.wrong(t, s, "a number")
		return
	}
	m.set(t, s, r.key, strconv.FormatInt(n, 10))
}

// seconds is a TIMER: seconds, with a fraction perhaps.
func seconds(m *mapper, t *table, s *stmt, r *rule) {
	d, ok := timer(s.arg(1))
	if !ok {
		m.wrong(t, s, "a number of seconds")
		return
	}
	m.set(t, s, r.key, duration(d))
}

func timer(text string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f > math.MaxInt32 {
		return 0, false
	}
	return time.Duration(math.Round(f*1e6)) * time.Microsecond, true
}

// duration writes whole seconds as seconds, as they were given.
func duration(d time.Duration) string {
	if d%time.Second == 0 {
		return quote(strconv.FormatInt(int64(d/time.Second), 10) + "s")
	}
	return quote(d.String())
}

// boolean is a keyword alone, or with a BOOL.
func boolean(m *mapper, t *table, s *stmt, r *rule) {
	on, ok := truth(s.arg(1))
	if !ok {
		m.wrong(t, s, "nothing behind it, or on, off, true, false, yes or no")
		return
	}
	m.set(t, s, r.key, strconv.FormatBool(on))
}

func truth(text string) (on, ok bool) {
	switch strings.ToLower(text) {
	case "", "on", "true", "yes":
		return true, true
	case "off", "false", "no":
		return false, true
	}
	return false, false
}

// text is one word, quoted perhaps.
func text(m *mapper, t *table, s *stmt, r *rule) {
	v := s.arg(1)
	if v == "" {
		m.wrong(t, s, "a value")
		return
	}
	m.set(t, s, r.key, quote(v))
}

// lower is one word of a fixed set, which ulvs writes in lower case.
func lower(m *mapper, t *table, s *stmt, r *rule) { m.oneWord(t, s, r, strings.ToLower(s.arg(1))) }

// upper is one that ulvs writes in upper case, as 1.0C.
func upper(m *mapper, t *table, s *stmt, r *rule) { m.oneWord(t, s, r, strings.ToUpper(s.arg(1))) }

func (m *mapper) oneWord(t *table, s *stmt, r *rule, v string) {
	if v == "" {
		m.wrong(t, s, "a value")
		return
	}
	m.set(t, s, r.key, quote(v))
}

// words is a list on one line.
func words(m *mapper, t *table, s *stmt, r *rule) {
	list := s.rest(1)
	if len(list) == 0 {
		m.wrong(t, s, "a value")
		return
	}
	m.set(t, s, r.key, quote(strings.Join(list, " ")))
}

// script is a command line, then perhaps a user and a group.
func script(m *mapper, t *table, s *stmt, r *rule) {
	v := s.arg(1)
	if v == "" {
		m.wrong(t, s, "a script")
		return
	}
	m.set(t, s, r.key, quote(v))
	m.runAs(t, s, 2)
}

// runAs reports the user of a script, from argument i on.
func (m *mapper) runAs(t *table, s *stmt, i int) {
	if i >= len(s.words) {
		return
	}
	at := s.words[i].at
	as := strings.Join(s.rest(i), " ")
	m.tell(Finding{Pos: at, Kind: Unmapped, Word: s.name(),
		Text: "ulvs runs scripts as its own user, not as " + as + "; let the script change it"})
	m.say(t, "not mapped: to run this as %s", as)
}

// block is a list of words between braces, one a line or several.
func block(m *mapper, t *table, s *stmt, r *rule) {
	var list []string
	for _, in := range s.block {
		list = append(list, in.names()...)
	}
	m.set(t, s, r.key, quoteList(append(s.rest(1), list...)))
}

// names returns the words of a statement that is part of a list, and marks them as used.
func (s *stmt) names() []string {
	s.used[0] = true
	return append([]string{s.name()}, s.rest(1)...)
}

// ignore is for what holds in ulvs anyway, or cannot matter there: nothing is lost.
func ignore(m *mapper, _ *table, s *stmt, r *rule) {
	if _, ok := truth(s.word(1)); ok || r.word == "lvs_flush_on_stop" && s.word(1) == "VS" {
		s.arg(1)
	}
	m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(), Text: r.why})
}

// address joins IP and PORT; the port may be missing. ok is false when ip is none.
func address(ip, port string) (ap string, ok bool) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return "", false
	}
	if port == "" {
		return addr.String(), true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", false
	}
	return netip.AddrPortFrom(addr, uint16(n)).String(), true
}

// endpoint is IP [PORT].
func endpoint(m *mapper, t *table, s *stmt, r *rule) {
	ap, ok := address(s.arg(1), s.arg(2))
	if !ok {
		m.wrong(t, s, "an IP address and perhaps a port")
		return
	}
	m.set(t, s, r.key, quote(ap))
}

// method is NAT, DR or TUN with its type; keys that go with it have the key's prefix.
func method(m *mapper, t *table, s *stmt, r *rule) {
	v := strings.ToLower(s.arg(1))
	switch v {
	case "nat", "dr":
		m.set(t, s, r.key, quote(v))
	case "tun":
		m.set(t, s, r.key, quote(v))
		m.tunnel(t, s)
	default:
		m.wrong(t, s, "NAT, DR or TUN")
	}
}

// tunnel reads type ipip|gue port N|gre and nocsum|csum|remcsum. A real server's or service's table has their keys.
func (m *mapper) tunnel(t *table, s *stmt) {
	if t.name != "service" && t.name != "real_server" || strings.HasPrefix(s.name(), "sorry") {
		return // sweep reports what is there
	}
	for i := 2; i < len(s.words); i++ {
		word := strings.ToLower(s.words[i].text)
		switch {
		case word == "type" && i+1 < len(s.words):
			s.arg(i)
			i++
			m.plain(t, s, "tunnel_type", quote(strings.ToLower(s.arg(i))))
		case word == "port" && i+1 < len(s.words):
			s.arg(i)
			i++
			m.plain(t, s, "tunnel_port", leadingNumber(s.arg(i)))
		case word == "nocsum": // ulvs's default, too
			s.arg(i)
		case word == "csum" || word == "remcsum":
			s.arg(i)
			m.plain(t, s, "tunnel_checksum", quote(word))
		}
	}
}

// plain adds one more key of a statement, whose comments the first one has.
func (m *mapper) plain(t *table, s *stmt, key, value string) {
	if t.get(key) == nil {
		t.add(&entry{key: key, value: value, at: s.at(), word: s.name()})
	}
}

// leadingNumber returns text as a TOML number if it is one, else as a string, for config to refuse.
func leadingNumber(text string) string {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return quote(text)
}
