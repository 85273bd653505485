package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every benchmark says how it is called, and what else it needs.
func TestBenchHelp(t *testing.T) {
	code, out, _ := command(t, "bench")
	if code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	for _, cmd := range (&app{}).benchCommand().Commands() {
		said := strings.Contains(out, cmd.Name()) && strings.Contains(cmd.Example, "ulvs bench "+cmd.Name())
		if !cmd.Hidden && (!said || cmd.Short == "") {
			t.Errorf("bench %s is not in the help, or has no example", cmd.Name())
		}
	}
}

// A result that was kept can be shown, drawn and compared with itself.
func TestBenchResultsAreKeptAndCompared(t *testing.T) {
	dir := t.TempDir()
	kept, plot := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.svg")
	code, out, errOut := command(t, "bench", "sched", "--sample", "1us", "--rounds", "5", "-o", kept)
	if code != exitOK || !strings.Contains(out, "wlc") {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	code, out, errOut = command(t, "bench", "show", kept, "--plot", plot)
	if code != exitOK || !strings.Contains(out, "wlc") {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	if svg, err := os.ReadFile(plot); err != nil || !strings.Contains(string(svg), "</svg>") {
		t.Errorf("no plot: %v", err)
	}
	code, out, errOut = command(t, "bench", "compare", kept, kept)
	if code != exitOK || !strings.Contains(out, "~") || strings.Contains(out, "worse") {
		t.Errorf("exit code %d, a result differs from itself: %s%s", code, out, errOut)
	}
	code, _, errOut = command(t, "bench", "compare", kept, plot)
	if code != exitFailed || !strings.Contains(errOut, "r.svg") {
		t.Errorf("exit code %d for a file that is no result: %s", code, errOut)
	}
}
