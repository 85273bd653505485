package events

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestTheDocumentListsEveryKind(t *testing.T) {
	text, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range Infos {
		row := fmt.Sprintf("| `%s` | %s | %s |\n", i.Kind, strings.ToLower(i.Level.String()), i.Help)
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/observability.md lacks %s", row)
		}
	}
}
