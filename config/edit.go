package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ulvs/lvs"
)

// Edit is one change to what runs, in the words of the file.
type Edit struct {
	Op      string         `json:"op"`      // one of EditOps
	Service string         `json:"service"` // its name, see lvs.ParseServiceKey; not of EditAddService
	Server  string         `json:"server"`  // the real server's address; of the ops about one, but for EditAddServer
	Keys    map[string]any `json:"keys"`    // of the ops that add or set; null takes a key away, so that its default holds
}

// The operations. To set changes the keys that are given and leaves the others as they are.
const (
	EditAddService    = "add_service"
	EditSetService    = "set_service"
	EditRemoveService = "remove_service"
	EditAddServer     = "add_server"
	EditSetServer     = "set_server"
	EditRemoveServer  = "remove_server"
)

// EditOps lists the operations.
func EditOps() []string {
	return []string{EditAddService, EditSetService, EditRemoveService, EditAddServer, EditSetServer, EditRemoveServer}
}

// MaxEdits bounds a list of edits.
const MaxEdits = 10000

// ApplyEdits returns the state as the edits leave it: all of them, or none and an error with everything that is
// wrong. What a file may not say an edit may not either, with the same words.
func ApplyEdits(s State, edits []Edit) (State, error) {
	if len(edits) > MaxEdits {
		return s, fmt.Errorf("%d edits; give up to %d at once", len(edits), MaxEdits)
	}
	e := &editing{state: s, at: make(map[lvs.ServiceKey]int, len(s.Services)), tables: map[lvs.ServiceKey]map[string]any{}}
	for i := range s.Services {
		e.at[s.Services[i].Key] = i
	}
	e.care = careByKey(s.Care)
	var errs []error
	for i := range edits {
		if err := e.edit(&edits[i]); err != nil {
			errs = append(errs, fmt.Errorf("edit %d: %w", i+1, err))
		}
	}
	if len(errs) > 0 {
		return s, errors.Join(errs...)
	}
	return e.parse()
}

// editing is a state with the services that edits are about taken apart into tables as a file has them.
type editing struct {
	state  State
	at     map[lvs.ServiceKey]int // places in the state
	care   map[lvs.ServiceKey]*Care
	tables map[lvs.ServiceKey]map[string]any // nil: removed
	order  []lvs.ServiceKey                  // of tables
}

func (e *editing) edit(x *Edit) error {
	keys, err := whole(map[string]any(x.Keys))
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	k, _ := plain(keys).(map[string]any)
	if x.Op == EditAddService {
		return e.addService(k)
	}
	if !slices.Contains(EditOps(), x.Op) {
		return fmt.Errorf("unknown op %.60q; %s", x.Op, wouldBeRight(x.Op, EditOps()))
	}
	key, err := lvs.ParseServiceKey(x.Service)
	if err != nil {
		return err
	}
	t, err := e.table(key)
	if err != nil {
		return err
	}
	switch x.Op {
	case EditRemoveService:
		e.tables[key] = nil
	case EditSetService:
		return set(t, k, "vip", "protocol", "mark", "family", "real_server")
	case EditAddServer:
		t["real_server"] = append(serversOf(t), k)
	default:
		return e.editServer(x, key, t, k)
	}
	return nil
}

// plain turns Keys into the maps that the TOML library makes.
func plain(v any) any {
	switch v := v.(type) {
	case Keys:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			out[key] = plain(inner)
		}
		return out
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return v
}

// addService takes a table apart only so far that its key is known.
func (e *editing) addService(k map[string]any) error {
	p := &parser{file: "edit"}
	key, ok := (&table{p: p, path: "service", m: k}).serviceKey()
	if !ok {
		return p.words("service")
	}
	_, known := e.at[key]
	if t, edited := e.tables[key]; edited {
		known = t != nil
	}
	if known {
		return fmt.Errorf("service %s is there already", key.Name())
	}
	e.put(key, k)
	return nil
}

func (e *editing) put(key lvs.ServiceKey, t map[string]any) {
	if _, known := e.tables[key]; !known {
		e.order = append(e.order, key)
	}
	e.tables[key] = t
}

// table returns a service's table, as a file would have it.
func (e *editing) table(key lvs.ServiceKey) (map[string]any, error) {
	if t, edited := e.tables[key]; edited && t != nil {
		return t, nil
	}
	i, known := e.at[key]
	if _, removed := e.tables[key]; !known || removed {
		return nil, fmt.Errorf("there is no service %s", key.Name())
	}
	m, err := decodeMap([]byte(renderService(&e.state.Services[i], e.care[key], "")))
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", key.Name(), err)
	}
	list, _ := asTables(m["service"])
	e.put(key, list[0])
	return list[0], nil
}

// set changes the keys that k gives, but for those that tell an object from others.
func set(t, k map[string]any, fixed ...string) error {
	for key, v := range k {
		switch {
		case slices.Contains(fixed, key):
			return fmt.Errorf("%s: cannot be set; remove it, or add another", key)
		case v == nil:
			delete(t, key)
		default:
			t[key] = v
		}
	}
	return nil
}

func serversOf(t map[string]any) []any {
	if list, ok := asTables(t["real_server"]); ok {
		out := make([]any, len(list))
		for i := range list {
			out[i] = list[i]
		}
		return out
	}
	return nil
}

// editServer changes or removes a real server.
func (e *editing) editServer(x *Edit, key lvs.ServiceKey, t, k map[string]any) error {
	ap, hasPort, err := parseAddress(x.Server)
	if err != nil {
		return fmt.Errorf("server: %w; give %s", err, realForm)
	}
	list := serversOf(t)
	at := slices.IndexFunc(list, func(v any) bool {
		m, _ := v.(map[string]any)
		text, _ := m["address"].(string)
		has, port, err := parseAddress(text)
		return err == nil && has.Addr() == ap.Addr() && portOr(has.Port(), port, key) == portOr(ap.Port(), hasPort, key)
	})
	switch {
	case at < 0:
		return fmt.Errorf("service %s has no real server %s", key.Name(), x.Server)
	case x.Op == EditRemoveServer:
		t["real_server"] = slices.Delete(list, at, at+1)
		return nil
	}
	m, _ := list[at].(map[string]any)
	t["real_server"] = list
	return set(m, k, "address")
}

func portOr(port uint16, has bool, key lvs.ServiceKey) uint16 {
	if has {
		return port
	}
	return key.Port
}

// parse reads the tables as those of a file.
func (e *editing) parse() (State, error) {
	var errs []error
	next := e.state
	next.Services = slices.Clone(e.state.Services)
	next.Care = slices.DeleteFunc(slices.Clone(e.state.Care), func(c Care) bool {
		_, edited := e.tables[c.Service]
		return edited
	})
	removed := map[lvs.ServiceKey]bool{}
	for _, key := range e.order {
		t := e.tables[key]
		if t == nil {
			removed[key] = true
			continue
		}
		p := &parser{file: "edit"}
		svc := p.service(&table{p: p, path: "service", m: t})
		if err := p.words("service " + key.Name()); err != nil {
			errs = append(errs, err)
			continue
		}
		next.Care = append(next.Care, p.care...)
		if i, known := e.at[key]; known {
			next.Services[i] = svc
		} else {
			next.Services = append(next.Services, svc)
		}
	}
	if len(errs) > 0 {
		return e.state, errors.Join(errs...)
	}
	next.Services = slices.DeleteFunc(next.Services, func(s lvs.Service) bool { return removed[s.Key] })
	return next, nil
}

// words returns the parser's complaints about an object without lines, nil for none.
func (p *parser) words(object string) error {
	slices.SortStableFunc(p.problems, func(a, b problem) int { return cmp.Compare(a.path, b.path) })
	var errs []error
	for _, pr := range p.problems {
		path := strings.TrimPrefix(strings.TrimPrefix(pr.path, "service"), ".")
		if pr.other != "" {
			pr.msg += "; remove one"
		}
		errs = append(errs, fmt.Errorf("%s: %s: %s", object, path, pr.msg))
	}
	return errors.Join(errs...)
}
