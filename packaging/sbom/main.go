// Command sbom prints what a Go binary is made of as CycloneDX 1.6 JSON: sbom BINARY VERSION.
//
// It reads the build information that the linker put into the binary, so the list is that of the file at hand, and
// not of go.mod.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

// component is a module, in CycloneDX's words.
type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref,omitempty"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
}

// property is a note about a component.
type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type metadata struct {
	Component  component  `json:"component"`
	Properties []property `json:"properties"`
}

type document struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "call it as: sbom BINARY VERSION")
		os.Exit(2)
	}
	info, err := buildinfo.ReadFile(os.Args[1])
	if err == nil {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(describe(info, os.Args[2]))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// describe lists the toolchain and every module in the binary.
func describe(info *debug.BuildInfo, version string) document {
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	d := document{Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: metadata{
		Component: component{Type: "application", Ref: "ulvs", Name: "ulvs", Version: version},
	}}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOARCH", "GOOS", "CGO_ENABLED", "vcs.revision":
			d.Metadata.Properties = append(d.Metadata.Properties, property{s.Key, s.Value})
		}
	}
	d.Components = []component{{Type: "library", Ref: "pkg:golang/std@" + goVersion, Name: "std", Version: goVersion,
		PURL: "pkg:golang/std@" + goVersion}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		d.Components = append(d.Components, module(m))
	}
	return d
}

func module(m *debug.Module) component {
	purl := "pkg:golang/" + m.Path + "@" + m.Version
	return component{Type: "library", Ref: purl, Name: m.Path, Version: m.Version, PURL: purl}
}
