package control

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every path that the server knows has its line in docs/api.md.
func TestEveryPathIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	route := regexp.MustCompile(`"(?:GET|POST|DELETE) (/[a-z0-9/]+)"`)
	found := 0
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range route.FindAllStringSubmatch(string(text), -1) {
			found++
			if !regexp.MustCompile("`" + m[1] + "[`?]").Match(doc) {
				t.Errorf("%s has %s, docs/api.md does not", name, m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("%d paths were found", found)
	}
}
