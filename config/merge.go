package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"ulvs/lvs"
)

// Merge writes want into the text of a file and leaves everything else as it is: values are replaced
// where they stand, new real servers and services follow those before them, removed ones go
// with the comments right above and below. What is returned parses to want exactly. A text that
// says want already is returned unchanged. The error is an ErrorList when the text has errors.
func Merge(name string, text []byte, want State) ([]byte, error) {
	old, err := Parse(name, text, Options{})
	if err != nil {
		return nil, err
	}
	want = want.canonical()
	if old.State().Equal(want) {
		return text, nil
	}
	for _, anew := range []bool{false, true} {
		m := newMerger(string(text), old, want)
		if anew {
			m.forget()
		}
		out := m.merge()
		if err = says(name, out, old, want); err == nil {
			return []byte(out), nil
		}
	}
	return nil, err
}

// says checks that a merged text means what it should.
func says(name, text string, old *Config, want State) error {
	c, err := Parse(name, []byte(text), Options{})
	if err != nil {
		return fmt.Errorf("what runs cannot be said in a file:\n%w", err)
	}
	if got := c.State(); !got.Equal(want) {
		words := Words(Diff(got, want))
		return fmt.Errorf("what runs cannot be said in a file: %s", strings.Join(words[:min(len(words), 10)], "; "))
	}
	if !reflect.DeepEqual(c.Node, old.Node) || !reflect.DeepEqual(c.marks, old.marks) {
		return errors.New("the file cannot be changed without changing its [node] or [[mark]]: write it in plain tables")
	}
	return nil
}

// change replaces text[start:end] of a document.
type change struct {
	start, end int
	text       string
}

// merger turns one document into another.
type merger struct {
	*document
	old      *Config
	want     State
	changes  map[int][]change            // by piece
	services map[lvs.ServiceKey]int      // indexes in the file
	care     [2]map[lvs.ServiceKey]*Care // what the file says, and what is wanted
	rewrite  map[int]string              // services whose tables are written anew, by index
	add      map[string][]keyValue       // to sections that the file does not have
	out      writer
}

func newMerger(text string, old *Config, want State) *merger {
	m := &merger{
		document: newDocument(text), old: old, want: want, services: map[lvs.ServiceKey]int{},
		changes: map[int][]change{}, rewrite: map[int]string{}, add: map[string][]keyValue{}, out: writer{eol: "\n"},
		care: [2]map[lvs.ServiceKey]*Care{careByKey(old.care), careByKey(want.Care)},
	}
	if strings.Contains(text, "\r\n") {
		m.out.eol = "\r\n"
	}
	for i := range old.services {
		m.services[old.services[i].Key] = i
	}
	return m
}

// forget takes everything that can change out of the document, to be written anew: for files in
// which it stands in inline tables or dotted keys.
func (m *merger) forget() {
	for path, at := range m.keys {
		section, _, _ := strings.Cut(path, ".")
		section, _, _ = strings.Cut(section, "[")
		if !at.inner && (section == "service" || section == "timeouts" || section == "settings") {
			m.cutLines(path, at)
		}
	}
	for i := range m.pieces {
		p := &m.pieces[i]
		p.gone = p.svc >= 0 || p.table == "timeouts" || p.table == "settings"
	}
	m.keys, m.tables, m.services = nil, nil, nil
	m.old = &Config{Timeouts: Timeouts{defaultTCP, defaultTCPFin, defaultUDP}, Settings: lvs.DefaultSettings()}
}

func (m *merger) merge() string {
	m.mergeValues("timeouts", timeoutValues(m.old.Timeouts), timeoutValues(m.want.Timeouts))
	m.mergeValues("settings", settingValues(m.old.Settings), settingValues(m.want.Settings))
	for i := range m.want.Services {
		if at, known := m.services[m.want.Services[i].Key]; known {
			m.mergeService(at, &m.want.Services[i])
		}
	}
	for _, list := range m.changes {
		slices.SortStableFunc(list, func(a, b change) int { return cmp.Compare(a.start, b.start) })
	}
	m.emit()
	for _, section := range slices.Sorted(maps.Keys(m.add)) {
		m.out.block("[" + section + "]\n")
		var b strings.Builder
		writeValues(&b, "", m.add[section])
		m.out.raw(strings.ReplaceAll(b.String(), "\n", m.out.eol))
	}
	return m.out.String()
}

func settingValues(s lvs.Settings) (values []keyValue) {
	def := lvs.DefaultSettings()
	for _, name := range lvs.SettingNames() {
		v, _ := s.Get(name)
		d, _ := def.Get(name)
		values = append(values, keyValue{name, fmt.Sprint(v), v == d})
	}
	return values
}

// mergeValues changes the keys of a table that differ. A tunnel's type of one's own ends what is
// inherited of a tunnel, so all of it is said with a new one.
func (m *merger) mergeValues(table string, from, to []keyValue) {
	retyped := false
	for i, v := range to {
		retyped = retyped || v.key == "tunnel_type" && from[i].value != v.value
		if from[i].value == v.value && !(retyped && strings.HasPrefix(v.key, "tunnel_")) {
			continue
		}
		path := table + "." + v.key
		if strings.HasPrefix(v.key, "check") {
			m.dropTables(path)
		}
		at, known := m.keys[path]
		home, exists := m.tables[table]
		switch {
		case known && v.value == "":
			m.cutLines(path, at)
		case known:
			m.change(m.owner[path], change{at.value, at.end, v.value})
		case v.value == "" || v.leave && !strings.HasPrefix(v.key, "tunnel_"):
		case exists:
			m.insertKey(home, v)
		default:
			v.leave = false
			m.add[table] = append(m.add[table], v)
		}
	}
}

// dropTables takes away what a key has in tables of its own, [service.check]: it is written in one line.
func (m *merger) dropTables(path string) {
	if len(m.tables) == 0 {
		return
	}
	for i := range m.pieces {
		rest, ours := strings.CutPrefix(m.pieces[i].table, path)
		if ours && (rest == "" || strings.ContainsAny(rest[:1], ".[")) {
			m.pieces[i].gone = true
		}
	}
}

func (m *merger) change(piece int, c change) { m.changes[piece] = append(m.changes[piece], c) }

// cutLines takes a key away with its lines. One in an inline table stays; then says notices, and all
// is written anew.
func (m *merger) cutLines(path string, at stretch) {
	if !at.inner {
		m.change(m.owner[path], change{lineStart(m.text, at.key), lineEnd(m.text, at.end), ""})
	}
}

func (m *merger) insertKey(piece int, v keyValue) {
	p := &m.pieces[piece]
	text := p.indent + v.key + " = " + v.value + m.out.eol
	if p.insert > 0 && m.text[p.insert-1] != '\n' {
		text = m.out.eol + text
	}
	m.change(piece, change{p.insert, p.insert, text})
}

// mergeService changes what differs in a service's own tables.
func (m *merger) mergeService(at int, want *lvs.Service) {
	old := &m.old.services[at]
	path := fmt.Sprintf("service[%d]", at)
	had, care := m.care[0][want.Key], m.care[1][want.Key]
	same := reflect.DeepEqual(State{Services: []lvs.Service{*old}}.canonical().Services[0], *want)
	if same && reflect.DeepEqual(had, care) {
		return
	}
	if _, inline := m.keys[path+".real_server"]; inline {
		m.rewrite[at] = renderService(want, care, "  ")
		return
	}
	in, wanted := m.old.inherits[at], byAddress(want)
	m.mergeValues(path, serviceValues(old, had, in), serviceValues(want, care, in))
	for k := range old.Destinations {
		d := &old.Destinations[k]
		if next := wanted[d.AddrPort()]; next != nil {
			table := fmt.Sprintf("%s.real_server[%d]", path, len(old.Destinations)-1-k)
			ap := d.AddrPort()
			m.mergeValues(table, destValues(d, had.Server(ap), in), destValues(next, care.Server(ap), in))
		}
	}
}
