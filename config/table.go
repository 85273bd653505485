package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// table reads one TOML table. Every getter marks its key as known, so what is
// left at done is unknown, and a new key needs no second list.
type table struct {
	p       *parser
	path    string
	m       map[string]any
	known   []string // suggested for unknown keys
	foreign []string // known from elsewhere, see never
}

// span bounds a number, ends included.
type span struct{ min, max, def int64 }

func (t *table) key(key string) string { return joinKey(t.path, key) }

func (t *table) fail(key, format string, args ...any) { t.p.fail(t.key(key), format, args...) }

// has reports whether the key is set, and knows it from now on.
func (t *table) has(key string) bool {
	if !slices.Contains(t.known, key) {
		t.known = append(t.known, key)
	}
	_, ok := t.m[key]
	return ok
}

// get reads a key of type T; want says in a complaint what it should be.
func get[T any](t *table, key, want string) (v T, ok bool) {
	if !t.has(key) {
		return v, false
	}
	v, ok = t.m[key].(T)
	if !ok {
		t.fail(key, "%s; give %s", describe(t.m[key]), want)
	}
	return v, ok
}

func (t *table) text(key, want string) string {
	v, _ := get[string](t, key, want)
	return v
}

func (t *table) flag(key string) bool {
	v, _ := get[bool](t, key, "true or false")
	return v
}

// flagOr is flag with a default.
func (t *table) flagOr(key string, def bool) bool {
	if v, ok := get[bool](t, key, "true or false"); ok {
		return v
	}
	return def
}

// word reads one of words; the first is the default.
func (t *table) word(key string, words ...string) string {
	v, ok := get[string](t, key, quoteAll(words))
	if !ok {
		return words[0]
	}
	if !slices.Contains(words, v) {
		t.fail(key, "unknown word %.60q; %s", v, wouldBeRight(v, words))
		return words[0]
	}
	return v
}

func (t *table) number(key string, s span) int64 {
	v, ok := get[int64](t, key, fmt.Sprintf("a number from %d to %d", s.min, s.max))
	if !ok {
		return s.def
	}
	return t.inSpan(key, v, s)
}

func (t *table) inSpan(key string, v int64, s span) int64 {
	if v < s.min || v > s.max {
		t.fail(key, "%d is out of range; give %d to %d", v, s.min, s.max)
		return s.def
	}
	return v
}

// autoOr reads "auto" (0) or a number.
func (t *table) autoOr(key string, s span) int64 {
	if !t.has(key) || t.m[key] == "auto" {
		return 0
	}
	v, ok := t.m[key].(int64)
	if !ok {
		t.fail(key, "%s; give \"auto\" or a number from %d to %d", describe(t.m[key]), s.min, s.max)
		return 0
	}
	return t.inSpan(key, v, s)
}

// Durations are kept by IPVS in whole seconds, up to 31 days (ipvsadm's MAX_TIMEOUT).
const (
	maxSeconds   = 31 * 24 * 3600
	durationForm = `a duration like "15m" or whole seconds like 900`
)

// duration reads a string or whole seconds; def when it is not set or wrong.
func (t *table) duration(key string, def time.Duration) time.Duration {
	if !t.has(key) {
		return def
	}
	d, ok := asDuration(t.m[key])
	_, isText := t.m[key].(string)
	switch {
	case !ok && isText:
		t.fail(key, "%.60q is not a duration; give %s", t.m[key], durationForm)
	case !ok:
		t.fail(key, "%s; give %s", describe(t.m[key]), durationForm)
	case d <= 0 || d > maxSeconds*time.Second:
		t.fail(key, "%v is out of range; give 1s to 744h (31 days)", t.m[key])
	case d%time.Second != 0:
		t.fail(key, "%v has a fraction of a second; give whole seconds", t.m[key])
	default:
		return d
	}
	return def
}

func asDuration(v any) (time.Duration, bool) {
	switch v := v.(type) {
	case string:
		d, err := time.ParseDuration(v)
		return d, err == nil
	case int64:
		if v < 0 || v > math.MaxInt64/int64(time.Second) {
			return -1, true // out of range by any measure
		}
		return time.Duration(v) * time.Second, true
	}
	return 0, false
}

// texts reads a list of strings.
func (t *table) texts(key, want string) []string {
	list, _ := get[[]any](t, key, want)
	out := make([]string, 0, len(list))
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			t.p.fail(fmt.Sprintf("%s[%d]", t.key(key), i), "%s; give a string", describe(v))
			continue
		}
		out = append(out, s)
	}
	return out
}

// table reads a sub-table; an absent one reads as empty. ok is false when the key is something else.
func (t *table) table(key string) (sub *table, ok bool) {
	m, ok := get[map[string]any](t, key, fmt.Sprintf("a table: [%s]", t.key(key)))
	return &table{p: t.p, path: t.key(key), m: m}, ok || t.m[key] == nil
}

// tables reads a list of tables.
func (t *table) tables(key string) []*table {
	if !t.has(key) {
		return nil
	}
	list, ok := asTables(t.m[key])
	if !ok {
		t.fail(key, "%s; give tables: [[%s]]", describe(t.m[key]), withoutIndexes(t.key(key)))
	}
	out := make([]*table, len(list))
	for i, m := range list {
		out[i] = &table{p: t.p, path: fmt.Sprintf("%s[%d]", t.key(key), i), m: m}
	}
	return out
}

func asTables(v any) ([]map[string]any, bool) {
	if list, ok := v.([]map[string]any); ok {
		return list, true
	}
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	out := make([]map[string]any, len(list))
	for i := range list {
		if out[i], ok = list[i].(map[string]any); !ok {
			return nil, false
		}
	}
	return out, true
}

// withoutIndexes turns service[0].real_server into service.real_server, as headers have it.
func withoutIndexes(path string) string {
	parts := strings.Split(path, ".")
	for i, part := range parts {
		parts[i], _, _ = strings.Cut(part, "[")
	}
	return strings.Join(parts, ".")
}

// never names keys that operators know from elsewhere, and that ulvs has no use for.
func (t *table) never(keys ...string) { t.foreign = append(t.foreign, keys...) }

// done complains about the keys that nobody asked for.
func (t *table) done() {
	for _, key := range sortedKeys(t.m) {
		switch {
		case slices.Contains(t.known, key):
		case slices.Contains(t.foreign, key):
			t.fail(key, "ulvs has none; remove it")
		default:
			t.fail(key, "unknown key; %s", wouldBeRight(key, t.known))
		}
	}
}

func sortedKeys[M ~map[string]any](m M) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(quoted, ", ")
}

// describe says what a value is, for "... ; give ...".
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%.60q is a string", v)
	case int64:
		return fmt.Sprintf("%d is a number", v)
	case float64:
		return fmt.Sprintf("%v is a fraction", v)
	case bool:
		return fmt.Sprintf("%v is true or false", v)
	case map[string]any:
		return "this is a table"
	case []any, []map[string]any:
		return "this is a list"
	}
	return "this is a date or time"
}
