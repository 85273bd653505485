package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Limits of what is shown of a failure. Whoever reads a long print-out may be shown its beginning and its end only.
const (
	shortOutput = 20  // lines that need no summary before and after them
	errorLines  = 20  // of a summary
	crashLines  = 200 // of a panic: goroutines, the one that matters first
)

// failed shows all that a failed test said. Of a long output the errors come first, and once more at the end.
func (r *report) failed(pkg, test string, lines []string) {
	name := pkg + " " + test
	errors := errorsOf(pkg, lines)
	if len(errors) > 0 {
		r.failures = append(r.failures, name+": "+strings.TrimSpace(errors[0]))
	} else if !r.parentOfFailed(name) {
		r.failures = append(r.failures, name+": "+firstOf(lines))
	}
	fmt.Fprintf(r.out, "\nFAIL %s\n", name)
	long := len(lines) > shortOutput && len(errors) > 0
	if long {
		fmt.Fprint(r.out, strings.Join(errors, ""), "  all that it said:\n")
	}
	fmt.Fprint(r.out, strings.Join(lines, ""))
	if long {
		fmt.Fprintf(r.out, "  FAIL %s, once more:\n%s", name, strings.Join(errors, ""))
	}
	fmt.Fprintln(r.out)
}

// parentOfFailed reports whether a test is told of already, by one of its subtests.
func (r *report) parentOfFailed(name string) bool {
	return slices.ContainsFunc(r.failures, func(f string) bool { return strings.HasPrefix(f, name+"/") })
}

// unfinished are the tests of a package that said something and never ended, sorted.
func (r *report) unfinished(pkg string) (tests []string) {
	for key := range r.outputs {
		if test := strings.TrimPrefix(key, pkg+" "); test != key && test != "" {
			tests = append(tests, test)
		}
	}
	slices.Sort(tests)
	return tests
}

// crashed shows which tests ran when their process ended, what they had said, and the beginning of its panic.
func (r *report) crashed(pkg string, tests []string) {
	names := strings.Join(tests, ", ")
	cause := "it ended"
	for _, test := range tests {
		key := pkg + " " + test
		fmt.Fprintf(r.out, "\nFAIL %s %s: it was running when its process ended\n", pkg, test)
		lines := r.outputs[key]
		if at := slices.IndexFunc(lines, isCrash); at >= 0 {
			cause = strings.TrimSpace(lines[at])
			if left := len(lines) - at - crashLines; left > 0 {
				lines = append(lines[:at+crashLines:at+crashLines], fmt.Sprintf("  ... and %d lines more\n", left))
			}
		}
		fmt.Fprint(r.out, strings.Join(lines, ""))
		delete(r.outputs, key)
	}
	fmt.Fprintf(r.out, "  %s: %s, while running %s\n", pkg, cause, names)
	r.failures = append(r.failures, fmt.Sprintf("%s %s: %s", pkg, names, cause))
}

func isCrash(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "SIG")
}

// said is how the testing package writes what a test logs: where, and the first line of what.
var said = regexp.MustCompile(`^ +([\w.-]+\.go):(\d+): `)

// errorsOf are the lines by which a test failed, with a few that continue each. The output does not tell errors from
// logs: the source does.
func errorsOf(pkg string, lines []string) (errors []string) {
	sources, more := map[string][]string{}, 0
	for _, line := range lines {
		m := said.FindStringSubmatch(line)
		switch {
		case m != nil && !isLog(sources, pkg, m[1], m[2]):
			more = 3
		case m != nil || more == 0 || !strings.HasPrefix(line, "        "):
			more = 0
			continue
		default:
			more--
		}
		if errors = append(errors, line); len(errors) == errorLines {
			return errors
		}
	}
	return errors
}

// isLog reports whether a line of a package's source logs and goes on. Sources are kept as they are read.
func isLog(sources map[string][]string, pkg, file, number string) bool {
	if sources[file] == nil {
		text, _ := os.ReadFile(filepath.Join(strings.TrimPrefix(pkg, "ulvs/"), file)) // else everything is an error
		sources[file] = strings.Split(string(text), "\n")
	}
	n, _ := strconv.Atoi(number) // digits
	if n < 1 || n > len(sources[file]) {
		return false
	}
	source := sources[file][n-1]
	return strings.Contains(source, ".Log(") || strings.Contains(source, ".Logf(") ||
		strings.Contains(source, "testutil.Rand(") || strings.Contains(source, "testutil.Seed(") // they log the seed
}

// firstOf is the first line that says something.
func firstOf(lines []string) string {
	for _, l := range lines {
		if text := strings.TrimSpace(l); text != "" && !strings.HasPrefix(text, "===") {
			return text
		}
	}
	return "nothing was said"
}
