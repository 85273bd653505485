package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ulvs/bench/measure"
	"ulvs/internal/testutil"
	"ulvs/test/lab/labtest"
)

var binary string

func TestMain(m *testing.M) { os.Exit(labtest.Run(m, &binary)) }

// The race has a row for everybody, with every metric, and fails when somebody did not carry its traffic. Who is
// faster is no matter of tests.
func TestARaceHasASampleOfEverything(t *testing.T) {
	if os.Geteuid() != 0 {
		testutil.Require(t, testutil.NeedNetNS, "a lab needs root")
	}
	if _, err := exec.LookPath("iperf3"); err != nil {
		t.Skip("no iperf3 on this machine: apt-get install iperf3")
	}
	run := measure.Start(measure.Options{Bench: "versus"})
	o := options{binary: binary, rounds: 1, quick: true, only: "ulvs nat", slice: 100 * time.Millisecond}
	if err := hold(t.Context(), run, o); err != nil {
		t.Fatal(err)
	}
	r := run.Finish()
	if len(r.Rows) != 2 {
		t.Fatalf("%d rows, want kernel forwarding and ulvs's NAT", len(r.Rows))
	}
	for i := range r.Rows {
		for _, name := range []string{newConns, requests, "p99.9", udpRate, bulkRate, "cpu/conn", "idle"} {
			m := r.Rows[i].Metric(name)
			busy := name == udpRate || name == "cpu/conn" // may be 0: every rate lost some, or a slice ended within a tick
			if m == nil || m.Median() <= 0 && !busy {
				t.Errorf("%s has no %s", r.Rows[i].Name(), name)
			}
		}
	}
	folder := t.TempDir()
	if err := keep(r, ratios(r), folder); err != nil {
		t.Fatal(err)
	}
	if back, err := measure.Read(filepath.Join(folder, "versus.json")); err != nil || len(back.Rows) != len(r.Rows) {
		t.Errorf("the result is not read back: %v", err)
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	r := &measure.Result{Rows: make([]measure.Row, 2)}
	for i := range 3 {
		r.Rows[0].Add(newConns, "/s", measure.More, float64(10*(i+1)))
		r.Rows[1].Add(newConns, "/s", measure.More, float64(20*(i+1)))
		r.Rows[1].Add("director RSS", "B/conn", measure.Less, 5)
	}
	got := ratios(r)
	if m := got.Rows[1].Metric(newConns); m == nil || m.Spread() != 0 || m.Median() != 2 {
		t.Errorf("got %+v, want 2 in each round", m)
	}
	var b bytes.Buffer
	got.PrintTable(&b)
	if strings.Contains(b.String(), "RSS") {
		t.Errorf("bytes became a ratio:\n%s", &b)
	}
}
