package tidy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits of style.md section 16.
const (
	maxFunction = 70  // lines, from func to the closing brace
	maxFile     = 500 // lines
	maxLine     = 120 // characters
)

// Violation is a place that breaks a rule.
type Violation struct {
	File string
	Line int
	What string
}

// String returns file:line: what, which editors jump to.
func (v Violation) String() string { return fmt.Sprintf("%s:%d: %s", v.File, v.Line, v.What) }

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// isGenerated tells whether a tool wrote the file, as the go command tells.
func isGenerated(src []byte) bool { return generated.Match(src) }

// checkGo returns what is wrong in one Go file that no tool wrote.
func checkGo(name string, src []byte) []Violation {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return []Violation{{name, 1, err.Error()}}
	}
	c := &goFile{name: name, set: set}
	if formatted, err := format.Source(src); err != nil || !bytes.Equal(formatted, src) {
		c.add(file.Package, "is not gofmt'ed")
	}
	ast.Inspect(file, c.functionLength)
	if !strings.HasSuffix(name, "_test.go") {
		for _, d := range file.Decls {
			c.documented(d)
		}
	}
	for _, group := range file.Comments {
		for _, line := range group.List {
			c.looseEnd(line)
		}
	}
	return append(c.found, checkSize(name, src)...)
}

// goFile collects what is wrong in a file.
type goFile struct {
	name  string
	set   *token.FileSet
	found []Violation
}

func (c *goFile) add(at token.Pos, format string, args ...any) {
	c.found = append(c.found, Violation{c.name, c.set.Position(at).Line, fmt.Sprintf(format, args...)})
}

func (c *goFile) functionLength(n ast.Node) bool {
	name := ""
	switch f := n.(type) {
	case *ast.FuncDecl:
		name = f.Name.Name
	case *ast.FuncLit:
		name = "a function literal"
	default:
		return true
	}
	lines := c.set.Position(n.End()).Line - c.set.Position(n.Pos()).Line + 1
	if lines > maxFunction {
		c.add(n.Pos(), "%s has %d lines, the limit is %d", name, lines, maxFunction)
	}
	return true
}

// documented checks that exported names have a doc comment; one on a group of constants or variables, or
// one behind a name in it, will do.
func (c *goFile) documented(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
			c.add(d.Pos(), "%s is exported and has no doc comment", d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			c.documentedSpec(d, spec)
		}
	}
}

func (c *goFile) documentedSpec(d *ast.GenDecl, spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
			c.add(s.Pos(), "type %s is exported and has no doc comment", s.Name.Name)
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
				c.add(name.Pos(), "%s is exported and has no doc comment", name.Name)
			}
		}
	}
}

// exportedReceiver tells whether the function is none of a type that only the package sees.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

func (c *goFile) looseEnd(comment *ast.Comment) {
	start := c.set.Position(comment.Pos()).Line
	for i, line := range strings.Split(comment.Text, "\n") {
		if what := looseEnd(line); what != "" {
			c.found = append(c.found, Violation{c.name, start + i, what})
		}
	}
}

// The words are split so that this file does not find itself.
var (
	promise = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b(\(#\d+\))?`)
	machine = regexp.MustCompile(`(^|[^\w.*~-])/(wo` + `rk|ro` + `ot|home/\w+|tmp/br` + `ief)/`)
)

// looseEnd finds a promise that no issue keeps.
func looseEnd(line string) string {
	for _, m := range promise.FindAllStringSubmatch(line, -1) {
		if m[2] == "" {
			return m[1] + " without an issue number, as in " + m[1] + "(#12)"
		}
	}
	return ""
}

// checkSize checks the length of a file and of its lines.
func checkSize(name string, src []byte) (found []Violation) {
	n := 0
	for line := range bytes.Lines(src) {
		n++
		if width := utf8.RuneCount(bytes.TrimRight(line, "\r\n")); width > maxLine {
			found = append(found, Violation{name, n, fmt.Sprintf("%d characters, the limit is %d", width, maxLine)})
		}
	}
	if n > maxFile {
		found = append(found, Violation{name, n, fmt.Sprintf("%d lines, the limit is %d", n, maxFile)})
	}
	return found
}

// checkPaths finds paths of the machine the file was written on, in objects too.
func checkPaths(name string, src []byte) (found []Violation) {
	n := 0
	for line := range bytes.Lines(src) {
		n++
		if m := machine.Find(line); m != nil {
			found = append(found, Violation{name, n, fmt.Sprintf("a path of somebody's machine: %q", m)})
		}
	}
	return found
}

// checkScript checks what is neither Go nor prose: C, shell, make.
func checkScript(name string, src []byte) []Violation {
	found := checkSize(name, src)
	n := 0
	for line := range strings.Lines(string(src)) {
		n++
		if what := looseEnd(line); what != "" {
			found = append(found, Violation{name, n, what})
		}
	}
	return found
}
