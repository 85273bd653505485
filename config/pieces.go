package config

import (
	"fmt"
	"strings"
)

// piece is a stretch of a file that stays together: a table with the comments right above and below
// it, or blank lines and comments between tables, which belong to nobody.
type piece struct {
	start, end int    // of the text
	insert     int    // behind the last key's line
	indent     string // of its keys
	table      string // path: "service[0].real_server[2]"; empty: the keys above all tables
	loose      bool   // no table
	gone       bool   // not to be written
	svc, dest  int    // indexes of a service's tables; -1: none
}

// document is a file cut into pieces.
type document struct {
	text   string
	pieces []piece
	keys   map[string]stretch // by path
	owner  map[string]int     // the keys' pieces
	tables map[string]int     // first piece of a path
}

// cutter makes a document while its text is scanned.
type cutter struct {
	doc     *document
	headers []piece
	lastKey []int // by header: end of its last value
}

// newDocument cuts a text that Parse accepted.
func newDocument(text string) *document {
	c := &cutter{doc: &document{text: text, keys: map[string]stretch{}, owner: map[string]int{}, tables: map[string]int{}}}
	c.headers, c.lastKey = []piece{{svc: -1, dest: -1}}, []int{0}
	scanWith([]byte(text), visitor{table: c.table, assignment: c.assignment})
	c.cut()
	return c.doc
}

func (c *cutter) table(path string, at int) {
	p := piece{start: lineStart(c.doc.text, at), table: path}
	p.svc, p.dest = placeOf(path)
	c.headers = append(c.headers, p)
	c.lastKey = append(c.lastKey, at)
}

// assignment is called for the inner ones before the one around them.
func (c *cutter) assignment(path string, at stretch) {
	last := len(c.headers) - 1
	c.doc.keys[path], c.doc.owner[path] = at, last
	c.lastKey[last] = max(c.lastKey[last], at.end)
	if start := lineStart(c.doc.text, at.key); !at.inner {
		c.headers[last].indent = c.doc.text[start:at.key]
	}
}

// placeOf returns the indexes in service[i] and service[i].real_server[k].
func placeOf(path string) (svc, dest int) {
	if !strings.HasPrefix(path, "service[") {
		return -1, -1
	}
	if n, err := fmt.Sscanf(path, "service[%d].real_server[%d]", &svc, &dest); err == nil && n == 2 {
		return svc, dest
	}
	if n, err := fmt.Sscanf(path, "service[%d]", &svc); err != nil || n != 1 {
		return -1, -1
	}
	return svc, -1
}

func lineStart(text string, at int) int { return strings.LastIndexByte(text[:at], '\n') + 1 }

// lineEnd returns the offset behind the line end that follows at.
func lineEnd(text string, at int) int {
	if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
		return at + n + 1
	}
	return len(text)
}

// cut decides what the lines between tables belong to.
func (c *cutter) cut() {
	text := c.doc.text
	from := make([]int, len(c.headers)) // index of the piece of each header
	for i := range c.headers {
		p := c.headers[i]
		if i > 0 || c.lastKey[0] > 0 {
			p.insert = lineEnd(text, c.lastKey[i])
		}
		next := len(text)
		if i+1 < len(c.headers) {
			next = c.headers[i+1].start
		}
		tail, lead := between(text, p.insert, next)
		p.end = tail
		from[i] = len(c.doc.pieces)
		if _, known := c.doc.tables[p.table]; !known {
			c.doc.tables[p.table] = from[i]
		}
		c.doc.pieces = append(c.doc.pieces, p)
		if i+1 < len(c.headers) {
			c.headers[i+1].start = lead
		} else {
			lead = next
		}
		if lead > tail {
			c.doc.pieces = append(c.doc.pieces, piece{start: tail, end: lead, loose: true, svc: -1, dest: -1})
		}
	}
	for path, header := range c.doc.owner {
		c.doc.owner[path] = from[header]
	}
}

// between splits what is between a table and the next: comments right below the one, up to tail, and
// right above the other, from lead.
func between(text string, start, end int) (tail, lead int) {
	lead = end
	for lead > start {
		line := lineStart(text, lead-1)
		if !isComment(text[line:lead]) {
			break
		}
		lead = line
	}
	for tail = start; tail < lead; tail = lineEnd(text, tail) {
		if !isComment(text[tail:lineEnd(text, tail)]) {
			break
		}
	}
	return tail, lead
}

func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") }
