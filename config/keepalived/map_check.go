package keepalived

import "strings"

// mapCheck maps a checker's block. A real server with several has a list.
func mapCheck(m *mapper, t *table, s *stmt, _ *rule) {
	name := "check"
	if m.several {
		name = "checks"
	}
	c := m.open(t, s, name, m.several)
	c.add(&entry{key: "type", value: quote(m.sets.kinds[s.name()]), at: s.at(), word: s.name()})
	several, urls := m.several, 0
	for _, in := range s.block {
		if in.name() == "url" {
			urls++
		}
	}
	m.several = urls > 1
	m.apply(c, s.block, m.sets.checks[s.name()])
	m.several = several
	m.path(c)
}

// path notes that checks go another way than keepalived's where they can.
func (m *mapper) path(c *table) {
	switch c.get("type").value {
	case `"ping"`, `"script"`, `"file"`:
		return
	}
	if c.get("connect_ip") == nil {
		m.tellOnce(Finding{Pos: c.at, Kind: Note, Word: c.word, Text: "a service with a VIP is checked down the way of " +
			"its clients' packets, to the VIP; give via = \"address\" for keepalived's way, to the real server"})
	}
}

// mapURL maps a page of HTTP_GET or SSL_GET: into the check itself, or into its list where there are several.
func mapURL(m *mapper, c *table, s *stmt, _ *rule) {
	if !m.several {
		m.apply(c, s.block, m.sets.url)
		return
	}
	u := &table{name: "url", at: s.at(), word: s.name()}
	m.apply(u, s.block, m.sets.url)
	for _, it := range u.items {
		if it.entry == nil {
			c.items = append(c.items, it)
		}
	}
	one := u.pairs()
	if e := c.get("urls"); e != nil {
		e.value = strings.TrimSuffix(e.value, "]") + "  " + one + ",\n]"
		return
	}
	m.set(c, s, "urls", "[\n  "+one+",\n]")
}

// pairs is the table as an inline one, without comments.
func (t *table) pairs() string {
	var list []string
	for _, it := range t.items {
		if it.entry != nil {
			list = append(list, it.entry.key+" = "+it.entry.value)
		}
	}
	return "{ " + strings.Join(list, ", ") + " }"
}

// mapHost maps the block that SMTP_CHECK had before connect_ip and its like stood in the check.
func mapHost(m *mapper, c *table, s *stmt, _ *rule) {
	m.apply(c, s.block, m.sets.checks["SMTP_CHECK"])
}

// mapReply maps require_reply, with the bytes that the reply begins with.
func mapReply(m *mapper, c *table, s *stmt, _ *rule) {
	m.set(c, s, "require_reply", "true")
	if reply := strings.Join(s.rest(1), " "); reply != "" {
		m.plain(c, s, "reply", quote(reply))
	}
}

// trackedFile remembers which file a track_file is about.
func (m *mapper) trackedFile(s *stmt) {
	for _, in := range s.block {
		if in.name() == "file" && len(in.words) > 1 && len(s.words) > 1 {
			m.files[s.words[1].text] = in.words[1].text
		}
	}
}

// mapTracked maps FILE_CHECK's track_file to the file that it is about.
func mapTracked(m *mapper, c *table, s *stmt, r *rule) {
	path, ok := m.files[s.arg(1)]
	if !ok {
		m.wrong(c, s, "the name of a track_file block")
		return
	}
	m.set(c, s, r.key, quote(path))
}

func mapFileWeight(m *mapper, c *table, s *stmt, r *rule) { number(m, c, s, r) }
