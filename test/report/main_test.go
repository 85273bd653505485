package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

func run(t *testing.T, lines ...string) (*report, string) {
	t.Helper()
	var out bytes.Buffer
	r := newReport(&out)
	if err := r.read(strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
	r.close()
	return r, out.String()
}

func TestCountsAndClosingLine(t *testing.T) {
	r, out := run(t,
		`{"Action":"pass","Package":"ulvs/a","Test":"TestX"}`,
		`{"Action":"output","Package":"ulvs/a","Test":"TestY","Output":"needs root\n"}`,
		`{"Action":"skip","Package":"ulvs/a","Test":"TestY"}`,
		`{"Action":"output","Package":"ulvs/a","Test":"TestZ","Output":"got 1, want 2\n"}`,
		`{"Action":"fail","Package":"ulvs/a","Test":"TestZ"}`,
		`{"Action":"fail","Package":"ulvs/a","Elapsed":1.5}`,
	)
	if r.total != (counts{1, 1, 1}) {
		t.Errorf("total = %+v", r.total)
	}
	want := []string{"got 1, want 2", "FAIL ulvs/a", "skipped 1: needs root", "1 passed, 1 failed, 1 skipped\n"}
	for _, want := range want {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
}

func TestAPackageThatDoesNotBuildIsAFailure(t *testing.T) {
	r, out := run(t,
		`{"Action":"output","Package":"ulvs/b","Output":"FAIL ulvs/b [build failed]\n"}`,
		`{"Action":"fail","Package":"ulvs/b"}`,
	)
	if r.total.failed != 1 || !strings.Contains(out, "build failed") {
		t.Errorf("total = %+v, output:\n%s", r.total, out)
	}
}

func TestOutputThatIsNoEventIsShown(t *testing.T) {
	if _, out := run(t, "# ulvs/c", "c.go:1: no"); !strings.Contains(out, "c.go:1: no") {
		t.Errorf("output:\n%s", out)
	}
}

// A print-out that is cut shows its ends: what failed is at both.
func TestALongFailureBeginsAndEndsWithItsErrors(t *testing.T) {
	lines := []string{
		`{"Action":"output","Package":"ulvs/test/report","Test":"TestZ","Output":"=== RUN   TestZ\n"}`,
		`{"Action":"output","Package":"ulvs/test/report","Test":"TestZ","Output":"    main_test.go:999: got 1\n"}`,
		`{"Action":"output","Package":"ulvs/test/report","Test":"TestZ","Output":"        want 2\n"}`,
	}
	for range 2 * shortOutput {
		lines = append(lines, `{"Action":"output","Package":"ulvs/test/report","Test":"TestZ","Output":"chatter\n"}`)
	}
	_, out := run(t, append(lines, `{"Action":"fail","Package":"ulvs/test/report","Test":"TestZ"}`,
		`{"Action":"fail","Package":"ulvs/test/report"}`)...)
	begin, _, _ := strings.Cut(out, "chatter")
	end := out[strings.LastIndex(out, "chatter"):]
	for _, part := range []string{begin, end} {
		if !strings.Contains(part, "got 1\n        want 2\n") {
			t.Errorf("no error in %q", part)
		}
	}
	if !strings.Contains(end, "  failed: ulvs/test/report TestZ: main_test.go:999: got 1\n0 passed, 1 failed") {
		t.Errorf("the end is %q", end)
	}
}

func TestLogsAreNoErrors(t *testing.T) {
	t.Log("this line is looked up below")
	text, err := os.ReadFile("main_test.go")
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), "t.Log(\"this line")
	at := strings.Count(before, "\n") + 1
	t.Chdir("../..") // where make runs it
	lines := []string{fmt.Sprintf("    main_test.go:%d: a log\n", at), "        its second line\n",
		fmt.Sprintf("    main_test.go:%d: an error\n", at+1)}
	if got := errorsOf("ulvs/test/report", lines); len(got) != 1 || got[0] != lines[2] {
		t.Errorf("got %q", got)
	}
}

func TestATestThatNeverEndedIsNamed(t *testing.T) {
	r, out := run(t,
		`{"Action":"output","Package":"ulvs/a","Test":"TestB","Output":"=== RUN   TestB\n"}`,
		`{"Action":"output","Package":"ulvs/a","Test":"TestB/slow","Output":"panic: test timed out after 1s\n"}`,
		`{"Action":"output","Package":"ulvs/a","Test":"TestB/slow","Output":"\trunning tests:\n"}`,
		`{"Action":"output","Package":"ulvs/a","Output":"FAIL ulvs/a 1.0s\n"}`,
		`{"Action":"fail","Package":"ulvs/a"}`,
	)
	want := "  failed: ulvs/a TestB, TestB/slow: panic: test timed out after 1s\n0 passed, 1 failed, 0 skipped\n"
	if r.total.failed != 1 || !strings.Contains(out, "running tests") || !strings.HasSuffix(out, want) {
		t.Errorf("total = %+v, output:\n%s", r.total, out)
	}
}

func TestASubtestSpeaksForItsParent(t *testing.T) {
	r, _ := run(t,
		`{"Action":"output","Package":"ulvs/a","Test":"TestB/x","Output":"    b_test.go:1: no\n"}`,
		`{"Action":"fail","Package":"ulvs/a","Test":"TestB/x"}`,
		`{"Action":"output","Package":"ulvs/a","Test":"TestB","Output":"--- FAIL: TestB (0.00s)\n"}`,
		`{"Action":"fail","Package":"ulvs/a","Test":"TestB"}`,
		`{"Action":"fail","Package":"ulvs/a"}`,
	)
	if len(r.failures) != 1 || r.failures[0] != "ulvs/a TestB/x: b_test.go:1: no" {
		t.Errorf("failures %q", r.failures)
	}
}
