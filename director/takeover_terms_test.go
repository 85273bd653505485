package director

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTermsOutliveTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	s, lost, err := openTerms(dir, "lvs1")
	if lost != nil || err != nil {
		t.Fatalf("the first start: lost %v, %v", lost, err)
	}
	for _, term := range []uint32{3, 7, 5} {
		if err := s.keep("VI_1", term); err != nil {
			t.Fatal(err)
		}
	}
	again, lost, err := openTerms(dir, "lvs1")
	if lost != nil || err != nil || again.file.Terms["VI_1"] != 7 {
		t.Errorf("after a restart: %+v, lost %v, %v; want term 7", again, lost, err)
	}
}

func TestATermFileThatIsOfNoUseIsSetAside(t *testing.T) {
	for name, text := range map[string]string{
		"cut":                "{\"node\":\"lvs1\",\"ter",
		"empty":              "",
		"of another node":    `{"node":"lvs2","terms":{"VI_1":9}}`,
		"not a number":       `{"node":"lvs1","terms":{"VI_1":-1}}`,
		"far too long":       `{"node":"lvs1","terms":{}}` + strings.Repeat(" ", termFileMax),
		"a number too large": `{"node":"lvs1","terms":{"VI_1":4294967296}}`,
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, termFileName)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, lost, err := openTerms(dir, "lvs1")
		if lost == nil || err != nil || len(s.file.Terms) > 0 {
			t.Errorf("%s: %+v, lost %v, %v", name, s, lost, err)
		}
		if kept, err := os.ReadFile(file + ".bad"); err != nil || string(kept) != text {
			t.Errorf("%s is not kept aside: %v", name, err)
		}
		if _, lost, err = openTerms(dir, "lvs1"); lost != nil || err != nil {
			t.Errorf("%s, the start after that: lost %v, %v", name, lost, err)
		}
	}
}

func TestATermThatCannotBeKeptIsAnError(t *testing.T) {
	dir := t.TempDir()
	s, _, err := openTerms(dir, "lvs1")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.keep("VI_1", 4); !errors.Is(err, fs.ErrNotExist) || s.file.Terms["VI_1"] != 0 {
		t.Errorf("without its directory: %v, term %d", err, s.file.Terms["VI_1"])
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openTerms(file, "lvs1"); err == nil || !strings.Contains(err.Error(), "give node.state_directory") {
		t.Errorf("a directory that is a file: %v", err)
	}
}
