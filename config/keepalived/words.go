package keepalived

import (
	"strconv"
	"strings"
)

// word is one argument of a statement, or a brace.
type word struct {
	text   string
	at     Pos
	quoted bool // in part or whole: a brace in it is text
}

func (w word) is(brace string) bool { return !w.quoted && w.text == brace }

// split cuts a line into its code and its comment. Comments begin with # or ! anywhere outside quotes, as
// keepalived.conf(5) says, and with // at the start of a word, as people write who come from other languages. more
// is true when the line goes on in the next one; open is the column of a quote that nothing closes, or -1.
func split(line string) (code, comment string, more bool, open int) {
	quote, open := byte(0), -1
	end := len(line)
scan:
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			if strings.TrimSpace(line[i+1:]) == "" {
				return line[:i], "", true, open
			}
			i++
		case quote != 0:
			if c == quote {
				quote, open = 0, -1
			}
		case c == '"' || c == '\'' && startsWord(line, i):
			quote, open = c, i
		case c == '#' || c == '!' || strings.HasPrefix(line[i:], "//") && startsWord(line, i):
			comment, end = strings.TrimSpace(strings.TrimLeft(line[i:], line[i:i+1])), i
			break scan
		}
	}
	return line[:end], comment, false, open
}

// startsWord tells whether a word may begin at i: an apostrophe within a word is one.
func startsWord(line string, i int) bool {
	return i == 0 || strings.IndexByte(" \t{}", line[i-1]) >= 0
}

// cut cuts the code of a line into words. Braces are words of their own where they stand alone, end a word or begin
// a line: not within one, so that ${undefined} and regular expressions stay whole.
func cut(code string, at func(col int) Pos) (out []word) {
	for i := 0; i < len(code); {
		if isBlank(code[i]) {
			i++
			continue
		}
		w, n := nextWord(code[i:])
		w.at = at(i + 1)
		i += n
		out = append(out, w.braces()...)
	}
	return out
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' }

// braces splits the braces off that a word begins or ends with.
func (w word) braces() (out []word) {
	if w.quoted {
		return []word{w}
	}
	var tail []word
	for w.text != "" && (w.text[0] == '{' || w.text[0] == '}') {
		out = append(out, word{text: w.text[:1], at: w.at})
		w.text, w.at.Col = w.text[1:], w.at.Col+1
	}
	for n := len(w.text); n > 0 && (w.text[n-1] == '{' || w.text[n-1] == '}'); n = len(w.text) {
		if strings.Count(w.text, "{") == strings.Count(w.text, "}") {
			break // a{3}, ${undefined}
		}
		brace := word{text: w.text[n-1:], at: w.at}
		brace.at.Col += n - 1
		tail = append([]word{brace}, tail...)
		w.text = w.text[:n-1]
	}
	if w.text != "" {
		out = append(out, w)
	}
	return append(out, tail...)
}

// nextWord reads a word with its quotes and escapes resolved, and how many bytes it took.
func nextWord(s string) (w word, n int) {
	var text strings.Builder
	quote := byte(0)
	for n < len(s) {
		c := s[n]
		switch {
		case c == '\\':
			r, size := escape(s[n:])
			text.WriteString(r)
			n += size
			continue
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			text.WriteByte(c)
		case c == '"' || c == '\'' && n == 0:
			quote, w.quoted = c, true
		case isBlank(c):
			w.text = text.String()
			return w, n
		default:
			text.WriteByte(c)
		}
		n++
	}
	w.text = text.String()
	return w, n
}

// escape resolves the escape that s begins with, as a shell does: \n, \t, \033, \x1b, \cC, and any other character
// for itself.
func escape(s string) (text string, size int) {
	const names, values = "abEfnrtv", "\a\b\x1b\f\n\r\t\v"
	if len(s) < 2 {
		return s, len(s)
	}
	c := s[1]
	if i := strings.IndexByte(names, c); i >= 0 {
		return values[i : i+1], 2
	}
	digits, base := 0, 8
	switch {
	case c == 'c' && len(s) > 2:
		return string(rune(s[2] & 0x1f)), 3
	case c == 'x':
		digits, base = span(s[2:], "0123456789abcdefABCDEF", 2), 16
	case c >= '0' && c <= '7':
		digits = span(s[1:], "01234567", 3)
	}
	start := 1
	if base == 16 {
		start = 2
	}
	if v, err := strconv.ParseUint(s[start:start+digits], base, 8); err == nil && digits > 0 {
		return string(rune(v)), start + digits
	}
	return s[1:2], 2
}

// span counts the leading bytes of s that are in set, up to limit.
func span(s, set string, limit int) (n int) {
	for n < len(s) && n < limit && strings.IndexByte(set, s[n]) >= 0 {
		n++
	}
	return n
}
