package keepalived

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ulvs/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

func options() Options {
	return Options{ID: "lvs1", ReadFile: os.ReadFile, Glob: filepath.Glob}
}

// inputs are the files of testdata, relative to it.
func inputs(t *testing.T) []string {
	t.Helper()
	t.Chdir("testdata")
	files, err := filepath.Glob("*.conf")
	if err != nil || len(files) < 20 {
		t.Fatalf("files %v, error %v; want at least twenty", files, err)
	}
	return files
}

// The golden files show all that is mapped, whatever this version's config takes of it.
func TestEachFileBecomesItsGoldenFiles(t *testing.T) {
	opt := options()
	opt.judge = func([]byte) (*config.Config, error) { return &config.Config{}, nil }
	for _, file := range inputs(t) {
		r, err := Import(file, opt)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var findings strings.Builder
		for _, f := range r.Findings {
			fmt.Fprintln(&findings, f)
		}
		name := strings.TrimSuffix(file, ".conf")
		golden(t, name+".toml", r.TOML)
		golden(t, name+".findings", findings.String())
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (see the change with -update and git diff)\n got:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestConfigAcceptsEachResult(t *testing.T) {
	for _, file := range inputs(t) {
		r, err := Import(file, options())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse(file, []byte(r.TOML), config.Options{}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// read returns the statements of a file.
func read(t testing.TB, file string) ([]*stmt, []Finding) {
	t.Helper()
	var findings []Finding
	r := &reader{opt: options(), tree: newTree(&findings), findings: &findings, defs: map[string]string{},
		budget: MaxExpandedBytes}
	if err := r.file(file, Pos{file, 1, 1}); err != nil {
		t.Fatal(err)
	}
	return r.tree.root.block, findings
}

// all returns the statements of a block and those in them.
func all(block []*stmt) (out []*stmt) {
	for _, s := range block {
		out = append(append(out, s), all(s.block)...)
	}
	return out
}

// A word that is put into any statement of any file, or takes the place of its keyword, is seen again: in the
// result, or in a finding.
func TestNoWordOfAnyStatementIsDropped(t *testing.T) {
	const marker = "zz9marker"
	for _, file := range inputs(t) {
		block, _ := read(t, file)
		for i := range all(block) {
			for _, change := range []func(s *stmt){
				func(s *stmt) {
					s.words = append(s.words, word{text: marker, at: s.at()})
					s.used = append(s.used, false)
				},
				func(s *stmt) { s.words[0].text = marker },
			} {
				block, _ := read(t, file)
				s := all(block)[i]
				was := s.source()
				change(s)
				m := newMapper(file, nil)
				m.all(block)
				text, _, err := m.accept()
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(text, marker) && !strings.Contains(fmt.Sprint(m.findings), marker) {
					t.Errorf("%s: %q became %q, and nobody says so", s.at(), was, s.source())
				}
			}
		}
	}
}

// Whatever a rule forgets, sweep reports: every word is accounted for when the mapping is done.
func TestEveryWordIsUsedWhenTheMappingIsDone(t *testing.T) {
	for _, file := range inputs(t) {
		block, findings := read(t, file)
		m := newMapper(file, findings)
		m.all(block)
		for _, s := range all(block) {
			for i, used := range s.used {
				if !used {
					t.Errorf("%s: %q of %q is not accounted for", s.at(), s.words[i].text, s.source())
				}
			}
		}
	}
}

func TestWhatConfigRefusesIsCommentedOutInItsOwnWords(t *testing.T) {
	r, err := Import("f", text2options(`virtual_server 192.0.2.1 80 {
    lb_algo quickest
    lb_kind DR
    real_server 192.0.2.1 80 { weight 1 }
    real_server 192.0.2.2 80 { weight -1 }
}
virtual_server 192.0.2.1 80 { lb_kind DR }
virtual_server 127.0.0.1 80 { lb_kind DR }
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Findings {
		if f.Kind == Refused {
			got = append(got, f.String())
		}
	}
	for i, want := range []string{
		"f:2:5: lb_algo: refused: service.scheduler is commented out: unknown scheduler",
		"f:4:5: real_server: refused: service.real_server is commented out: 192.0.2.1 is the VIP itself",
		"f:5:32: weight: refused: service.real_server.weight is commented out: -1 is out of range",
		"f:7:1: virtual_server: refused: service is commented out: service tcp 192.0.2.1:80 is given twice",
		"f:8:1: virtual_server: refused: service is commented out: 127.0.0.1 is a loopback address",
	} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("findings\n%s\nwant %d to begin with %q", strings.Join(got, "\n"), i, want)
		}
	}
	if n := len(r.Config.Services()); n != 1 {
		t.Errorf("%d services are left, want 1", n)
	}
}

func TestABrokenFileSaysWhereAndWhatWasExpected(t *testing.T) {
	inputs(t)
	r, err := Import("broken.conf", options())
	if err != nil {
		t.Fatal(err)
	}
	if r.Count(Broken) < 20 {
		t.Errorf("%d places are broken, want 20 at least", r.Count(Broken))
	}
	for _, f := range r.Findings {
		if f.Kind == Broken && (!strings.HasPrefix(f.Text, "expected ") || f.Pos.Line < 1 || f.Pos.Col < 1) {
			t.Errorf("%s does not say where it is and what was expected", f)
		}
	}
}

func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	_, err := Import("testdata/nowhere.conf", options())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that there is no such file", err)
	}
}

func text2options(text string) Options {
	return Options{ID: "a", ReadFile: func(string) ([]byte, error) { return []byte(text), nil }}
}

func TestLimitsEndInErrorsThatNameThem(t *testing.T) {
	for name, text := range map[string]string{
		"lines of sequences":    "~SEQ(a, 1, 100000) ~SEQ(b, 1, 100000) x $a $b\n",
		"a value that doubles":  "$a=$b $b\n$b=$c $c\n$c=$d $d\n$d=$e $e\n$e=" + strings.Repeat("x", 8000) + "\n$a\n",
		"a file that is larger": strings.Repeat("#", MaxFileBytes+1),
		"a line that is longer": strings.Repeat("x", maxLineBytes+1),
	} {
		_, err := Import("f", text2options(text))
		if !errors.Is(err, errTooMuch) {
			t.Errorf("%s: error %v, want one that says it is too much", name, err)
		}
	}
	all := "virtual_server_group g {\n 10.0.0.0/8 80\n}\nvirtual_server group g {\n}\n"
	r, err := Import("f", text2options(all))
	if err != nil || len(r.Config.Services()) != maxExpanded {
		t.Errorf("a large group: error %v, want %d services", err, maxExpanded)
	}
}

func TestFilesThatIncludeEachOtherEnd(t *testing.T) {
	opt := text2options("include a\n")
	n := 0
	opt.Glob = func(string) ([]string, error) { n++; return []string{fmt.Sprint("other", n)}, nil }
	if _, err := Import("f", opt); !errors.Is(err, errTooMuch) {
		t.Errorf("error %v, want one that says it is too much", err)
	}
	opt.Glob = func(string) ([]string, error) { return []string{"f"}, nil }
	r, err := Import("f", opt)
	if err != nil || r.Count(Broken) != 1 {
		t.Errorf("error %v, findings %v; want one about a file that includes itself", err, r.Findings)
	}
}

// Whatever a text is, config takes what becomes of it.
func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 16<<10 {
			return
		}
		opt := text2options(text)
		opt.expanded = 64
		opt.Glob = func(pattern string) ([]string, error) {
			_, err := filepath.Match(pattern, "x")
			return []string{"f", "g"}[:len(pattern)%3], err
		}
		r, err := Import("f", opt)
		if err != nil {
			if !errors.Is(err, errTooMuch) {
				t.Fatal(err)
			}
			return
		}
		if _, err := config.Parse("f", []byte(r.TOML), config.Options{}); err != nil {
			t.Fatalf("%v\n%s", err, r.TOML)
		}
	})
}
