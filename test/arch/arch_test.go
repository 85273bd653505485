package arch

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root returns the module's folder.
func root(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("go env GOMOD: %v", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

func goList(t *testing.T) (packages []*Package) {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json", "./...")
	cmd.Dir, cmd.Stderr = root(t), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := &Package{}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 5 {
		t.Fatalf("go list found %d packages", len(packages))
	}
	return packages
}

func report(t *testing.T, violations []string) {
	t.Helper()
	for _, v := range violations {
		t.Error(v)
	}
}

func TestEveryPackageImportsOnlyWhatTheTableAllows(t *testing.T) {
	report(t, Check(goList(t)))
}

func TestNothingShippedDependsOnTestHelpers(t *testing.T) {
	report(t, CheckTestOnly(goList(t)))
}

func TestEveryThirdPartyModuleHasAReason(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := os.ReadFile(filepath.Join(root(t), "docs", "imports.txt"))
	if err != nil {
		t.Errorf("docs/imports.txt: %v", err)
	}
	report(t, CheckReasons(string(reasons), Importers(goList(t), Required(string(mod)))))
}

func TestUnsafeIsWhereItIsAllowed(t *testing.T) {
	packages := goList(t)
	report(t, CheckUnsafe(packages))
	for _, u := range Unsafe {
		for _, p := range packages {
			if p.name() == u.Package && u.Only != nil {
				onlyThese(t, p, u.Only)
			}
		}
	}
}

// onlyThese checks that a package's sources use no other function of unsafe.
func onlyThese(t *testing.T, p *Package, allowed []string) {
	for _, name := range p.GoFiles {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if ok && x.Name == "unsafe" && !slices.Contains(allowed, sel.Sel.Name) {
				t.Errorf("%s/%s:%d: unsafe.%s", p.name(), name, set.Position(n.Pos()).Line, sel.Sel.Name)
			}
			return true
		})
	}
}

func TestForbiddenImportsAreFound(t *testing.T) {
	missing := []*struct{ Err string }{{"package ulvs/nowhere is not in std"}}
	got := Check([]*Package{
		{ImportPath: "ulvs/packet", Imports: []string{"fmt", "ulvs/lvs"}},
		{ImportPath: "ulvs/lvs", Imports: []string{"golang.org/x/sys/unix", "net/netip"}},
		{ImportPath: "ulvs/dataplane/afxdp", Imports: []string{"golang.org/x/sys/unix", "github.com/cilium/ebpf/link"}},
		{ImportPath: "ulvs/dataplane", Imports: []string{"ulvs/internal/ring", "ulvs/dataplane/afxdp"}},
		{ImportPath: "ulvs/test/lab", Imports: []string{"ulvs/director", "example.org/any"}},
		{ImportPath: "ulvs/novel"},
		{ImportPath: "ulvs/ha", DepsErrors: missing, CgoFiles: []string{"c.go"}},
	})
	want := []string{"dataplane imports dataplane/afxdp:", "ha: cgo in c.go", "ha: package ulvs/nowhere",
		"lvs imports golang.org/x/sys/unix:", "novel: is not in the import table", "packet imports lvs:"}
	if len(got) != len(want) {
		t.Fatalf("got %d violations, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

func TestUnsafeAndTestHelpersAreFound(t *testing.T) {
	packages := []*Package{
		{ImportPath: "ulvs/sched", TestImports: []string{"unsafe"}},
		{ImportPath: "ulvs/conntrack", Imports: []string{"unsafe", "ulvs/internal/testutil"}},
		{ImportPath: "ulvs/cmd/ulvs", Imports: []string{"ulvs/test/lab"}},
		{ImportPath: "ulvs/director", Imports: []string{"ulvs/test/lab"}},
		{ImportPath: "ulvs/novel", Imports: []string{"ulvs/bench"}},
	}
	if got := CheckUnsafe(packages); len(got) != 1 || !strings.HasPrefix(got[0], "sched imports unsafe") {
		t.Errorf("unsafe: %q", got)
	}
	if got := CheckTestOnly(packages); len(got) != 3 {
		t.Errorf("test helpers: %q", got)
	}
}

func TestModulesWithoutAReasonAreFound(t *testing.T) {
	modules := Required("module ulvs\n\nrequire example.org/c v1.0.0\nrequire (\n\texample.org/a v1.0.0 // indirect\n" +
		"\texample.org/a/b v1.0.0\n)\ntool (\n\texample.org/t/cmd\n)\n")
	if want := []string{"example.org/c", "example.org/a", "example.org/a/b"}; !slices.Equal(modules, want) {
		t.Fatalf("got %q, want %q", modules, want)
	}
	importers := Importers([]*Package{
		{ImportPath: "ulvs/x", Imports: []string{"fmt", "example.org/a/b/c"}, TestImports: []string{"example.org/c"}},
		{ImportPath: "ulvs/w", XTestImports: []string{"example.org/a/b", "ulvs/x"}},
	}, modules)
	text := "# comment\nexample.org/a/b  w,x  because of this\nexample.org/t tool generates\nexample.org/old x why\n" +
		"example.org/a\n"
	got := CheckReasons(text, importers)
	want := []string{"docs/imports.txt:4: example.org/old is imported by tool, not by x",
		"docs/imports.txt:5: want: module  packages  why", "docs/imports.txt: no line for example.org/c, imported by x"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
