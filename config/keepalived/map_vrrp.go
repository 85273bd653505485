package keepalived

import (
	"strconv"
	"strings"
)

// named begins the table of a block with a name.
func (m *mapper) named(s *stmt, name string, by rules) *table {
	t := m.open(m.doc, s, name, true)
	if len(s.words) < 2 {
		m.tell(Finding{Pos: s.at(), Kind: Broken, Word: s.name(), Text: "expected a name behind it"})
	}
	t.add(&entry{key: "name", value: quote(s.arg(1)), at: s.at(), word: s.name()})
	m.apply(t, s.block, by)
	return t
}

func mapInstance(m *mapper, _ *table, s *stmt, _ *rule) {
	t := m.named(s, "vrrp", m.sets.instance)
	if e := t.get("interface"); e != nil {
		m.nic(strings.Trim(e.value, `"`))
	}
	for _, d := range m.defaults {
		if t.get(d.rule.key) != nil {
			continue
		}
		d.form(m, t, d.s, d.rule)
		if e := t.get(d.rule.key); e != nil {
			e.lead, e.note = nil, d.s.name()
		}
	}
	m.withoutPassword(t)
}

func mapSyncGroup(m *mapper, _ *table, s *stmt, _ *rule) {
	m.named(s, "vrrp_sync_group", m.sets.syncGroup)
}

func mapScript(m *mapper, _ *table, s *stmt, _ *rule) { m.named(s, "track_script", m.sets.script) }

func mapTrackFile(m *mapper, _ *table, s *stmt, _ *rule) {
	m.named(s, "track_file", m.sets.trackFile)
}

func mapTrackProcess(m *mapper, _ *table, s *stmt, _ *rule) {
	m.named(s, "track_process", m.sets.trackProcess)
}

func mapState(m *mapper, t *table, s *stmt, r *rule) {
	switch v := strings.ToUpper(s.arg(1)); v {
	case "MASTER", "BACKUP":
		m.set(t, s, r.key, quote(v))
	default:
		m.wrong(t, s, "MASTER or BACKUP")
	}
}

// mapAuthentication maps a password. AH is another protocol.
func mapAuthentication(m *mapper, t *table, s *stmt, r *rule) {
	for _, in := range s.block {
		if in.name() == "auth_type" && strings.EqualFold(in.word(1), "AH") {
			m.drop(t, s, "ulvs knows the type PASS only")
			return
		}
	}
	for _, in := range s.block {
		switch {
		case in.name() == "auth_type" && len(in.words) == 2 && strings.EqualFold(in.words[1].text, "PASS"):
			in.take()
		case in.name() == "auth_type":
			m.drop(t, in, "ulvs knows the type PASS only, as VRRP version 2 has it")
		case in.name() == "auth_pass" && len(in.words) == 2:
			m.password(t, in, r)
		}
	}
}

// maxPassword is what VRRP version 2 has room for.
const maxPassword = 8

// password maps auth_pass, cut to what keepalived uses of it.
func (m *mapper) password(t *table, s *stmt, r *rule) {
	pass := s.arg(1)
	if len(pass) > maxPassword {
		pass = pass[:maxPassword]
		m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(), Text: "keepalived uses the first 8 bytes; so does ulvs"})
	}
	m.set(t, s, r.key, quote(strings.ToValidUTF8(pass, "")))
}

// withoutPassword comments the password of a version that has none out.
func (m *mapper) withoutPassword(t *table) {
	e, version := t.get("auth_pass"), t.get("version")
	if e == nil || version == nil || version.value != "3" {
		return
	}
	e.refused = "VRRP version 3 has no passwords; keepalived ignores it, too"
	m.tell(Finding{Pos: e.at, Kind: Unmapped, Word: e.word, Text: e.refused})
}

// mapList maps a block with an address on each line.
func mapList(m *mapper, t *table, s *stmt, r *rule) {
	var list []string
	for _, in := range s.block {
		in.used[0] = true
		list = append(list, in.name())
	}
	m.set(t, s, r.key, quoteList(list))
}

// mapVIPs maps virtual_ipaddress. What keepalived says of an address on an interface means nothing where the
// address is on none.
func mapVIPs(m *mapper, t *table, s *stmt, r *rule) {
	var list []string
	for _, in := range s.block {
		in.used[0] = true
		list = append(list, in.name())
		for i := 1; i < len(in.words); i++ {
			switch word := in.words[i].text; word {
			case "dev", "brd", "scope", "label", "peer", "preferred_lft":
				in.arg(i)
				i++
				m.onInterface(t, in, word, in.arg(i))
			case "home", "-nodad", "mngtmpaddr", "noprefixroute", "autojoin", "no_track", "use_vmac":
				in.arg(i)
				m.onInterface(t, in, word, "")
			}
		}
	}
	m.set(t, s, r.key, quoteList(list))
}

// mapVMAC maps use_vmac, whose interface's name means nothing here. Another MAC address is not mapped.
func mapVMAC(m *mapper, t *table, s *stmt, r *rule) {
	if name := s.arg(1); name != "" {
		m.tellOnce(Finding{Pos: s.at(), Kind: Note, Word: s.name(), Text: "no interface " + name + " is made for it"})
	}
	if strings.HasPrefix(s.word(2), "00:00:5e:00:0") {
		s.arg(2) // RFC 5798's, which it is anyway
	}
	m.set(t, s, r.key, "true")
}

func (m *mapper) onInterface(t *table, s *stmt, word, value string) {
	if word != "dev" {
		m.tellOnce(Finding{Pos: s.at(), Kind: Note, Word: s.name(),
			Text: word + " means nothing for a VIP that is on no interface"})
		return
	}
	m.nic(value)
	if e := t.get("interface"); e != nil && e.value != quote(value) {
		m.tell(Finding{Pos: s.at(), Kind: Unmapped, Word: s.name(),
			Text: "ulvs announces a VIP where its instance is, not on " + value})
		m.say(t, "%s:%d: not mapped: %s on %s", s.at().File, s.at().Line, s.name(), value)
	}
}

// mapTracks maps a list of names, each with a weight perhaps.
func mapTracks(m *mapper, t *table, s *stmt, r *rule) {
	var plain, weighted []string
	any := false
	for _, in := range s.block {
		in.used[0] = true
		name := in.name()
		plain = append(plain, name)
		pair := "{ name = " + quote(name)
		if len(in.words) > 2 && in.words[1].text == "weight" {
			if n, err := strconv.Atoi(in.words[2].text); err == nil {
				in.arg(1)
				in.arg(2)
				pair += ", weight = " + strconv.Itoa(n)
				any = true
			}
		}
		weighted = append(weighted, pair+" }")
	}
	if any {
		m.set(t, s, r.key, bracket(weighted))
		return
	}
	m.set(t, s, r.key, quoteList(plain))
}

// mapWeight maps a weight; that it is reversed is reported.
func mapWeight(m *mapper, t *table, s *stmt, r *rule) { number(m, t, s, r) }

// mapProcess maps the name of a program; sweep reports its parameters.
func mapProcess(m *mapper, t *table, s *stmt, r *rule) { text(m, t, s, r) }

// mapUser reports the user of a script.
func mapUser(m *mapper, t *table, s *stmt, _ *rule) { m.runAs(t, s, 1) }
