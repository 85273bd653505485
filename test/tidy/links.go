package tidy

import (
	"path"
	"regexp"
	"strings"
)

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)(?:\s+"[^"]*")?\)`)
	linkRef  = regexp.MustCompile(`^\s*\[[^\]]+\]:\s+(\S+)`)
	codeSpan = regexp.MustCompile("`[^`]*`")
)

// checkMarkdown checks that links to files of the repository resolve; exists tells whether a
// path below its root does.
func checkMarkdown(name string, src []byte, exists func(string) bool) (found []Violation) {
	n, fenced := 0, false
	for line := range strings.Lines(string(src)) {
		n++
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if fenced {
			continue
		}
		if what := looseEnd(line); what != "" {
			found = append(found, Violation{name, n, what})
		}
		line = codeSpan.ReplaceAllString(line, "")
		for _, m := range append(link.FindAllStringSubmatch(line, -1), linkRef.FindAllStringSubmatch(line, -1)...) {
			if target, ok := fileOf(name, m[1]); ok && !exists(target) {
				found = append(found, Violation{name, n, "the link to " + m[1] + " leads nowhere"})
			}
		}
	}
	return found
}

// fileOf returns the repository path that a link in the file name means; ok is false for what is
// on the net or in the same file.
func fileOf(name, target string) (file string, ok bool) {
	target, _, _ = strings.Cut(target, "#")
	if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return "", false
	}
	if rooted, ok := strings.CutPrefix(target, "/"); ok {
		return path.Clean(rooted), true
	}
	return path.Join(path.Dir(name), target), true
}
