package arch

import (
	"fmt"
	"slices"
	"strings"
)

// Package is what `go list -json` tells of one.
type Package struct {
	ImportPath                         string
	Dir                                string
	GoFiles, CgoFiles                  []string
	Imports, TestImports, XTestImports []string
	DepsErrors                         []*struct{ Err string }
	Error                              *struct{ Err string }
}

// name returns the path below the module.
func (p *Package) name() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, Module), "/")
}

// Check returns every import of packages that the Table forbids, sorted.
func Check(packages []*Package) (violations []string) {
	for _, p := range packages {
		rule := ruleFor(p.name())
		if rule == nil {
			violations = append(violations, p.name()+": is not in the import table (test/arch/table.go)")
			continue
		}
		for _, path := range p.Imports {
			if !isStandard(path) && !rule.allows(path) {
				violations = append(violations, fmt.Sprintf("%s imports %s: %s may import %s (%s)",
					p.name(), local(path), rule.Package, list(rule.Allow), rule.Why))
			}
		}
		violations = append(violations, broken(p)...)
	}
	slices.Sort(violations)
	return violations
}

// broken reports imports of what is not there, and cgo, which a static binary has none of.
func broken(p *Package) (violations []string) {
	if p.Error != nil {
		violations = append(violations, p.name()+": "+p.Error.Err)
	}
	for _, e := range p.DepsErrors {
		violations = append(violations, p.name()+": "+e.Err)
	}
	if len(p.CgoFiles) > 0 {
		violations = append(violations, fmt.Sprintf("%s: cgo in %s", p.name(), list(p.CgoFiles)))
	}
	return violations
}

// CheckUnsafe returns the packages, their tests included, that import unsafe and may not.
func CheckUnsafe(packages []*Package) (violations []string) {
	for _, p := range packages {
		all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		if slices.Contains(all, "unsafe") && !mayUseUnsafe(p.name()) {
			violations = append(violations, p.name()+" imports unsafe (see Unsafe in test/arch/table.go)")
		}
	}
	return violations
}

func mayUseUnsafe(name string) bool {
	for _, u := range Unsafe {
		if covers(u.Package, name) {
			return true
		}
	}
	return false
}

// CheckTestOnly returns the shipped packages that import test helpers.
func CheckTestOnly(packages []*Package) (violations []string) {
	for _, p := range packages {
		if coveredBy(TestOnly, p.name()) {
			continue
		}
		for _, path := range p.Imports {
			excepted := slices.Contains(ruleFor(p.name()).allowed(), local(path))
			if isOurs(path) && coveredBy(TestOnly, local(path)) && !excepted {
				violations = append(violations, fmt.Sprintf("%s imports %s, which is for tests", p.name(), local(path)))
			}
		}
	}
	return violations
}

func ruleFor(name string) *Rule {
	for i := range Table {
		if covers(Table[i].Package, name) {
			return &Table[i]
		}
	}
	return nil
}

func (r *Rule) allowed() []string {
	if r == nil {
		return nil
	}
	return r.Allow
}

// allows tells whether the import path, not of the standard library, may be imported.
func (r *Rule) allows(path string) bool {
	for _, a := range r.Allow {
		switch {
		case a == "*":
			return true
		case isOurs(path) && covers(a, local(path)):
			return true
		case !isOurs(path) && (path == a || strings.HasPrefix(path, a+"/")):
			return true
		}
	}
	return false
}

// covers tells whether pattern, a package or a folder with /..., includes name.
func covers(pattern, name string) bool {
	folder, all := strings.CutSuffix(pattern, "/...")
	return name == folder || all && strings.HasPrefix(name, folder+"/")
}

func coveredBy(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, name) })
}

func isOurs(path string) bool { return path == Module || strings.HasPrefix(path, Module+"/") }

// isStandard: a module of others starts with a host name, which has a dot.
func isStandard(path string) bool {
	host, _, _ := strings.Cut(path, "/")
	return !isOurs(path) && !strings.Contains(host, ".")
}

func local(path string) string { return strings.TrimPrefix(path, Module+"/") }

func list(names []string) string {
	if len(names) == 0 {
		return "the standard library only"
	}
	return strings.Join(names, ", ")
}
