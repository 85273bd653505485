package keepalived

import (
	"fmt"
	"strings"

	"ulvs/config"
)

// Result is what a keepalived.conf becomes.
type Result struct {
	TOML     string    // passes package config
	Findings []Finding // in the order in which they were found: syntax, then meaning, then what config refused
	Config   *config.Config
}

// Count returns how many findings are of a kind.
func (r *Result) Count(k Kind) (n int) {
	for _, f := range r.Findings {
		if f.Kind == k {
			n++
		}
	}
	return n
}

// Import reads the file at path and what it includes. A file with mistakes is imported as far as it is understood,
// and has findings of kind Broken. The error is about files that cannot be read, or limits that are exceeded.
func Import(path string, opt Options) (*Result, error) {
	var findings []Finding
	r := &reader{opt: opt, tree: newTree(&findings), findings: &findings, defs: map[string]string{},
		budget: MaxExpandedBytes}
	if err := r.file(path, Pos{path, 1, 1}); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	r.tree.finish(Pos{path, max(r.last, 1), 1})
	m := newMapper(path, findings)
	if opt.expanded > 0 {
		m.limit = opt.expanded
	}
	if opt.judge != nil {
		m.judge = opt.judge
	}
	m.all(r.tree.root.block)
	text, c, err := m.accept()
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", path, err)
	}
	return &Result{TOML: text, Findings: m.findings, Config: c}, nil
}

// ruleSets are the rules of all blocks.
type ruleSets struct {
	top, global, instance, syncGroup, script, trackFile, trackProcess rules
	server, real, url                                                 rules
	checks                                                            map[string]rules  // by name of a checker
	kinds                                                             map[string]string // type by that name
}

func allRules() ruleSets {
	s := ruleSets{
		top: index(topRules()), global: index(globalRules()), instance: index(instanceRules()),
		syncGroup: index(syncGroupRules()), script: index(scriptRules()), trackFile: index(trackFileRules()),
		trackProcess: index(trackProcessRules()), server: index(serverRules()), real: index(realRules()),
		url: index(urlRules()), checks: map[string]rules{}, kinds: map[string]string{},
	}
	for _, c := range checkers() {
		s.checks[c.word] = index(checkRules(), c.rules)
		s.kinds[c.word] = c.kind
	}
	return s
}

func newMapper(path string, findings []Finding) *mapper {
	m := &mapper{judge: parse, doc: &table{}, findings: findings, limit: maxExpanded,
		once: map[string]int{}, groups: map[string]*stmt{},
		files: map[string]string{}, ports: map[*table]string{}, sets: allRules()}
	m.doc.lead = []string{
		"Made by ulvs import of " + path + ".",
		"A comment that names a line of it says what is not mapped, and why.",
	}
	m.node = m.doc.sub(&table{name: "node", at: Pos{path, 1, 1}})
	return m
}

// all maps a configuration. What others refer to, wherever it stands, is looked up first.
func (m *mapper) all(block []*stmt) {
	for _, s := range block {
		switch s.name() {
		case "virtual_server_group":
			m.group(s)
		case "global_defs":
			m.standing(s)
		case "track_file", "vrrp_track_file":
			m.trackedFile(s)
		}
	}
	m.apply(m.doc, block, m.sets.top)
	m.unusedGroups(block)
	m.sweepAll(block)
	m.interfaces()
}

// sweepAll is the account's last line: it finds nothing unless a rule forgot a word.
func (m *mapper) sweepAll(block []*stmt) {
	for _, s := range block {
		m.sweep(m.doc, s)
	}
}

// nic remembers an interface of the source for [node].
func (m *mapper) nic(name string) {
	for _, known := range m.nics {
		if known == name {
			return
		}
	}
	m.nics = append(m.nics, name)
}

// guess is node.interfaces where the source says nothing useful.
const guess = `["eth0"]`

// interfaces writes node.interfaces: those that the source names. Of a VLAN it is the one below.
func (m *mapper) interfaces() {
	e := &entry{key: "interfaces", at: m.node.at, word: "interface", note: "add those towards the real servers"}
	var list []string
	for _, name := range m.nics {
		if parent, vlan, ok := strings.Cut(name, "."); ok && vlan != "" && strings.Trim(vlan, "0123456789") == "" {
			m.tell(Finding{Pos: e.at, Kind: Note, Word: name, Text: "a VLAN is used by the interface below it, " + parent})
			name = parent
		}
		if !contains(list, name) {
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		e.note = "a guess: the NICs that carry VIP traffic, client side and server side"
		m.tell(Finding{Pos: e.at, Kind: Note, Text: "no interface is named; node.interfaces is a guess: eth0"})
	}
	if e.value = quoteList(list); len(list) == 0 {
		e.value = guess
	}
	m.node.add(e)
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// Looks tells whether a text is a keepalived.conf rather than TOML: a line of it opens one of keepalived's blocks.
func Looks(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch strings.TrimSuffix(words[0], "{") {
		case "global_defs", "vrrp_instance", "vrrp_script", "vrrp_sync_group", "virtual_server", "virtual_server_group":
			return len(words) == 1 || words[1] != "="
		}
	}
	return false
}
