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

// mapSyncDaemon maps the interface of lvs_sync_daemon, and of lvs_sync_daemon_interface in an instance.
func mapSyncDaemon(m *mapper, _ *table, s *stmt, _ *rule) {
	if len(s.words) < 2 {
		m.wrong(m.doc, s, "an interface")
		return
	}
	const key = "interface"
	if tables := m.doc.tables("sync"); len(tables) > 0 {
		if tables[0].get(key).value == quote(s.arg(1)) {
			return
		}
		s.used[1] = false // one more interface: not mapped
		return
	}
	t := m.open(m.doc, s, "sync", false)
	t.add(&entry{key: key, value: quote(s.arg(1)), at: s.at(), word: s.name()})
	m.syncInstance(s)
	m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(),
		Text: "sessions are sent sealed: [sync] needs a key_file, and the peers' addresses"})
}

// syncInstance passes [inst] NAME: sessions follow every VIP, whichever instance holds it.
func (m *mapper) syncInstance(s *stmt) {
	i := 2
	if i+1 < len(s.words) && s.words[i].text == "inst" {
		s.arg(i)
		i++
	} else if i < len(s.words) {
		switch s.words[i].text {
		case "id", "maxlen", "port", "ttl", "group":
			return
		}
	}
	if name := s.arg(i); name != "" {
		m.tell(Finding{Pos: s.words[i].at, Kind: Note, Word: s.name(),
			Text: "sessions of all services are sent, not only while " + name + " is master"})
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
