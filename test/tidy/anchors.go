package tidy

import (
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

var heading = regexp.MustCompile(`^(#{1,6})\s+(.*?)\s*#*$`)

// prose calls f with each line of Markdown that is in no fenced block, and its number from 1.
func prose(src []byte, f func(n int, line string)) {
	n, fenced := 0, false
	for line := range strings.Lines(string(src)) {
		n++
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			f(n, strings.TrimRight(line, "\n"))
		}
	}
}

// anchors returns the fragments by which the headings of a page are reached, as GitHub and other renderers make them.
func anchors(src []byte) map[string]bool {
	found := map[string]bool{}
	prose(src, func(_ int, line string) {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			return
		}
		name := slug(m[2])
		for i := 1; found[name]; i++ {
			name = slug(m[2]) + "-" + strconv.Itoa(i)
		}
		found[name] = true
	})
	return found
}

// slug is a heading's text in lower case, its blanks as dashes, without punctuation, code marks and targets of links.
func slug(text string) string {
	text = link.ReplaceAllString(text, "]")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// checkAnchors checks that links to a place in a page, the same or another, find its heading.
func checkAnchors(tree fs.FS, name string, src []byte) (found []Violation) {
	prose(src, func(n int, line string) {
		for _, m := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, ""), -1) {
			target, fragment, ok := strings.Cut(m[1], "#")
			if !ok || strings.Contains(target, "://") || target != "" && path.Ext(target) != ".md" {
				continue
			}
			page := src
			if target != "" {
				file, _ := fileOf(name, target)
				page, _ = fs.ReadFile(tree, file) // a page that is not there is checkMarkdown's to find
			}
			if !anchors(page)[fragment] {
				found = append(found, Violation{name, n, "no heading for the link to " + m[1]})
			}
		}
	})
	return found
}
