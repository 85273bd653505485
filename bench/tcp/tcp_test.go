package tcp

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"time"

	"ulvs/bench/load"
	"ulvs/bench/measure"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab/labtest"
)

var binary string

func TestMain(m *testing.M) { os.Exit(labtest.Run(m, &binary)) }

func TestInALab(t *testing.T) {
	if os.Geteuid() != 0 {
		testutil.Require(t, testutil.NeedNetNS, "a lab needs root")
	}
	run := measure.Start(measure.Options{Bench: "tcp", Rounds: 1})
	p := Plan{
		Binary: binary, Connections: 8, Methods: []lvs.Method{lvs.MethodTUN}, IO: []string{"afxdp"},
		Sample: 200 * time.Millisecond,
	}
	if err := Measure(t.Context(), run, p); err != nil {
		t.Fatal(err)
	}
	everything(t, run.Finish(), p.Cases())
}

func TestAnAddressThatIsGiven(t *testing.T) {
	s, err := load.Listen(7007)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	defer func() { cancel(); <-done; s.Close() }()
	run := measure.Start(measure.Options{Bench: "tcp", Rounds: 1})
	p := Short()
	p.Targets, p.Sample = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7007")}, 100*time.Millisecond
	if err := Measure(t.Context(), run, p); err != nil {
		t.Fatal(err)
	}
	everything(t, run.Finish(), p.Cases())
}

func everything(t *testing.T, r *measure.Result, rows int) {
	t.Helper()
	if len(r.Rows) != rows {
		t.Fatalf("%d rows, want %d", len(r.Rows), rows)
	}
	for i := range r.Rows {
		for _, name := range []string{"connections", "requests", "p50", "p99.9"} {
			if m := r.Rows[i].Metric(name); m == nil || m.Median() <= 0 {
				t.Errorf("%s has no %s", r.Rows[i].Name(), name)
			}
		}
	}
}
