package tidy

import (
	"fmt"
	"regexp"
	"strings"
)

// twins are pages that say the same in two languages: what changes in one changes in the other.
var twins = [][2]string{
	{"README.md", "README.zh-CN.md"},
	{"docs/guide.md", "docs/zh/guide.md"},
}

// piece is a heading or a block of a page.
type piece struct {
	line int
	text string // "##" of a heading; a block without its comments
}

// compareTwins returns where the second page is not in step with the first: other levels of headings, other blocks.
func compareTwins(a, b string, first, second []byte) (found []Violation) {
	for _, kind := range []struct {
		what string
		of   func([]byte) []piece
	}{{"heading", headings}, {"block", blocks}} {
		x, y := kind.of(first), kind.of(second)
		for i := range min(len(x), len(y)) {
			if x[i].text != y[i].text {
				return append(found, Violation{b, y[i].line, fmt.Sprintf("%s %d is another one than %s:%d: change both\n%s\n%s",
					kind.what, i+1, a, x[i].line, x[i].text, y[i].text)})
			}
		}
		if len(x) != len(y) {
			found = append(found, Violation{b, 1, fmt.Sprintf("%d %ss, %s has %d", len(y), kind.what, a, len(x))})
		}
	}
	return found
}

func headings(src []byte) (list []piece) {
	prose(src, func(n int, line string) {
		if m := heading.FindStringSubmatch(line); m != nil {
			list = append(list, piece{n, m[1]})
		}
	})
	return list
}

var comment = regexp.MustCompile(`(^|\s)#\s.*$`)

// blocks returns fenced and indented blocks. Comments are left out where they are prose: in commands, files and
// indented blocks; a block without a language is output, in which "# " is a prompt.
func blocks(src []byte) (list []piece) {
	n, fence, open := 0, "", false
	for line := range strings.Lines(string(src)) {
		n++
		line = strings.TrimRight(line, " \n")
		indented := fence == "" && strings.HasPrefix(line, "    ")
		switch {
		case fence == "" && strings.HasPrefix(line, "```"):
			fence, open = line, true
			list = append(list, piece{n, line})
			continue
		case strings.HasPrefix(line, "```"):
			fence, open = "", false
			continue
		case indented && !open:
			list, open = append(list, piece{n, ""}), true
		case fence == "" && !indented:
			open = false
		}
		if open {
			if indented || fence != "```" {
				line = strings.TrimRight(comment.ReplaceAllString(line, ""), " ")
			}
			list[len(list)-1].text += "\n" + line
		}
	}
	return list
}
