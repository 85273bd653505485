package keepalived

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// process resolves what a line asks for before it is a statement: conditions, definitions, sequences, includes and
// substitutions. depth counts lines that were made of lines.
func (r *reader) process(l line, depth int) error {
	r.budget -= len(l.code) + 16
	switch {
	case r.budget < 0:
		return fmt.Errorf("%s: %w: the lines of definitions and sequences take more than %d MiB",
			l.at, errTooMuch, MaxExpandedBytes>>20)
	case len(l.code) > maxLineBytes:
		return fmt.Errorf("%s: %w: the line has more than %d KiB, substitutions included",
			l.at, errTooMuch, maxLineBytes>>10)
	case depth > maxExpansion:
		r.tell(Broken, l.at, strings.TrimSpace(l.code), "expected definitions within each other at most %d deep",
			maxExpansion)
		return nil
	}
	if !r.wanted(&l) {
		return nil
	}
	code := strings.TrimLeft(l.code, " \t")
	if name, value, ok := definition(code); ok {
		r.defs[name] = value
		return nil
	}
	if strings.HasPrefix(code, "~SEQ") || strings.HasPrefix(code, "~LST") {
		return r.sequence(l, depth)
	}
	if made, ok := r.substitute(&l); ok {
		for i, code := range made {
			next := line{code: code, at: l.at, made: true}
			if i == 0 {
				next.comment = l.comment
			}
			if err := r.process(next, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	words := cut(l.code, l.pos)
	if len(words) > 0 && isInclude(words[0].text) {
		return r.include(&l, words)
	}
	r.tree.line(words, l.comment)
	return nil
}

// wanted removes the conditions @id and @^id, and tells whether they hold.
func (r *reader) wanted(l *line) bool {
	for {
		code := strings.TrimLeft(l.code, " \t")
		if !strings.HasPrefix(code, "@") {
			return true
		}
		word, rest, _ := strings.Cut(strings.ReplaceAll(code, "\t", " "), " ")
		id, not := strings.CutPrefix(word[1:], "^")
		if (id == r.opt.ID) == not {
			r.tell(Skipped, l.at, word, "%s", skipReason(strings.TrimSpace(rest), id, not))
			return false
		}
		l.code = strings.Repeat(" ", len(l.code)-len(rest)) + rest // columns stay
	}
}

func skipReason(rest, id string, not bool) string {
	if not {
		return fmt.Sprintf("%.60q is for every configuration id but %s; import without --id %s to have it", rest, id, id)
	}
	return fmt.Sprintf("%.60q is for the configuration id %s; import with --id %s to have it", rest, id, id)
}

// definition reads $NAME=value. Lines of a value are joined already.
func definition(code string) (name, value string, ok bool) {
	code = strings.TrimLeft(code, " \t")
	if !strings.HasPrefix(code, "$") {
		return "", "", false
	}
	n := nameLength(code[1:])
	if n == 0 || len(code) < n+2 || code[n+1] != '=' {
		return "", "", false
	}
	return code[1 : n+1], strings.Trim(code[n+2:], " \t"), true
}

func nameLength(s string) (n int) {
	for n < len(s) {
		c := s[n]
		if c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || n > 0 && c >= '0' && c <= '9' {
			n++
			continue
		}
		break
	}
	return n
}

// substitute replaces what is defined. ok is false when nothing is. A value of several lines ends the pass: what
// it defines holds in the lines behind.
func (r *reader) substitute(l *line) (made []string, ok bool) {
	code := l.code
	for range maxSubstitutions {
		start, end, value, found := r.find(code, l)
		if !found {
			break
		}
		ok = true
		code = code[:start] + value + code[end:]
		r.budget -= len(value) + len(code)/16
		if strings.Contains(value, "\n") || r.budget < 0 || len(code) > maxLineBytes {
			break
		}
	}
	return strings.Split(code, "\n"), ok
}

// find returns the first defined $NAME or ${NAME} in code.
func (r *reader) find(code string, l *line) (start, end int, value string, ok bool) {
	for i := 0; i+1 < len(code); i++ {
		if code[i] != '$' {
			continue
		}
		braced := code[i+1] == '{'
		from := i + 1
		if braced {
			from++
		}
		n := nameLength(code[from:])
		end = from + n
		switch {
		case n == 0:
			continue
		case braced && (end >= len(code) || code[end] != '}'):
			continue
		case braced:
			end++
		case end < len(code) && !isBlank(code[end]):
			continue
		}
		if value, ok = r.value(code[from:from+n], l); ok {
			return i, end, value, true
		}
	}
	return 0, 0, "", false
}

// value returns what a name stands for; some are defined by keepalived.
func (r *reader) value(name string, l *line) (value string, ok bool) {
	switch name {
	case "_PWD":
		return filepath.Dir(l.at.File), true
	case "_INSTANCE":
		return r.opt.ID, true
	case "_HASH":
		return "#", true
	case "_BANG":
		return "!", true
	}
	value, ok = r.defs[name]
	return value, ok
}

// sequence processes the rest of a line for each value of ~SEQ(name, first, step, last), ~SEQx or ~LST(name, a, b).
func (r *reader) sequence(l line, depth int) error {
	code := strings.TrimLeft(l.code, " \t")
	open := strings.IndexByte(code, '(')
	end := matching(code, open)
	if open < 0 || end < 0 {
		r.tell(Broken, l.at, code[:4], "expected (name, values) behind it")
		return nil
	}
	keyword, args, rest := code[:open], list(code[open+1:end]), code[end+1:]
	names := list(strings.Trim(args[0], "{} \t"))
	body := func(values []string) error {
		for i, name := range names {
			r.defs[name] = ""
			if i < len(values) {
				r.defs[name] = values[i]
			}
		}
		return r.process(line{code: rest, comment: l.comment, at: l.at, made: true}, depth+1)
	}
	var err error
	switch keyword {
	case "~LST":
		for _, arg := range args[1:] {
			if err = body(list(strings.Trim(arg, "{} \t"))); err != nil {
				break
			}
		}
	case "~SEQ", "~SEQx":
		err = r.count(&l, keyword, args[1:], func(v string) error { return body([]string{v}) })
	default:
		r.tell(Broken, l.at, keyword, "expected ~SEQ, ~SEQx or ~LST")
	}
	for _, name := range names {
		delete(r.defs, name)
	}
	return err
}

// count calls each with the numbers of a ~SEQ.
func (r *reader) count(l *line, keyword string, args []string, each func(string) error) error {
	numbers := make([]int64, len(args))
	for i, arg := range args {
		n, err := strconv.ParseInt(arg, 0, 32)
		if err != nil {
			r.tell(Broken, l.at, arg, "expected a number of %s(name, first, step, last)", keyword)
			return nil
		}
		numbers[i] = n
	}
	first, step, last, ok := bounds(numbers)
	if !ok {
		r.tell(Broken, l.at, keyword, "expected (name, first, step, last) with a step that leads from first to last")
		return nil
	}
	base := 10
	if keyword == "~SEQx" {
		base = 16
	}
	for n := first; step > 0 && n <= last || step < 0 && n >= last; n += step {
		if err := each(strconv.FormatInt(n, base)); err != nil {
			return err
		}
	}
	return nil
}

// bounds fills in what a ~SEQ leaves out: first is 1 or -1, and so is step.
func bounds(n []int64) (first, step, last int64, ok bool) {
	switch len(n) {
	case 1:
		first, last = 1, n[0]
		if last < 0 {
			first = -1
		}
	case 2:
		first, last = n[0], n[1]
	case 3:
		return n[0], n[1], n[2], n[1] > 0 && n[2] >= n[0] || n[1] < 0 && n[2] <= n[0]
	default:
		return 0, 0, 0, false
	}
	step = 1
	if last < first {
		step = -1
	}
	return first, step, last, true
}

// matching returns where the bracket at open is closed, or -1.
func matching(s string, open int) int {
	if open < 0 {
		return -1
	}
	for i, level := open, 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			level++
		case ')':
			if level--; level == 0 {
				return i
			}
		}
	}
	return -1
}

// list cuts at the commas outside braces. It has at least one element.
func list(s string) (out []string) {
	level, start := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			level++
		case '}':
			level--
		case ',':
			if level == 0 {
				out, start = append(out, strings.TrimSpace(s[start:i])), i+1
			}
		}
	}
	return append(out, strings.TrimSpace(s[start:]))
}
