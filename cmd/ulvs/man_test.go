package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEachCommandHasAManualPageAndCompletion(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	dir := filepath.Join(t.TempDir(), "man")
	if code, _, errOut := command(t, "man", dir); code != exitOK {
		t.Fatal(errOut)
	}
	a := &app{}
	pages := 0
	var each func(cmd *cobra.Command, name string)
	each = func(cmd *cobra.Command, name string) {
		if cmd.Hidden { // and so are those below
			return
		}
		if cmd.IsAvailableCommand() || !cmd.HasParent() {
			pages++
			text, err := os.ReadFile(filepath.Join(dir, name+".8"))
			if err != nil {
				t.Errorf("%s has no page", cmd.CommandPath())
			} else if s := string(text); !strings.Contains(s, "2023") || !strings.Contains(s, strings.Fields(cmd.Short)[0]) {
				t.Errorf("%s: the page has not its date, or not its words:\n%.300s", cmd.CommandPath(), s)
			}
		}
		for _, sub := range cmd.Commands() {
			each(sub, name+"-"+sub.Name())
		}
	}
	each(a.root(), "ulvs")
	if pages < 25 {
		t.Errorf("only %d commands", pages)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, errOut := command(t, "completion", shell); code != exitOK || !strings.Contains(out, "ulvs") {
			t.Errorf("completion for %s: %s", shell, errOut)
		}
	}
}
