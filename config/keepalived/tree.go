package keepalived

import (
	"fmt"
	"slices"
	"strings"
)

// maxDepth bounds nested blocks: the deepest that keepalived has is four.
const maxDepth = 16

// stmt is a line: a keyword, its arguments, and a block of more where it opens one.
type stmt struct {
	words  []word
	used   []bool // by word: mapped or reported
	block  []*stmt
	opens  bool // it has a block, perhaps an empty one
	lead   []string
	trail  string
	closed bool
}

func (s *stmt) at() Pos { return s.words[0].at }

func (s *stmt) name() string { return s.words[0].text }

// arg returns argument i, counted from 1, and marks it as used; empty if there is none.
func (s *stmt) arg(i int) string {
	if i >= len(s.words) {
		return ""
	}
	s.used[i] = true
	return s.words[i].text
}

// word returns argument i without marking it.
func (s *stmt) word(i int) string {
	if i >= len(s.words) {
		return ""
	}
	return s.words[i].text
}

// rest returns the arguments from i on, and marks them as used.
func (s *stmt) rest(i int) (out []string) {
	for ; i < len(s.words); i++ {
		out = append(out, s.arg(i))
	}
	return out
}

// take marks the statement and all in it as used.
func (s *stmt) take() {
	for i := range s.used {
		s.used[i] = true
	}
	for _, in := range s.block {
		in.take()
	}
}

// source returns the statement as it was written, but for blanks.
func (s *stmt) source() string {
	texts := make([]string, len(s.words))
	for i, w := range s.words {
		texts[i] = w.text
		if w.quoted {
			texts[i] = `"` + w.text + `"`
		}
	}
	return strings.Join(texts, " ")
}

// tree builds the statements of a configuration from its lines.
type tree struct {
	root     stmt
	open     []*stmt // blocks that are not closed yet; the first is the root
	pending  []string
	findings *[]Finding
}

func newTree(findings *[]Finding) *tree {
	t := &tree{findings: findings}
	t.open = []*stmt{&t.root}
	return t
}

func (t *tree) top() *stmt { return t.open[len(t.open)-1] }

func (t *tree) broken(at Pos, word, format string, args ...any) {
	*t.findings = append(*t.findings, Finding{Pos: at, Kind: Broken, Word: word, Text: fmt.Sprintf(format, args...)})
}

// comment keeps a line that is nothing else for the statement that follows.
func (t *tree) comment(text string) {
	if text != "" {
		t.pending = append(t.pending, text)
	}
}

// line adds the statements of a line.
func (t *tree) line(words []word, comment string) {
	for len(words) > 0 {
		n := slices.IndexFunc(words, func(w word) bool { return w.is("{") || w.is("}") })
		if n < 0 {
			n = len(words)
		}
		if n > 0 {
			t.add(words[:n], comment)
			comment = ""
		}
		if n < len(words) {
			t.brace(words[n])
			n++
		}
		words = words[n:]
	}
	t.comment(comment)
}

func (t *tree) add(words []word, comment string) {
	if len(t.open) > 1 && topLevel(words) {
		t.closeBefore(words[0])
	}
	s := &stmt{words: words, used: make([]bool, len(words)), lead: t.pending, trail: comment}
	t.pending = nil
	t.top().block = append(t.top().block, s)
}

// topLevel tells statements that never stand within a block: what is open before them lacks its end.
func topLevel(words []word) bool {
	switch words[0].text {
	case "vrrp_instance", "vrrp_script", "vrrp_sync_group", "virtual_server", "virtual_server_group", "bfd_instance":
		return len(words) > 1
	case "global_defs":
		return true
	}
	return false
}

func (t *tree) closeBefore(w word) {
	for i := len(t.open) - 1; i > 0; i-- {
		t.broken(w.at, w.text, "expected } before it: %s of line %d is still open; taken as closed here",
			t.open[i].name(), t.open[i].at().Line)
	}
	t.open = t.open[:1]
}

func (t *tree) brace(w word) {
	if w.text == "}" {
		t.close(w)
		return
	}
	in := t.top()
	last := len(in.block) - 1
	switch {
	case last < 0 || in.block[last].closed || in.block[last].opens:
		t.broken(w.at, "{", "expected a keyword before it, like virtual_server; what is in this block is taken without it")
	case len(t.open) > maxDepth:
		t.broken(w.at, "{", "expected at most %d blocks within each other; this one is not opened", maxDepth)
	default:
		in.block[last].opens = true
		t.open = append(t.open, in.block[last])
	}
}

func (t *tree) close(w word) {
	if len(t.open) == 1 {
		t.broken(w.at, "}", "expected no more than one } for each {: no block is open here")
		return
	}
	t.top().closed = true
	t.pending = nil // a comment before } belongs to nothing that follows
	t.open = t.open[:len(t.open)-1]
}

// finish complains about what is still open at the end.
func (t *tree) finish(end Pos) {
	for i := len(t.open) - 1; i > 0; i-- {
		s := t.open[i]
		t.broken(end, s.name(), "expected } before the end of the file: %s of %s:%d is still open; taken as closed",
			s.name(), s.at().File, s.at().Line)
	}
}
