package ipvsadm

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// step is a recorded step: commands one after the other, and what they printed together.
type step struct {
	line  int
	calls [][]string
	in    string
	want  call
}

// steps reads a recording; its first lines say what is what.
func steps(t *testing.T, path string) (list []step) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s step
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text := lines.Text()
		switch text[0] {
		case '$':
			s.line = n
			s.calls = append(s.calls, words(t, strings.TrimPrefix(text[1:], " ")))
		case '<':
			if s.in, err = strconv.Unquote(text[2:]); err != nil {
				t.Fatalf("%s:%d: %v", path, n, err)
			}
		case '|':
			s.want.out += text[1:] + "\n"
		case '!':
			s.want.err += text[1:] + "\n"
		case '=':
			if s.want.rc, err = strconv.Atoi(text[2:]); err != nil {
				t.Fatalf("%s:%d: %v", path, n, err)
			}
			list = append(list, s)
			s = step{}
		}
	}
	return list
}

// words splits a line, in which a word may be quoted.
func words(t *testing.T, text string) (list []string) {
	t.Helper()
	for text != "" {
		word, rest, _ := strings.Cut(text, " ")
		if text[0] == '"' {
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			word, _ = strconv.Unquote(quoted)
			rest = strings.TrimPrefix(text[len(quoted):], " ")
		}
		list, text = append(list, word), rest
	}
	return list
}

func TestEveryRecordedCommandPrintsWhatTheOriginalPrints(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b := newFake()
			b.counts = map[string]counts{ // errors.txt has sessions
				"TCP 10.0.0.1:80 10.1.0.1:8080": {active: 1}, "TCP 10.0.0.1:80 10.1.0.2:80": {active: 2},
			}
			for _, s := range steps(t, path) {
				var got call
				for _, args := range s.calls {
					c := run(t, b, s.in, args...)
					got = call{got.out + c.out, got.err + c.err, c.rc}
				}
				compare(t, fmt.Sprintf("%s:%d: %q", path, s.line, s.calls), got, s.want)
			}
		})
	}
}

func compare(t *testing.T, what string, got, want call) {
	t.Helper()
	if got == want {
		return
	}
	t.Errorf("%s\n got %d\n%s%s\nwant %d\n%s%s", what, got.rc, got.out, got.err, want.rc, want.out, want.err)
}
