package keepalived

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxExpanded bounds the services that groups become. Each is written out with its real servers.
const maxExpanded = 4096

// target is what a service is told from others by.
type target struct {
	vip  string // address and port
	mark string
	v6   bool // of a mark, where the source says so
}

// mapService maps virtual_server: one service, or those of a group.
func mapService(m *mapper, _ *table, s *stmt, _ *rule) {
	targets, ok := m.targets(s)
	if !ok {
		m.wrong(m.doc, s, "IP PORT, fwmark NUMBER or group NAME")
		return
	}
	for i, to := range targets {
		m.quiet = i > 0
		t := m.open(m.doc, s, "service", true)
		m.identify(t, s, to)
		m.apply(t, s.block, m.sets.server)
		m.complete(t, to)
	}
	m.quiet = false
}

// targets reads the arguments of virtual_server.
func (m *mapper) targets(s *stmt) (list []target, ok bool) {
	switch kind := s.arg(1); kind {
	case "fwmark":
		n, err := strconv.ParseUint(s.arg(2), 10, 32)
		m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(),
			Text: fmt.Sprintf("[[mark]] rules have to give packets the mark %d, as the firewall did", n)})
		return []target{{mark: strconv.FormatUint(n, 10)}}, err == nil
	case "group":
		group := m.groups[s.arg(2)]
		if group == nil {
			return nil, false
		}
		group.used[0] = true
		return m.members(group), true
	default:
		port := s.arg(2)
		if port == "" {
			port = "0"
		}
		vip, ok := address(kind, port)
		return []target{{vip: vip}}, ok
	}
}

// identify writes what a service is told from others by.
func (m *mapper) identify(t *table, s *stmt, to target) {
	if to.vip != "" {
		t.add(&entry{key: "vip", value: quote(to.vip), at: s.at(), word: s.name()})
		return
	}
	t.add(&entry{key: "mark", value: to.mark, at: s.at(), word: s.name()})
	if to.v6 {
		t.add(&entry{key: "family", value: `"ipv6"`, at: s.at(), word: s.name()})
	}
}

// complete writes keepalived's defaults where ulvs has others, and what follows from the whole block.
func (m *mapper) complete(t *table, to target) {
	m.assume(t, "scheduler", `"wlc"`)
	m.assume(t, "method", `"nat"`)
	checked, v6 := false, len(t.tables("real_server")) > 0
	for _, rs := range t.tables("real_server") {
		checked = checked || len(rs.tables("check"))+len(rs.tables("checks")) > 0
		v6 = v6 && strings.HasPrefix(rs.get("address").value, `"[`)
		m.samePort(t, rs, to)
	}
	if checked {
		m.assume(t, "delay_loop", `"60s"`)
	}
	if to.mark != "" && v6 {
		m.plainEntry(t, "family", `"ipv6"`)
	}
}

func (m *mapper) plainEntry(t *table, key, value string) {
	if t.get(key) == nil {
		t.add(&entry{key: key, value: value, at: t.at, word: t.word})
	}
}

// samePort takes away a port that only NAT could map to: IPVS sends to the VIP's port then, whatever
// keepalived says. Its checks go to the port that was given.
func (m *mapper) samePort(t, rs *table, to target) {
	port := m.ports[rs]
	method := rs.get("method")
	if method == nil {
		method = t.get("method")
	}
	if to.vip == "" || port == "" || method.value == `"nat"` || strings.HasSuffix(to.vip, ":"+port) {
		return
	}
	e := rs.get("address")
	ap, err := netip.ParseAddrPort(strings.Trim(e.value, `"`))
	if err != nil {
		return
	}
	e.value = quote(ap.Addr().String())
	m.tell(Finding{Pos: e.at, Kind: Note, Word: "real_server",
		Text: fmt.Sprintf("%s maps no ports: IPVS sends to the VIP's, not to %s; checks go to %s",
			strings.ToUpper(strings.Trim(method.value, `"`)), port, port)})
	for _, c := range append(rs.tables("check"), rs.tables("checks")...) {
		switch c.get("type").value {
		case `"ping"`, `"script"`, `"file"`:
			continue
		}
		m.plainEntry(c, "connect_port", port)
	}
}

func mapProtocol(m *mapper, t *table, s *stmt, r *rule) {
	if t.get("mark") != nil {
		s.arg(1)
		m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(), Text: "means nothing with a firewall mark"})
		return
	}
	lower(m, t, s, r)
}

func mapPersistence(m *mapper, t *table, s *stmt, r *rule) {
	if len(s.words) > 1 {
		seconds(m, t, s, r)
		return
	}
	m.set(t, s, r.key, `"360s"`).note = "keepalived's default"
}

// mapGranularity maps a mask, or the length of an IPv6 prefix.
func mapGranularity(m *mapper, t *table, s *stmt, r *rule) {
	if len(s.words) < 2 {
		m.wrong(t, s, "a mask")
		return
	}
	m.set(t, s, r.key, leadingNumber(s.arg(1)))
}

// mapFlag adds a scheduler's flag.
func mapFlag(m *mapper, t *table, s *stmt, r *rule) {
	e := t.get(r.key)
	if e == nil {
		m.set(t, s, r.key, quoteList([]string{s.name()}))
		return
	}
	e.value = strings.TrimSuffix(e.value, "]") + ", " + quote(s.name()) + "]"
}

func mapFamily(m *mapper, t *table, s *stmt, r *rule) {
	family := map[string]string{"inet": "ipv4", "inet6": "ipv6"}[s.arg(1)]
	switch {
	case family == "":
		m.wrong(t, s, "inet or inet6")
	case t.get("mark") == nil:
		m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(), Text: "needless: the VIP tells"})
	default:
		m.set(t, s, r.key, quote(family))
	}
}

// mapReal maps real_server IP [PORT].
func mapReal(m *mapper, t *table, s *stmt, _ *rule) {
	port := ""
	if len(s.words) > 2 {
		port = s.arg(2)
	}
	ap, ok := address(s.arg(1), port)
	if !ok {
		m.wrong(t, s, "an IP address and a port")
		return
	}
	rs := m.open(t, s, "real_server", true)
	rs.add(&entry{key: "address", value: quote(ap), at: s.at(), word: s.name()})
	m.ports[rs] = port
	count := 0
	for _, in := range s.block {
		if m.sets.kinds[in.name()] != "" {
			count++
		}
	}
	m.several = count > 1
	m.apply(rs, s.block, m.sets.real)
}
