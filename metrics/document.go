package metrics

import (
	_ "embed" // the document's head
	"fmt"
	"strings"
)

//go:embed head.txt
var documentHead string

// Document returns docs/metrics.md.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	for _, f := range newFamilies().list {
		labels := make([]string, len(f.Labels))
		for i, l := range f.Labels {
			labels[i] = "`" + l + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, strings.Join(labels, ", "), f.Help)
	}
	return b.String()
}
