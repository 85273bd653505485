package keepalived

import (
	"fmt"
	"strings"

	"ulvs/config"
)

// rule is what becomes of one word of keepalived. The tables of rules are also those of docs/keepalived.md.
type rule struct {
	word string
	key  string // ulvs's key; empty: there is none, and why tells what to do instead
	form form   // how the arguments become a value; nil: not at all
	why  string // of what is not mapped, or what to know
}

// form maps the arguments of a statement by a rule into a table. It marks what it used of the statement.
type form func(m *mapper, t *table, s *stmt, r *rule)

// rules are those of one kind of block, by word.
type rules map[string]*rule

func index(lists ...[]rule) rules {
	out := rules{}
	for _, list := range lists {
		for i := range list {
			out[list[i].word] = &list[i]
		}
	}
	return out
}

// mapper turns statements into the tables of a document.
type mapper struct {
	judge    func(text []byte) (*config.Config, error)
	doc      *table
	node     *table
	findings []Finding
	once     map[string]int // by what is said once: its finding

	quiet           bool              // a service of a group is written again: all was said already
	groups          map[string]*stmt  // virtual_server_group by name
	files           map[string]string // track_file's file by name
	defaults        []standing
	nics            []string
	limit, expanded int               // services of groups
	ports           map[*table]string // of real servers, as given
	several         bool              // the real server, or the check, at hand has several checks, or URLs
	sets            ruleSets
}

func (m *mapper) tell(f Finding) {
	if !m.quiet {
		m.findings = append(m.findings, f)
	}
}

// say leaves a comment in t.
func (m *mapper) say(t *table, format string, args ...any) {
	if !m.quiet {
		t.items = append(t.items, item{text: fmt.Sprintf(format, args...)})
	}
}

// lead returns the comments above a statement, once.
func (m *mapper) lead(s *stmt) []string {
	if m.quiet {
		return nil
	}
	return s.lead
}

// tellOnce reports what holds for many places at the first of them.
func (m *mapper) tellOnce(f Finding) {
	if m.quiet {
		return
	}
	if i, told := m.once[f.Text]; told {
		m.findings[i].more()
		return
	}
	m.once[f.Text] = len(m.findings)
	m.tell(f)
}

// more counts that a finding holds for one more place.
func (f *Finding) more() { f.Places = max(f.Places, 1) + 1 }

// apply maps the statements of a block into t. What no rule knows, and what a rule did not use, is reported.
func (m *mapper) apply(t *table, block []*stmt, by rules) {
	for _, s := range block {
		m.one(t, s, by[s.name()])
	}
}

func (m *mapper) one(t *table, s *stmt, r *rule) {
	switch {
	case r == nil:
		m.drop(t, s, "no word of keepalived's here; is it spelled right?")
	case r.form == nil:
		m.drop(t, s, r.why)
	default:
		s.used[0] = true
		r.form(m, t, s, r)
		m.sweep(t, s)
	}
}

// drop reports a statement that becomes nothing, with all that is in it, and keeps its text as a comment.
func (m *mapper) drop(t *table, s *stmt, why string) {
	text := why
	if n := s.count() - 1; n > 0 {
		text = fmt.Sprintf("%s (with what is in it, lines: %d)", why, n)
	}
	m.tell(Finding{Pos: s.at(), Kind: Unmapped, Word: s.name(), Text: text})
	for _, c := range s.lead {
		m.say(t, "%s", c)
	}
	m.say(t, "%s:%d: not mapped: %s\n%s", s.at().File, s.at().Line, why, s.text("  "))
	s.take()
}

// count is how many statements s is, those in it included.
func (s *stmt) count() int {
	n := 1
	for _, in := range s.block {
		n += in.count()
	}
	return n
}

// text is the statement with its block, as it was written but for blanks and comments.
func (s *stmt) text(indent string) string {
	out := indent + s.source()
	if !s.opens {
		return out
	}
	out += " {\n"
	for _, in := range s.block {
		out += in.text(indent+"  ") + "\n"
	}
	return out + indent + "}"
}

// sweep reports what is left of a statement when its rule is done: that nothing is dropped silently holds here.
func (m *mapper) sweep(t *table, s *stmt) {
	for i, used := range s.used {
		if used {
			continue
		}
		var left []string
		for k := i; k < len(s.words); k++ {
			if !s.used[k] {
				left = append(left, s.words[k].text)
				s.used[k] = true
			}
		}
		what := strings.Join(left, " ")
		if i == 0 {
			what = s.source()
		}
		m.tell(Finding{Pos: s.words[i].at, Kind: Unmapped, Word: s.name(),
			Text: fmt.Sprintf("ulvs has nothing for %q", what)})
		m.say(t, "%s:%d: %s: not mapped: %s", s.at().File, s.at().Line, s.name(), what)
	}
	for _, in := range s.block {
		m.sweep(t, in)
	}
}

// set adds a key that a statement becomes, with its comments.
func (m *mapper) set(t *table, s *stmt, key, value string) *entry {
	s.used[0] = true
	if old := t.get(key); old != nil {
		m.tell(Finding{Pos: s.at(), Kind: Note, Word: s.name(),
			Text: fmt.Sprintf("given twice; this one holds, not that of line %d", old.at.Line)})
		old.value, old.at, old.word = value, s.at(), s.name()
		return old
	}
	return t.add(&entry{key: key, value: value, at: s.at(), word: s.name(), lead: m.lead(s), note: s.trail})
}

// assume adds a key that the source does not have, since ulvs has another default than keepalived.
func (m *mapper) assume(t *table, key, value string) {
	if t.get(key) == nil {
		t.add(&entry{key: key, value: value, at: t.at, word: t.word, note: "keepalived's default"})
	}
}

// open begins a table that a statement becomes, with its comments.
func (m *mapper) open(parent *table, s *stmt, name string, array bool) *table {
	s.used[0] = true
	lead := m.lead(s)
	if s.trail != "" {
		lead = append(lead[:len(lead):len(lead)], s.trail)
	}
	return parent.sub(&table{name: name, array: array, at: s.at(), word: s.name(), lead: lead})
}

// wrong reports an argument that cannot be what it should be.
func (m *mapper) wrong(t *table, s *stmt, want string) {
	at := s.at()
	if len(s.words) > 1 {
		at = s.words[1].at
	}
	m.tell(Finding{Pos: at, Kind: Broken, Word: s.name(), Text: fmt.Sprintf("expected %s, not %q", want, s.source())})
	m.say(t, "%s:%d: expected %s\n%s", s.at().File, s.at().Line, want, s.text("  "))
	s.take()
}
