package control

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Match selects addresses with ports. The zero Match takes every one.
type Match struct {
	prefix  netip.Prefix // invalid: every address
	port    uint16
	anyPort bool
	set     bool
}

// ParseMatch reads an address, a prefix, an address with port, or a port:
// "192.0.2.10", "192.0.2.0/24", "192.0.2.10:80", "[2001:db8::1]:80", ":80".
// An empty text is the zero Match.
func ParseMatch(s string) (Match, error) {
	if s == "" {
		return Match{}, nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return Match{p.Masked(), 0, true, true}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return Match{netip.PrefixFrom(a, a.BitLen()), 0, true, true}, nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Addr().Zone() == "" {
		return Match{netip.PrefixFrom(ap.Addr(), ap.Addr().BitLen()), ap.Port(), false, true}, nil
	}
	if text, found := strings.CutPrefix(s, ":"); found {
		if port, err := strconv.ParseUint(text, 10, 16); err == nil {
			return Match{netip.Prefix{}, uint16(port), false, true}, nil
		}
	}
	return Match{}, fmt.Errorf("%.60q is no address; give one like 192.0.2.10, 192.0.2.0/24, 192.0.2.10:80 or :80", s)
}

// Takes reports whether ap is selected.
func (m Match) Takes(ap netip.AddrPort) bool {
	switch {
	case !m.set:
		return true
	case m.prefix.IsValid() && !m.prefix.Contains(ap.Addr()):
		return false
	}
	return m.anyPort || m.port == ap.Port()
}

// String returns what ParseMatch reads.
func (m Match) String() string {
	switch {
	case !m.set:
		return ""
	case m.anyPort:
		return m.prefix.String()
	case !m.prefix.IsValid():
		return fmt.Sprintf(":%d", m.port)
	}
	return netip.AddrPortFrom(m.prefix.Addr(), m.port).String()
}

// ServiceFilter selects services. Zero fields select all.
type ServiceFilter struct {
	Protocol string // tcp, udp; any case
	VIP      Match
}

// Takes reports whether s is selected.
func (f ServiceFilter) Takes(s *Service) bool {
	return isWord(f.Protocol, s.Protocol) && f.VIP.Takes(s.VIP)
}

// ConnFilter selects sessions. Zero fields select all.
type ConnFilter struct {
	Protocol   string // tcp, udp; any case
	State      string // as in Conn; any case
	Client     Match
	VIP        Match
	RealServer Match
	Limit      int // the most to return; 0: all
}

// Takes reports whether c is selected, Limit aside.
func (f *ConnFilter) Takes(c *Conn) bool {
	return isWord(f.Protocol, c.Protocol) && isWord(f.State, c.State) &&
		f.Client.Takes(c.Client) && f.VIP.Takes(c.VIP) && f.RealServer.Takes(c.RealServer)
}

func isWord(want, have string) bool { return want == "" || strings.EqualFold(want, have) }

// Names of the query parameters.
const (
	paramProtocol   = "protocol"
	paramVIP        = "vip"
	paramClient     = "client"
	paramRealServer = "real_server"
	paramState      = "state"
	paramLimit      = "limit"
)

// query reads parameters and remembers the first thing wrong.
type query struct {
	values url.Values
	err    error
}

func newQuery(values url.Values, known ...string) *query {
	q := &query{values: values}
	for key, v := range values {
		if !slices.Contains(known, key) {
			q.err = fmt.Errorf("unknown parameter %.60q; known: %s", key, strings.Join(known, ", "))
		} else if len(v) != 1 {
			q.err = fmt.Errorf("parameter %s is given %d times; give it once", key, len(v))
		}
	}
	return q
}

func (q *query) match(key string) Match {
	m, err := ParseMatch(q.values.Get(key))
	if err != nil && q.err == nil {
		q.err = fmt.Errorf("parameter %s: %w", key, err)
	}
	return m
}

func (q *query) count(key string) int {
	text := q.values.Get(key)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil && q.err == nil {
		q.err = fmt.Errorf("parameter %s: %.60q is no count; give a number, 0 for all", key, text)
	}
	return int(n)
}

func serviceFilterOf(values url.Values) (ServiceFilter, error) {
	q := newQuery(values, paramProtocol, paramVIP)
	f := ServiceFilter{Protocol: values.Get(paramProtocol), VIP: q.match(paramVIP)}
	return f, q.err
}

func connFilterOf(values url.Values) (ConnFilter, error) {
	q := newQuery(values, paramProtocol, paramClient, paramVIP, paramRealServer, paramState, paramLimit)
	f := ConnFilter{
		Protocol: values.Get(paramProtocol), State: values.Get(paramState),
		Client: q.match(paramClient), VIP: q.match(paramVIP), RealServer: q.match(paramRealServer),
		Limit: q.count(paramLimit),
	}
	return f, q.err
}

func (f ServiceFilter) values() url.Values {
	return encode(paramProtocol, f.Protocol, paramVIP, f.VIP.String())
}

func (f *ConnFilter) values() url.Values {
	limit := ""
	if f.Limit > 0 {
		limit = strconv.Itoa(f.Limit)
	}
	return encode(paramProtocol, f.Protocol, paramState, f.State, paramClient, f.Client.String(),
		paramVIP, f.VIP.String(), paramRealServer, f.RealServer.String(), paramLimit, limit)
}

// encode makes parameters of the pairs whose value is not empty.
func encode(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}
