package tidy

import (
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
)

// packageDocs remembers which folders hold Go packages, and which of those are documented.
type packageDocs struct {
	first map[string]string // folder: its first file
	done  map[string]bool   // folder: has a package doc
}

func newPackageDocs() *packageDocs {
	return &packageDocs{map[string]string{}, map[string]bool{}}
}

// see takes a Go file, generated or not, into account.
func (p *packageDocs) see(name string, src []byte) {
	folder := path.Dir(name)
	if _, known := p.first[folder]; !known {
		p.first[folder] = name
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil || file.Doc == nil {
		return
	}
	text := file.Doc.Text()
	if strings.HasPrefix(text, "Package "+file.Name.Name) || strings.HasPrefix(text, "Command ") {
		p.done[folder] = true
	}
}

// missing returns the packages without a doc.
func (p *packageDocs) missing() (found []Violation) {
	for folder, file := range p.first {
		if !p.done[folder] {
			found = append(found, Violation{file, 1, "package " + folder + " has no doc comment (Package name ...)"})
		}
	}
	slices.SortFunc(found, func(a, b Violation) int { return strings.Compare(a.File, b.File) })
	return found
}
