package keepalived

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"ulvs/config"
)

// Limits of what one import reads. A file that needs more is no configuration but a mistake, or an attack.
const (
	MaxFileBytes     = 4 << 20  // of one file
	MaxExpandedBytes = 16 << 20 // of all lines, definitions and sequences resolved
	MaxFiles         = 1024     // read, included ones counted as often as they are included
	maxIncludeDepth  = 32       // keepalived's own
	maxExpansion     = 64       // definitions within definitions
	maxLineBytes     = 64 << 10 // of one line, substitutions included
	maxSubstitutions = 4096     // in one line
)

// Options is what an import needs of the world.
type Options struct {
	// ID is keepalived's -i: lines that begin with @ID are taken, those of other ids are reported.
	ID string
	// ReadFile returns the contents of a file. It should refuse larger ones than MaxFileBytes.
	ReadFile func(path string) ([]byte, error)
	// Glob returns the files that match a shell pattern, sorted. Nil: includes are reported, not read.
	Glob func(pattern string) ([]string, error)

	expanded int                                       // a limit below maxExpanded, for fuzzing
	judge    func(text []byte) (*config.Config, error) // in place of config, for tests
}

// reader hands the lines of a file, and of those it includes, to a tree.
type reader struct {
	opt      Options
	tree     *tree
	findings *[]Finding
	defs     map[string]string // by name; lines of a value are separated by line ends
	stack    []string          // files that are being read
	files    int
	budget   int // bytes that may still be expanded
	last     int // the last line of the file that was read last
}

// line is a line of a file, or one made of it.
type line struct {
	code    string
	comment string
	at      Pos  // of its start in the file
	made    bool // by substitution: columns of code are not those of the file
}

func (l *line) pos(col int) Pos {
	at := l.at
	if !l.made {
		at.Col = col
	}
	return at
}

var errTooMuch = errors.New("too much")

func (r *reader) tell(k Kind, at Pos, word, format string, args ...any) {
	*r.findings = append(*r.findings, Finding{Pos: at, Kind: k, Word: word, Text: fmt.Sprintf(format, args...)})
}

// file reads the file at path; at is where it was asked for.
func (r *reader) file(path string, at Pos) error {
	r.files++
	switch {
	case r.files > MaxFiles:
		return fmt.Errorf("%s: %w: more than %d files are included", at, errTooMuch, MaxFiles)
	case len(r.stack) > maxIncludeDepth:
		return fmt.Errorf("%s: %w: files include each other more than %d deep", at, errTooMuch, maxIncludeDepth)
	}
	text, err := r.opt.ReadFile(path)
	if err == nil && len(text) > MaxFileBytes {
		err = fmt.Errorf("%s: %w: larger than %d MiB", path, errTooMuch, MaxFileBytes>>20)
	}
	if err != nil {
		return err
	}
	r.stack = append(r.stack, path)
	err = r.lines(path, r.clean(path, text))
	r.stack = r.stack[:len(r.stack)-1]
	return err
}

// clean makes text of bytes: TOML is UTF-8 and nothing else.
func (r *reader) clean(path string, text []byte) string {
	s := strings.TrimPrefix(string(text), "\ufeff")
	if !utf8.ValidString(s) {
		r.tell(Note, Pos{path, 1, 1}, "", "the file is not UTF-8: bytes that are not are written as \ufffd")
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	return s
}

// lines goes through the lines of a file, those that end in a backslash joined.
func (r *reader) lines(path, text string) error {
	rows := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	defer func() { r.last = len(rows) }()
	for i := 0; i < len(rows); i++ {
		l := line{at: Pos{path, i + 1, 1}}
		var more bool
		l.code, l.comment, more = r.row(rows[i], l.at)
		l.at.Col = 1 + len(l.code) - len(strings.TrimLeft(l.code, " \t"))
		separator := " "
		if name, value, ok := definition(l.code); ok && name != "" && value == "" && more {
			separator = "\n"
		}
		for first := true; more && i+1 < len(rows); first = false {
			i++
			var code string
			code, _, more = r.row(rows[i], Pos{path, i + 1, 1})
			if first && separator == "\n" {
				l.code = strings.TrimRight(l.code, " \t") + code
				continue
			}
			l.code += separator + code
			l.made = true
		}
		if err := r.process(l, 0); err != nil {
			return err
		}
	}
	return nil
}

// row splits one line of a file and complains about a quote that nothing closes.
func (r *reader) row(text string, at Pos) (code, comment string, more bool) {
	code, comment, more, open := split(strings.TrimRight(text, "\r"))
	if open >= 0 && !more {
		at.Col = open + 1
		r.tell(Broken, at, "", "expected a closing %c before the end of the line", text[open])
	}
	return code, comment, more
}

// includes are the keyword and its variants, which differ in what keepalived complains about.
func isInclude(name string) bool {
	switch name {
	case "include", "includer", "includem", "includew", "includeb", "includea":
		return true
	}
	return false
}

// include reads the files that a pattern matches, relative to the file with the keyword.
func (r *reader) include(l *line, words []word) error {
	keyword := words[0]
	if len(words) < 2 {
		r.tell(Broken, keyword.at, keyword.text, "expected a file behind it")
		return nil
	}
	for _, w := range words[2:] {
		r.tell(Unmapped, w.at, w.text, "%s takes one file", keyword.text)
	}
	if r.opt.Glob == nil {
		r.tell(Unmapped, keyword.at, keyword.text, "no files are included here")
		return nil
	}
	count := 0
	for _, pattern := range braces(words[1].text, 0) {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(l.at.File), pattern)
		}
		matches, err := r.opt.Glob(pattern)
		if err != nil {
			r.tell(Broken, words[1].at, pattern, "expected a file or a pattern of files: %v", err)
		}
		for _, path := range matches {
			count++
			if err := r.included(path, words[1].at); err != nil {
				return err
			}
		}
	}
	if count == 0 {
		r.tell(Note, keyword.at, keyword.text, "no file matches %s; nothing is included", words[1].text)
	}
	return nil
}

func (r *reader) included(path string, at Pos) error {
	if slices.Contains(r.stack, path) {
		r.tell(Broken, at, path, "expected a file that does not include itself; not read again")
		return nil
	}
	err := r.file(path, at)
	if err != nil && !errors.Is(err, errTooMuch) {
		r.tell(Broken, at, path, "expected a file that can be read: %v", err)
		return nil
	}
	return err
}

// braces expands {a,b} as csh and glob do. depth bounds what a pattern can cost.
func braces(pattern string, depth int) []string {
	open := strings.IndexByte(pattern, '{')
	if open < 0 || depth > 4 {
		return []string{pattern}
	}
	level, start := 0, open+1
	var choices []string
	for i := open; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '{':
			level++
		case c == ',' && level == 1:
			choices, start = append(choices, pattern[start:i]), i+1
		case c == '}':
			if level--; level > 0 {
				continue
			}
			var out []string
			for _, choice := range append(choices, pattern[start:i]) {
				out = append(out, braces(pattern[:open]+choice+pattern[i+1:], depth+1)...)
			}
			return out
		}
	}
	return []string{pattern}
}
