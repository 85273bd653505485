package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ulvs/doctor"
)

// callDoctor runs ulvs doctor without a running ulvs.
func callDoctor(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	a := &app{out: &o, errOut: &e}
	args = append([]string{"doctor", "--socket", filepath.Join(t.TempDir(), "none.sock")}, args...)
	return a.main(context.Background(), args), o.String(), e.String()
}

func TestADoctorThatCannotExamineEndsWithTwo(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("[node]\nnode = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"no such file", []string{filepath.Join(t.TempDir(), "none.toml")}},
		{"node.node: unknown key", []string{bad}},
		{"no finding has the code", []string{"--explain", "UD999"}},
	} {
		if code, out, errOut := callDoctor(t, c.args...); code != exitUsage || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit %d, %q, %q, want 2 and %q", c.args, code, out, errOut, c.want)
		}
	}
	if code, out, _ := callDoctor(t, "--explain", "UD203"); code != exitOK || !strings.Contains(out, "VIP is missing") {
		t.Errorf("--explain: exit %d, %q", code, out)
	}
}

func TestFindingsAreWrittenWithTheirRemedy(t *testing.T) {
	var out bytes.Buffer
	printDoctor(&out, &doctor.Report{
		Findings: []doctor.Finding{
			{Code: "UD202", Severity: doctor.Error, Subject: "192.0.2.16", What: "seen", Remedy: "do"},
		},
		Unknown: []string{"packet filter: no permission"}, Probes: make([]doctor.Probe, 14),
	})
	want := "\nUD202 error    192.0.2.16: a real server does not answer ARP\n  seen\n  -> do\n\nnot examined:\n" +
		"  packet filter: no permission\n\n1 finding by 14 probes; ulvs does not run\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
