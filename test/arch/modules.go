package arch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Importers maps every third-party module that packages, their tests included, import
// directly to those packages. modules are the paths of go.mod's require lines.
func Importers(packages []*Package, modules []string) map[string][]string {
	importers := map[string][]string{}
	for _, p := range packages {
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if isStandard(path) || isOurs(path) {
				continue
			}
			m := moduleOf(path, modules)
			if !slices.Contains(importers[m], p.name()) {
				importers[m] = append(importers[m], p.name())
			}
		}
	}
	for _, names := range importers {
		slices.Sort(names)
	}
	return importers
}

// moduleOf returns the longest module path that is a prefix of the import path, or the path itself.
func moduleOf(path string, modules []string) string {
	best := ""
	for _, m := range modules {
		if (path == m || strings.HasPrefix(path, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	if best == "" {
		return path
	}
	return best
}

// Required returns the module paths of go.mod's require lines.
func Required(goMod string) (modules []string) {
	inside := false
	for line := range strings.Lines(goMod) {
		line = strings.TrimSpace(line)
		rest, single := strings.CutPrefix(line, "require ")
		switch {
		case line == "require (":
			inside = true
		case line == ")":
			inside = false
		case single:
			modules = append(modules, strings.Fields(rest)[0])
		case inside && line != "" && !strings.HasPrefix(line, "//"):
			modules = append(modules, strings.Fields(line)[0])
		}
	}
	return modules
}

// CheckReasons compares docs/imports.txt with what is imported. A line is
//
//	module  package,package  why
//
// in columns separated by blanks; # starts a comment. A module that only tools need has "tool" for packages.
func CheckReasons(text string, importers map[string][]string) (violations []string) {
	listed := map[string]bool{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) < 3 {
			violations = append(violations, fmt.Sprintf("docs/imports.txt:%d: want: module  packages  why", n))
			continue
		}
		listed[fields[0]] = true
		want := strings.Join(importers[fields[0]], ",")
		if want == "" {
			want = "tool" // or nobody: then the line should go
		}
		if fields[1] != want {
			violations = append(violations, fmt.Sprintf("docs/imports.txt:%d: %s is imported by %s, not by %s",
				n, fields[0], want, fields[1]))
		}
	}
	for _, m := range slices.Sorted(maps.Keys(importers)) {
		if !listed[m] {
			violations = append(violations, fmt.Sprintf("docs/imports.txt: no line for %s, imported by %s",
				m, strings.Join(importers[m], ",")))
		}
	}
	return violations
}
