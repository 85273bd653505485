package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	recorded "ulvs/test/machine"
	"ulvs/tuning"
)

func TestThePlanOfABondIsATable(t *testing.T) {
	m := recorded.Open(t, "bond-i40e").Read()
	plan, err := tuning.MakePlan(m, tuning.Wish{Interfaces: []string{"bond0"}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	printTunePlan(&out, plan, false)
	for _, want := range []string{
		"     0      0    0                  8\n",
		"eno2  bond0  i40e       0       8  zero-copy\n",
		"eno1    interrupts (8)               several        each its worker's  change       frames arrive in the cache",
		"CPUs    governor (16)                schedutil      performance        change",
		"ulvs    memlock                      8388608        unlimited          by ulvs run",
		"settings change with: ulvs tune apply\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

// tune runs ulvs tune with a journal of its own and without a running ulvs.
func tune(t *testing.T, journal string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	a := &app{out: &o, errOut: &e}
	args = append([]string{"tune", "--socket", filepath.Join(t.TempDir(), "none.sock"), "--journal", journal}, args...)
	return a.main(context.Background(), args), o.String(), e.String()
}

func TestUndoOfAMachineThatIsNotTunedIsHarmless(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "tuning.json")
	for _, verb := range []string{"undo", "undo", "status"} {
		if code, out, errOut := tune(t, journal, verb); code != exitOK || !strings.Contains(out, "not tuned") {
			t.Errorf("%s: exit %d, %q, %q", verb, code, out, errOut)
		}
	}
	if _, err := os.Stat(journal); err == nil {
		t.Error("undo made a journal")
	}
}

func TestWrongWishesOfTuneAreExplained(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "tuning.json")
	for _, c := range []struct {
		want string
		args []string
	}{
		{`no interface "ulvs-none" on this machine`, []string{"plan", "-i", "ulvs-none"}},
		{`no interface "ulvs-none" on this machine`, []string{"apply", "-i", "ulvs-none"}},
		{"no such file", []string{"plan", filepath.Join(t.TempDir(), "none.toml")}},
	} {
		if code, out, errOut := tune(t, journal, c.args...); code != exitFailed || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit %d, %q, %q, want %q", c.args, code, out, errOut, c.want)
		}
	}
	if err := os.WriteFile(journal, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := tune(t, journal, "undo"); code != exitFailed || !strings.Contains(errOut, "is damaged") {
		t.Errorf("a damaged journal: exit %d, %q", code, errOut)
	}
}
