package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The test's own binary has the toolchain; modules are in what go version -m says of one with modules.
func TestTheListIsWhatGoSaysOfTheBinary(t *testing.T) {
	binary := t.TempDir() + "/ulvs"
	if out, err := exec.Command("go", "build", "-o", binary, "ulvs/cmd/ulvs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said, err := exec.Command("go", "version", "-m", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(describe(info, "v1"))
	if err != nil {
		t.Fatal(err)
	}
	deps := 0
	for _, line := range strings.Split(string(said), "\n") {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
			deps++
			if want := `"pkg:golang/` + f[1] + "@" + f[2] + `"`; !bytes.Contains(text, []byte(want)) {
				t.Errorf("no %s", want)
			}
		}
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil || len(d.Components) != deps+1 || deps < 10 {
		t.Errorf("%d components of %d modules and the standard library: %v", len(d.Components), deps, err)
	}
	if d.Format != "CycloneDX" || d.Metadata.Component.Version != "v1" {
		t.Errorf("%+v", d.Metadata)
	}
	if _, err := buildinfo.ReadFile(os.DevNull); err == nil {
		t.Error("an empty file has build information")
	}
}
