package keepalived

import (
	"errors"
	"fmt"
	"strings"

	"ulvs/config"
)

// maxRounds bounds how often the result is judged. Each round comments something out that was there.
const maxRounds = 1000

// accept has package config read the result, and comments out what it refuses, until it takes the rest. So the
// result always passes, and importing has no second list of what this version supports.
func (m *mapper) accept() (text string, c *config.Config, err error) {
	for range maxRounds {
		text = m.doc.render()
		c, err = m.judge([]byte(text))
		var list config.ErrorList
		if !errors.As(err, &list) {
			return text, c, err
		}
		changed, at := false, map[string]*table{}
		m.doc.paths(at)
		for _, e := range list {
			e.Msg = plainer(e.Msg)
			changed = m.refuse(e, at) || changed
		}
		if !changed {
			return text, nil, fmt.Errorf("the result cannot be read, which is a defect of ulvs import: %w", err)
		}
	}
	return text, nil, fmt.Errorf("the result cannot be read after %d repairs: %w", maxRounds, err)
}

// parse is the judge: config itself.
func parse(text []byte) (*config.Config, error) {
	return config.Parse("ulvs.toml", text, config.Options{})
}

// plainer words a complaint for somebody who did not write the key.
func plainer(msg string) string {
	if strings.HasPrefix(msg, "unknown key") || strings.HasPrefix(msg, "not supported by this version yet") {
		return "this version of ulvs has no such key"
	}
	msg, _, _ = strings.Cut(msg, "; the first one is on line") // of the result, which nobody has yet
	return msg
}

// identity tells keys without which their table means nothing.
func identity(key string) bool {
	switch key {
	case "vip", "mark", "address", "type", "name":
		return true
	}
	return false
}

// refuse comments out what e complains about, and reports it. It is false if nothing was there.
func (m *mapper) refuse(e config.Error, at map[string]*table) bool {
	path := e.Key
	for at[path] == nil {
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return m.refuseAll(e) // a list as a whole, like "vrrp"
		}
		path = path[:i]
	}
	t := at[path]
	key, _, _ := strings.Cut(strings.TrimPrefix(e.Key[len(path):], "."), ".")
	key, _, _ = strings.Cut(key, "[")
	if it := t.get(key); it != nil && (!identity(key) || t.name == "node") && it.refused == "" {
		switch {
		case it.value == guess:
			return false
		case key == "interfaces": // required: there has to be something
			it.value, it.note = guess, "a guess instead of "+it.value
		default:
			it.refused = e.Msg
		}
		m.refused(it.at, it.word, t.header()+"."+key, e.Msg)
		return true
	}
	if t.name == "node" || t.refused != "" {
		return false
	}
	t.refused = e.Msg
	m.refused(t.at, t.word, t.header(), e.Msg)
	return true
}

// paths adds the tables in t that are not commented out.
func (t *table) paths(at map[string]*table) {
	for _, it := range t.items {
		if it.table != nil && it.table.path != "" {
			at[it.table.path] = it.table
			it.table.paths(at)
		}
	}
}

// header is the path without indexes.
func (t *table) header() string {
	parts := strings.Split(t.path, ".")
	for i := range parts {
		parts[i], _, _ = strings.Cut(parts[i], "[")
	}
	return strings.Join(parts, ".")
}

// refused reports what is commented out; once, where config says the same of many places.
func (m *mapper) refused(at Pos, word, what, msg string) {
	m.tellOnce(Finding{Pos: at, Kind: Refused, Word: word, Text: what + " is commented out: " + msg})
}

// refuseAll comments out all tables of a list.
func (m *mapper) refuseAll(e config.Error) (found bool) {
	name, _, _ := strings.Cut(e.Key, "[")
	for _, t := range m.doc.tables(name) {
		if t.refused == "" && t.name != "node" {
			t.refused, found = e.Msg, true
			m.refused(t.at, t.word, name, e.Msg)
		}
	}
	return found
}
