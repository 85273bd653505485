package keepalived

import "strings"

// mapNothing is for what was looked up before, where it is used.
func mapNothing(_ *mapper, _ *table, _ *stmt, _ *rule) {}

func mapGlobal(m *mapper, t *table, s *stmt, _ *rule) {
	for _, c := range s.lead {
		m.say(m.node, "%s", c)
	}
	m.apply(m.node, s.block, m.sets.global)
}

// mapNode maps router_id.
func mapNode(m *mapper, _ *table, s *stmt, _ *rule) {
	m.set(m.node, s, "name", quote(strings.Join(s.rest(1), " ")))
}

// mapTimeouts maps lvs_timeouts tcp N tcpfin N udp N.
func mapTimeouts(m *mapper, _ *table, s *stmt, _ *rule) {
	t := m.open(m.doc, s, "timeouts", false)
	for i := 1; i+1 < len(s.words); i += 2 {
		switch key := s.words[i].text; key {
		case "tcp", "tcpfin", "udp":
			d, ok := timer(s.words[i+1].text)
			if !ok {
				continue
			}
			s.arg(i)
			s.arg(i + 1)
			m.plain(t, s, key, duration(d))
		}
	}
}

// mapSyncDaemon maps lvs_sync_daemon INTERFACE [inst] NAME and what follows, and lvs_sync_daemon_interface of an
// instance: ulvs speaks the same protocol, and its role follows the instance as keepalived's daemons do.
func mapSyncDaemon(m *mapper, parent *table, s *stmt, _ *rule) {
	if len(s.words) < 2 {
		m.wrong(m.doc, s, "an interface")
		return
	}
	const key = "interface"
	if tables := m.doc.tables("ipvs_sync"); len(tables) > 0 {
		if tables[0].get(key).value == quote(s.arg(1)) {
			return
		}
		s.used[1] = false // one more interface: not mapped
		return
	}
	t := m.open(m.doc, s, "ipvs_sync", false)
	m.plain(t, s, key, quote(s.arg(1)))
	m.syncOptions(t, s, m.syncInstance(t, parent, s))
	m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(),
		Text: "this is for kernels; when all directors run ulvs, [sync] is sealed and repairs what is lost"})
}

// syncWords are keepalived's words after the instance, and our keys.
var syncWords = map[string]string{"id": "sync_id", "maxlen": "max_len", "port": "port", "ttl": "ttl", "group": "group"}

// syncInstance finds whose state the role follows: [inst] NAME, or the instance that the word stands in. It returns
// where the other words begin.
func (m *mapper) syncInstance(t, parent *table, s *stmt) int {
	i, name := 2, ""
	switch {
	case len(s.words) > i+1 && s.words[i].text == "inst":
		s.arg(i)
		i++
		fallthrough
	case len(s.words) > i && syncWords[s.words[i].text] == "":
		name = quote(s.arg(i))
		i++
	case parent != nil && parent.name == "vrrp":
		if e := parent.get("name"); e != nil {
			name = e.value
		}
	}
	if name != "" {
		m.plain(t, s, "role", quote("vrrp"))
		m.plain(t, s, "vrrp", name)
	}
	return i
}

func (m *mapper) syncOptions(t *table, s *stmt, from int) {
	for i := from; i+1 < len(s.words); i += 2 {
		word := s.words[i].text
		key := syncWords[word]
		if key == "" {
			continue
		}
		s.arg(i)
		value := leadingNumber(s.arg(i + 1))
		if word == "group" {
			value = quote(s.words[i+1].text)
		}
		m.plain(t, s, key, value)
	}
}

// standing is a default that global_defs gives to every vrrp_instance.
type standing struct {
	s    *stmt
	rule *rule
	form form
}

// standing looks for such defaults.
func (m *mapper) standing(global *stmt) {
	own := index(instanceRules())
	for _, s := range global.block {
		all := m.sets.global[s.name()]
		if all == nil || all.form == nil || all.key == "" { // vrrp_priority is a process's
			continue
		}
		if r := own[strings.TrimPrefix(s.name(), "vrrp_")]; r != nil && r.form != nil && r.key == all.key {
			m.defaults = append(m.defaults, standing{s, r, r.form})
		}
	}
}

// mapDefault stands for the form of a word that holds for every instance: it is used in mapInstance.
func mapDefault(f form) form {
	if f == nil {
		return nil
	}
	return func(m *mapper, _ *table, s *stmt, _ *rule) {
		s.arg(1)
		m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(), Text: "written into every [[vrrp]] without its own"})
	}
}
