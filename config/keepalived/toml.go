package keepalived

import (
	"fmt"
	"strings"
)

// maxInline is how long a line with an inline table may become; longer ones are written as tables of their own.
const maxInline = 110

// entry is a key of the result, and where it comes from.
type entry struct {
	key, value string // value in TOML
	at         Pos
	word       string   // keepalived's
	lead       []string // comments above it
	note       string   // comment behind it
	refused    string   // by config, why: commented out
}

// table is a table of the result.
type table struct {
	name    string // its last key: "service", "real_server"
	array   bool   // one of a list
	at      Pos
	word    string
	lead    []string
	items   []item // in the order of the source
	refused string // by config, why: commented out with all in it
	path    string // of the last rendering, as config writes paths
}

// item is one of the three things that a table holds.
type item struct {
	entry *entry
	table *table
	text  string // a comment of its own
}

func (t *table) add(e *entry) *entry {
	t.items = append(t.items, item{entry: e})
	return e
}

func (t *table) sub(in *table) *table {
	t.items = append(t.items, item{table: in})
	return in
}

// get returns the entry with that key, nil if there is none.
func (t *table) get(key string) *entry {
	for _, it := range t.items {
		if it.entry != nil && it.entry.key == key {
			return it.entry
		}
	}
	return nil
}

// tables returns the tables in t with that name.
func (t *table) tables(name string) (out []*table) {
	for _, it := range t.items {
		if it.table != nil && it.table.name == name {
			out = append(out, it.table)
		}
	}
	return out
}

// writer renders a document.
type writer struct{ strings.Builder }

// place is where a table is written.
type place struct {
	header string // of the tables around it, with a dot behind it
	indent string
	off    bool           // commented out
	counts map[string]int // how many tables of each list stand before it, those commented out not counted
}

// render returns the document as TOML, and gives each table its path. It has no keys of its own, so that comments
// between tables stay there.
func (t *table) render() string {
	var w writer
	w.comments(t.lead, "")
	p := place{counts: map[string]int{}}
	for _, it := range t.items {
		if it.table != nil {
			w.table(t, it.table, p)
			continue
		}
		w.WriteByte('\n')
		w.comment(it.text, "")
	}
	return w.String()
}

// items writes the keys of a table, then the tables in it: a key behind those would be theirs.
func (w *writer) items(t *table, p place) {
	for _, it := range t.items {
		switch {
		case it.entry != nil:
			w.entry(it.entry, p)
		case it.table == nil:
			w.comment(it.text, p.indent)
		case !it.table.array && t.inlines(it.table):
			it.table.locate(t, p)
			w.line(p, it.table.name+" = "+it.table.inlineText(), "")
		}
	}
	w.list(t, p)
	for _, it := range t.items {
		if it.table != nil && !t.inlines(it.table) {
			w.table(t, it.table, p)
		}
	}
}

// inlines tells tables that are written on a line, and lists of them: checks that are short enough.
func (t *table) inlines(in *table) bool {
	if in.name != "check" && in.name != "checks" {
		return false
	}
	for _, other := range t.tables(in.name) {
		if !other.short() {
			return false
		}
	}
	return true
}

// short tells whether a table fits on a line: it does without comments.
func (t *table) short() bool {
	if t.refused != "" || len(t.lead) > 0 {
		return false
	}
	for _, it := range t.items {
		if it.entry == nil || it.entry.refused != "" || it.entry.note != "" || len(it.entry.lead) > 0 {
			return false
		}
	}
	text := t.inlineText()
	return len(text)+len(t.name) < maxInline && !strings.Contains(text, "\n")
}

func (t *table) inlineText() string {
	pairs := make([]string, 0, len(t.items))
	for _, it := range t.items {
		pairs = append(pairs, it.entry.key+" = "+it.entry.value)
	}
	return "{ " + strings.Join(pairs, ", ") + " }"
}

// list writes several short checks.
func (w *writer) list(parent *table, p place) {
	all := parent.tables("checks")
	if len(all) == 0 || !parent.inlines(all[0]) {
		return
	}
	w.line(p, "checks = [", "")
	inner := p
	inner.indent += "  "
	for _, t := range all {
		t.locate(parent, p)
		w.line(inner, t.inlineText()+",", "")
	}
	w.line(p, "]", "")
}

// locate gives t the path that config will call it by.
func (t *table) locate(parent *table, p place) {
	if p.off {
		t.path = ""
		return
	}
	t.path = t.name
	if parent.path != "" {
		t.path = parent.path + "." + t.name
	}
	if t.array {
		t.path = fmt.Sprintf("%s[%d]", t.path, p.counts[t.name])
		p.counts[t.name]++
	}
}

func (w *writer) table(parent, t *table, p place) {
	p.off = p.off || t.refused != ""
	t.locate(parent, p)
	if p.header != "" {
		p.indent += "  "
	}
	p.header += t.name
	brackets := "[" + p.header + "]"
	if t.array {
		brackets = "[[" + p.header + "]]"
	}
	w.WriteByte('\n')
	w.comments(t.lead, p.indent)
	w.refusal(t.refused, p.indent)
	w.line(p, brackets, "")
	p.header, p.counts = p.header+".", map[string]int{}
	w.items(t, p)
}

func (w *writer) entry(e *entry, p place) {
	w.comments(e.lead, p.indent)
	w.refusal(e.refused, p.indent)
	p.off = p.off || e.refused != ""
	w.line(p, e.key+" = "+e.value, e.note)
}

// refusal says why the following is commented out.
func (w *writer) refusal(why, indent string) {
	if why != "" {
		w.comment("refused: "+why, indent)
	}
}

// line writes a line of TOML, or several, as comments where they are off.
func (w *writer) line(p place, text, note string) {
	if note != "" {
		text += "  # " + oneLine(note)
	}
	for part := range strings.SplitSeq(text, "\n") {
		if p.off {
			part = "# " + part
		}
		w.WriteString(p.indent + part + "\n")
	}
}

func (w *writer) comments(texts []string, indent string) {
	for _, text := range texts {
		w.comment(text, indent)
	}
}

func (w *writer) comment(text, indent string) {
	for part := range strings.SplitSeq(text, "\n") {
		w.WriteString(strings.TrimRight(indent+"# "+oneLine(part), " ") + "\n")
	}
}

// oneLine makes a comment of text: TOML allows no control characters in one.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// quote returns s as a TOML string: literal where that spares backslashes.
func quote(s string) string {
	plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
	if plain && strings.ContainsAny(s, `\"`) && !strings.Contains(s, "'") {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quoteList returns a list of strings, one a line where they do not fit on one.
func quoteList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return bracket(quoted)
}

func bracket(values []string) string {
	if short := "[" + strings.Join(values, ", ") + "]"; len(short) < maxInline-20 {
		return short
	}
	return "[\n  " + strings.Join(values, ",\n  ") + ",\n]"
}
