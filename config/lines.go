package config

import (
	"fmt"
	"strconv"
	"strings"
)

// lineIndex tells on which line a key is set: "service[0].real_server[2].weight"
// to 17. The TOML library gives positions only for syntax errors.
//
// The scanner below reads text that the library has already accepted, so it
// knows just enough of TOML to tell keys from values. On anything else it must
// only end: a wrong line in a complaint is the worst that it may do.
type lineIndex map[string]int

// maxNesting bounds brackets within brackets; a configuration needs three.
const maxNesting = 64

// find returns the line of path, or of the nearest table around it.
func (x lineIndex) find(path string) int {
	for path != "" {
		if line := x[path]; line != 0 {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 1
}

// joinKey appends a key to a path, quoting what is not a bare key.
func joinKey(path, key string) string {
	if !isBareKey(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func isBareKey(key string) bool {
	for i := range len(key) {
		if !isBareByte(key[i]) {
			return false
		}
	}
	return key != ""
}

func isBareByte(c byte) bool {
	return c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

type scanner struct {
	text    string
	pos     int
	line    int
	table   string         // path of the current [table]
	arrays  map[string]int // tables so far in each [[array]]
	index   lineIndex
	tooDeep int // line where brackets nest too deep, 0: nowhere
	visit   visitor
}

// visitor is told where things stand while a text is scanned. Nil funcs are not called.
type visitor struct {
	table      func(path string, at int) // at the header's bracket
	assignment func(path string, at stretch)
}

// stretch is where a key and its value are in a text.
type stretch struct {
	key, value, end int // offsets; end is the value's
	inner           bool
}

func indexLines(text []byte) lineIndex { return scan(text).index }

func scan(text []byte) *scanner { return scanWith(text, visitor{}) }

func scanWith(text []byte, v visitor) *scanner {
	s := &scanner{text: string(text), line: 1, arrays: map[string]int{}, index: lineIndex{}, visit: v}
	for s.skipBlank(); s.pos < len(s.text) && s.tooDeep == 0; s.skipBlank() {
		if s.peek() == '[' {
			s.header()
		} else {
			s.assignment(s.table, 0)
		}
	}
	return s
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) advance(n int) {
	end := min(s.pos+n, len(s.text))
	s.line += strings.Count(s.text[s.pos:end], "\n")
	s.pos = end
}

// skipBlank passes white space, line ends and comments.
func (s *scanner) skipBlank() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.advance(1)
		case '#':
			s.skipTo("\n")
		default:
			return
		}
	}
}

// skipTo moves before the first byte that is in stops.
func (s *scanner) skipTo(stops string) {
	n := strings.IndexAny(s.text[s.pos:], stops)
	if n < 0 {
		n = len(s.text) - s.pos
	}
	s.advance(n)
}

func (s *scanner) note(path string, line int) {
	if s.index[path] == 0 {
		s.index[path] = line
	}
}

// header reads [a.b] or [[a.b]]. A name on the way that is an array means its last table.
func (s *scanner) header() {
	at, line, array := s.pos, s.line, strings.HasPrefix(s.text[s.pos:], "[[")
	s.advance(1)
	if array {
		s.advance(1)
	}
	keys, path := s.keys(), ""
	for i, key := range keys {
		path = joinKey(path, key)
		n := s.arrays[path]
		if array && i == len(keys)-1 {
			s.note(path, line)
			s.arrays[path], n = n+1, n+1
		}
		if n > 0 {
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
		s.note(path, line)
	}
	s.table = path
	if s.visit.table != nil {
		s.visit.table(path, at)
	}
	s.skipTo("\n")
}

// keys reads a dotted key.
func (s *scanner) keys() (keys []string) {
	for {
		s.skipSpaces()
		start := s.pos
		if q := s.peek(); q == '"' || q == '\'' {
			s.quoted()
			keys = append(keys, strings.Trim(s.text[start:s.pos], string(q)))
		} else {
			for isBareByte(s.peek()) {
				s.pos++
			}
			keys = append(keys, s.text[start:s.pos])
		}
		s.skipSpaces()
		if s.peek() != '.' {
			return keys
		}
		s.pos++
	}
}

func (s *scanner) skipSpaces() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.pos++
	}
}

// assignment reads key = value, and always at least one byte.
func (s *scanner) assignment(path string, depth int) {
	line, start := s.line, s.pos
	for _, key := range s.keys() {
		path = joinKey(path, key)
		s.note(path, line)
	}
	s.skipSpaces()
	if s.peek() == '=' {
		s.pos++
		s.skipSpaces()
		at := s.pos
		s.value(path, depth)
		if s.visit.assignment != nil {
			end := at + len(strings.TrimRight(s.text[at:s.pos], " \t"))
			s.visit.assignment(path, stretch{start, at, end, depth > 0})
		}
	}
	if s.pos == start {
		s.advance(1)
	}
}

func (s *scanner) value(path string, depth int) {
	if depth > maxNesting {
		s.tooDeep = s.line
		return
	}
	switch s.peek() {
	case '"', '\'':
		s.quoted()
	case '[':
		s.elements(']', func(i int) {
			element := fmt.Sprintf("%s[%d]", path, i)
			s.note(element, s.line)
			s.value(element, depth+1)
		})
	case '{':
		s.elements('}', func(int) { s.assignment(path, depth+1) })
	default:
		s.skipTo(",]}#\r\n")
	}
}

// elements reads what stands between brackets, separated by commas.
func (s *scanner) elements(end byte, element func(i int)) {
	s.advance(1)
	for i := 0; s.tooDeep == 0; i++ {
		s.skipBlank()
		if s.pos == len(s.text) || s.peek() == end {
			break
		}
		start := s.pos
		element(i)
		s.skipBlank()
		if s.peek() == ',' || s.pos == start && s.peek() != end {
			s.advance(1)
		}
	}
	s.advance(1)
}

// quoted passes a string of any of TOML's four kinds.
func (s *scanner) quoted() {
	q := s.text[s.pos : s.pos+1]
	if triple := strings.Repeat(q, 3); strings.HasPrefix(s.text[s.pos:], triple) {
		s.advance(3)
		s.closeQuote(triple, q == `"`)
		for range 2 { // a multi-line string may end in up to five quotes
			if strings.HasPrefix(s.text[s.pos:], q) {
				s.advance(1)
			}
		}
		return
	}
	s.advance(1)
	s.closeQuote(q, q == `"`)
}

func (s *scanner) closeQuote(end string, escapes bool) {
	for s.pos < len(s.text) && !strings.HasPrefix(s.text[s.pos:], end) {
		if escapes && s.text[s.pos] == '\\' {
			s.advance(1)
		}
		s.advance(1)
	}
	s.advance(len(end))
}
