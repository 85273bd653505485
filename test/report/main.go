// Command report turns the output of "go test -json" on standard input into what a person wants to see: a line per
// package, the whole output of what failed with the test's own words first and last, why tests were skipped, what
// failed once more in a line each, and a closing line with counts. Its exit status is 1 if anything failed or no test
// ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is a line of "go test -json" (see go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64 // seconds
	Output  string
}

type counts struct{ passed, failed, skipped int }

// report collects events. Outputs are kept until their test passes.
type report struct {
	out      io.Writer
	total    counts
	pkgs     map[string]*counts
	outputs  map[string][]string
	skips    map[string]int
	failures []string // "package Test: what it said first"
}

func newReport(out io.Writer) *report {
	return &report{out: out, pkgs: map[string]*counts{}, outputs: map[string][]string{}, skips: map[string]int{}}
}

func main() {
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	r.close()
	if r.total.failed > 0 || r.total.passed == 0 {
		os.Exit(1)
	}
}

func (r *report) read(in io.Reader) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var e event
		if json.Unmarshal(s.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(r.out, s.Text()) // a build error, or something that go vet says
			continue
		}
		r.add(e)
	}
	return s.Err()
}

func (r *report) add(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		r.outputs[key] = append(r.outputs[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.closePackage(e)
		} else {
			r.closeTest(e, key)
		}
	case "build-fail":
		fmt.Fprint(r.out, strings.Join(r.outputs[key], ""))
	}
}

// counts are those of a package.
func (r *report) counts(pkg string) *counts {
	if r.pkgs[pkg] == nil {
		r.pkgs[pkg] = &counts{}
	}
	return r.pkgs[pkg]
}

func (r *report) closeTest(e event, key string) {
	c := r.counts(e.Package)
	switch e.Action {
	case "pass":
		c.passed++
	case "skip":
		c.skipped++
		r.skips[skipReason(r.outputs[key])]++
	case "fail":
		c.failed++
		r.failed(e.Package, e.Test, r.outputs[key])
	}
	delete(r.outputs, key)
}

func (r *report) closePackage(e event) {
	c := r.counts(e.Package)
	word := "ok  "
	switch {
	case e.Action == "fail":
		word = "FAIL"
		said := r.outputs[e.Package+" "]
		if unfinished := r.unfinished(e.Package); len(unfinished) > 0 { // a panic, or no time was left
			c.failed++
			r.crashed(e.Package, unfinished)
		} else if c.failed == 0 { // it did not build, or ended by itself
			c.failed++
			r.failures = append(r.failures, e.Package+": "+firstOf(said))
		}
		fmt.Fprint(r.out, strings.Join(said, ""))
	case c.passed+c.failed+c.skipped == 0:
		return // no tests to tell of
	}
	r.total.passed += c.passed
	r.total.failed += c.failed
	r.total.skipped += c.skipped
	fmt.Fprintf(r.out, "  %s %-28s %5d passed %3d failed %3d skipped %7.1fs\n",
		word, e.Package, c.passed, c.failed, c.skipped, e.Elapsed)
}

// skipReason is the last thing a skipped test said before it was skipped.
func skipReason(lines []string) string {
	for _, l := range slices.Backward(lines) {
		if !strings.Contains(l, "--- SKIP") && strings.TrimSpace(l) != "" {
			return strings.TrimSpace(l)
		}
	}
	return "no reason given"
}

func (r *report) close() {
	for reason, n := range r.skips {
		fmt.Fprintf(r.out, "  skipped %d: %s\n", n, reason)
	}
	for _, f := range r.failures {
		fmt.Fprintf(r.out, "  failed: %s\n", f)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.total.passed, r.total.failed, r.total.skipped)
}
