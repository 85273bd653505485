package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Keys are keys of a table as a file has them, valid ones: strings, int64s, bools, lists and Keys. Durations are
// text in one form ("1m30s"), so that equal values are equal texts.
type Keys map[string]any

// UnmarshalJSON reads numbers as whole ones: no key has others.
func (k *Keys) UnmarshalJSON(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return err
	}
	v, err := whole(m)
	if err != nil {
		return err
	}
	*k, _ = v.(Keys)
	return nil
}

// whole turns what JSON has into what TOML has.
func whole(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return v.Int64()
	case float64:
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			return nil, fmt.Errorf("%v is no whole number", v)
		}
		return int64(v), nil
	case []any:
		for i := range v {
			var err error
			if v[i], err = whole(v[i]); err != nil {
				return nil, err
			}
		}
		return v, nil
	case map[string]any:
		if v == nil {
			return Keys(nil), nil
		}
		out := make(Keys, len(v))
		for key, inner := range v {
			var err error
			if out[key], err = whole(inner); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

// Duration returns a duration's value, 0 where it is not set.
func (k Keys) Duration(key string) time.Duration {
	d, _ := asDuration(k[key])
	return d
}

// Number returns a number's value, def where it is not set.
func (k Keys) Number(key string, def int64) int64 {
	if n, ok := k[key].(int64); ok {
		return n
	}
	return def
}

// Text returns a string's value, "" where it is not set.
func (k Keys) Text(key string) string {
	s, _ := k[key].(string)
	return s
}

// Flag returns true or false, false where it is not set.
func (k Keys) Flag(key string) bool {
	b, _ := k[key].(bool)
	return b
}

// Has reports whether a key is set.
func (k Keys) Has(key string) bool { _, ok := k[key]; return ok }

// Command returns a command that is given as a string or as a list of its words; nil where it is not set.
func (k Keys) Command(key string) (argv []string) {
	switch v := k[key].(type) {
	case string:
		return strings.Fields(v)
	case []any:
		for _, word := range v {
			s, _ := word.(string)
			argv = append(argv, s)
		}
	}
	return argv
}

// Tables returns a list of tables, one alone as well; nil where it is not set.
func (k Keys) Tables(key string) (list []Keys) {
	switch v := k[key].(type) {
	case Keys:
		return []Keys{v}
	case []any:
		for _, one := range v {
			if t, ok := one.(Keys); ok {
				list = append(list, t)
			}
		}
	}
	return list
}

// tomlValue writes a value of Keys in one line of TOML.
func tomlValue(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		words := make([]string, len(v))
		for i := range v {
			words[i] = tomlValue(v[i])
		}
		return "[" + strings.Join(words, ", ") + "]"
	case Keys:
		return inlineTable(v)
	}
	return ""
}

// inlineTable writes a table's type first: it says what the others mean.
func inlineTable(k Keys) string {
	names := sortedKeys(k)
	if i := slices.Index(names, "type"); i >= 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "type")
	}
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = name + " = " + tomlValue(k[name])
	}
	return "{ " + strings.Join(words, ", ") + " }"
}

// quote writes a TOML string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// keyReader reads one key of a table into Keys; nil where it is wrong, which it has complained about.
type keyReader struct {
	name string
	read func(t *table, key string) any
}

// keys reads the keys of readers that are set.
func (t *table) keys(readers []keyReader) (out Keys) {
	for _, r := range readers {
		if !t.has(r.name) {
			continue
		}
		if v := r.read(t, r.name); v != nil {
			if out == nil {
				out = Keys{}
			}
			out[r.name] = v
		}
	}
	return out
}

func readNumber(minimum, maximum int64) func(*table, string) any {
	return func(t *table, key string) any { return t.number(key, span{minimum, maximum, minimum}) }
}

func readFlag(t *table, key string) any { return t.flag(key) }

func readWord(words ...string) func(*table, string) any {
	return func(t *table, key string) any { return t.word(key, words...) }
}

// readText reads a string that says something.
func readText(t *table, key string) any {
	s, ok := get[string](t, key, "a string")
	switch {
	case !ok:
		return nil
	case s == "":
		t.fail(key, "empty; give something or remove it")
		return nil
	}
	return s
}

// readTime reads a duration in milliseconds: a check's timers may be parts of a second, as keepalived's.
func readTime(t *table, key string) any {
	d, ok := asDuration(t.m[key])
	const form = `a duration like "6s" or "250ms", or whole seconds like 6`
	switch {
	case !ok:
		t.fail(key, "%s; give %s", describe(t.m[key]), form)
	case d < 0 || d > maxSeconds*time.Second:
		t.fail(key, "%v is out of range; give %s", t.m[key], form)
	case d%time.Millisecond != 0:
		t.fail(key, "%v has a fraction of a millisecond; give %s", t.m[key], form)
	default:
		return durationWord(d)
	}
	return nil
}

// readCommand reads a program with its arguments.
func readCommand(t *table, key string) any {
	const form = `an absolute path with its arguments, "/usr/bin/notify up", or a list of them`
	var argv []string
	switch v := t.m[key].(type) {
	case string:
		argv = strings.Fields(v)
	case []any:
		argv = t.texts(key, form)
		if len(argv) != len(v) {
			return nil
		}
	default:
		t.fail(key, "%s; give %s", describe(v), form)
		return nil
	}
	if len(argv) == 0 || !strings.HasPrefix(argv[0], "/") || strings.ContainsRune(strings.Join(argv, ""), 0) {
		t.fail(key, "no program; give %s", form)
		return nil
	}
	if len(argv) > maxArguments || len(strings.Join(argv, " ")) > maxCommandBytes {
		t.fail(key, "too long; give up to %d words and %d bytes", maxArguments, maxCommandBytes)
		return nil
	}
	return t.m[key]
}

// Limits of a command.
const (
	maxArguments    = 64
	maxCommandBytes = 4096
)

// readArguments reads what follows a program.
func readArguments(t *table, key string) any {
	if words := t.texts(key, `a list like ["-v", "80"]`); len(words) == 0 {
		return nil
	}
	return t.m[key]
}
