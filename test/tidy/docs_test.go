package tidy

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
)

func TestLinksToHeadingsFindThem(t *testing.T) {
	tree, pages := os.DirFS(root(t)), 0
	err := fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && skipped[e.Name()] {
			return skipOr(err)
		}
		if path.Ext(name) != ".md" {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return skipOr(err)
		}
		pages++
		for _, v := range checkAnchors(tree, name, src) {
			t.Error(v)
		}
		return nil
	})
	if err != nil || pages < 20 {
		t.Errorf("%d pages: %v", pages, err)
	}
}

func TestPagesInTwoLanguagesAreInStep(t *testing.T) {
	tree := os.DirFS(root(t))
	for _, pair := range twins {
		a, errA := fs.ReadFile(tree, pair[0])
		b, errB := fs.ReadFile(tree, pair[1])
		if errA != nil || errB != nil {
			t.Errorf("%v, %v", errA, errB)
			continue
		}
		for _, v := range compareTwins(pair[0], pair[1], a, b) {
			t.Error(v)
		}
	}
}

// TestDeadAnchorsAreFound proves that the first test can fail.
func TestDeadAnchorsAreFound(t *testing.T) {
	tree := fstest.MapFS{"d/b.md": {Data: []byte("# One, *two*: `three`\n## x\n## x\n## 1. 中文 标题\n```\n# no\n```\n")}}
	for target, dead := range map[string]bool{
		"b.md#one-two-three": false, "b.md#x-1": false, "b.md#1-中文-标题": false, "#here": false, "c.go#L3": false,
		"b.md#no": true, "b.md#x-2": true, "#there": true, "https://a.b/c#d": false,
	} {
		got := checkAnchors(tree, "d/a.md", []byte("# Here\n[x]("+target+")\n"))
		if dead != (len(got) == 1) {
			t.Errorf("%s: %v, want dead: %v", target, got, dead)
		}
	}
}

// TestTwinsOutOfStepAreFound proves that the second test can fail.
func TestTwinsOutOfStepAreFound(t *testing.T) {
	page := "# A\n\n```sh\nx --y   # why\n```\n\n## B\n\n    make z      # why\n\n```\n# out\n```\n"
	chinese := strings.NewReplacer("# A", "# 甲", "## B", "## 乙", "# why", "# 为何").Replace(page)
	for change, want := range map[string]string{
		"":                  "",
		"## 乙->### 乙":       "heading 2 is another",
		"x --y->x --z":      "block 1 is another",
		"make z->make zz":   "block 2 is another",
		"# out-># other":    "block 3 is another",
		"```sh->```bash":    "block 1 is another",
		"# 甲->甲":            "heading 1 is another",
		"# 甲-># 甲\n# 丙":     "heading 2 is another",
		"    make z->":      "block 2 is another",
		"## 乙->## 乙\n\n## ": "3 headings",
	} {
		old, now, _ := strings.Cut(change, "->")
		got := compareTwins("a", "b", []byte(page), []byte(strings.Replace(chinese, old, now, 1)))
		if want == "" && len(got) != 0 || want != "" && (len(got) == 0 || !strings.Contains(got[0].String(), want)) {
			t.Errorf("%q: %v, want %q", change, got, want)
		}
	}
}
