package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing wrong with a file.
type Error struct {
	File string
	Line int    // from 1
	Key  string // path.to.key; list elements count from 0; empty: the whole file
	Msg  string // what is wrong; what would be right
}

// Error returns "file:line: path.to.key: what is wrong; what would be right".
func (e Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Key, e.Msg)
}

// ErrorList is everything wrong with a file, by line. Never empty.
type ErrorList []Error

// Error returns one line per error.
func (l ErrorList) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// problem is an Error whose lines are not looked up yet. The index of lines is
// built only when there is something to complain about.
type problem struct {
	line  int // 0: the line of path
	path  string
	msg   string
	other string // path of the place this one clashes with
}

// fail notes a problem at path.
func (p *parser) fail(path, format string, args ...any) {
	p.problems = append(p.problems, problem{path: path, msg: fmt.Sprintf(format, args...)})
}

// errors places the problems on their lines.
func (p *parser) errors(text []byte) ErrorList {
	index := indexLines(text)
	list := make(ErrorList, 0, len(p.problems))
	for _, pr := range p.problems {
		e := Error{File: p.file, Line: pr.line, Key: pr.path, Msg: pr.msg}
		if e.Line == 0 {
			e.Line = index.find(pr.path)
		}
		if pr.other != "" {
			e.Msg = fmt.Sprintf("%s; the first one is on line %d, remove one", e.Msg, index.find(pr.other))
		}
		list = append(list, e)
	}
	slices.SortStableFunc(list, func(a, b Error) int { return cmp.Compare(a.Line, b.Line) })
	return list
}
