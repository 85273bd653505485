package main

import (
	"bytes"
	"strings"
	"testing"
)

func run(t *testing.T, lines ...string) (*report, string) {
	t.Helper()
	var out bytes.Buffer
	r := &report{out: &out, pkgs: map[string]*counts{}, outputs: map[string][]string{}, skips: map[string]int{}}
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
