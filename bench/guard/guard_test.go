package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"ulvs/bench/measure"
)

func result(cases int, factor, wall float64) *measure.Result {
	r := &measure.Result{Bench: "guard"}
	for i := range cases {
		row := measure.Row{Case: measure.Case("case", i)}
		for k := range 24 {
			row.Add(cpuRatio, "", measure.Less, factor*(2+float64(k%5)/100))
			row.Add(wallRatio, "", measure.Less, factor*wall*(2+float64(k%7)/10))
			row.Add("it", "ns", measure.Less, factor*1000)
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

func TestTheVerdict(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, now *measure.Result
		want     string
	}{
		{"the same", result(3, 1, 1), result(3, 1, 1), ""},
		{"a little slower", result(3, 1, 1), result(3, 1.1, 1), ""},
		{"faster", result(3, 1, 1), result(3, 0.5, 1), ""},
		{"slower", result(3, 1, 1), result(3, 1.5, 1), "ratio 50 % worse"},
		{"disturbed", result(3, 1, 1), result(3, 1, 1.5), ""},
		{"it waits", result(3, 1, 1), result(3, 1, 5), "wall ratio 400 % worse"},
		{"another set of cases", result(3, 1, 1), result(2, 1, 1), "make bench-save"},
		{"nothing to compare with", result(0, 1, 1), result(2, 1, 1), "make bench-save"},
	} {
		err := judge(io.Discard, c.old, c.now, tolerate)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// Every case and every control runs, and the saved baseline has them all.
func TestEveryCaseRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a gigabyte")
	}
	now, err := measureAll(1)
	if err != nil {
		t.Fatal(err)
	}
	old, err := measure.Read(filepath.Join("..", "baseline", "guard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := judge(io.Discard, old, now, 1e9); err != nil {
		t.Error(err)
	}
}
