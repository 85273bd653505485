package migration

import (
	"fmt"
	"regexp"
	"strings"
)

// Block is a fenced block of the guide.
type Block struct {
	Line int    // of its first line in the guide, from 1
	Kind string // sh: commands; text: what they print; conf: a file
	On   string // sh: the host; conf: the host and the file's path
	Text string
}

// Blocks returns the fenced blocks of a guide. Commands without a host are an error: nobody would run them.
func Blocks(guide string) (list []Block, err error) {
	var open *Block
	n := 0
	for line := range strings.Lines(guide) {
		n++
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case !fence && open != nil:
			open.Text += line
		case fence && open != nil:
			list, open = append(list, *open), nil
		case fence:
			kind, on, _ := strings.Cut(strings.TrimSpace(info), " ")
			open = &Block{Line: n + 1, Kind: kind, On: on}
			if kind == "sh" && on == "" {
				return nil, fmt.Errorf("line %d: commands without a host: write sh lvs3", n)
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block has no end", open.Line-1)
	}
	return list, nil
}

var (
	number = regexp.MustCompile(`[0-9]+`)
	blanks = regexp.MustCompile(`\s+`)
)

// Shows tells which line of want, in order, got does not have. Numbers may differ, and blanks; "..." stands for
// any lines.
func Shows(got, want string) (missing string, ok bool) {
	rest := strings.Split(plain(got), "\n")
	for line := range strings.Lines(want) {
		line = strings.TrimSpace(plain(line))
		if line == "" || line == "..." {
			continue
		}
		at := index(rest, line)
		if at < 0 {
			return line, false
		}
		rest = rest[at+1:]
	}
	return "", true
}

func index(lines []string, want string) int {
	for i, line := range lines {
		if strings.TrimSpace(line) == want {
			return i
		}
	}
	return -1
}

// plain makes numbers and blanks of a text equal.
func plain(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(blanks.ReplaceAllString(number.ReplaceAllString(line, "0"), " ")) + "\n")
	}
	return b.String()
}
