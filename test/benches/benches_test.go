package benches

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"ulvs/bench/frames"
	"ulvs/bench/load"
	"ulvs/bench/measure"
	"ulvs/bench/standby"
	"ulvs/bench/takeover"
	"ulvs/bench/tcp"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab/labtest"
)

// binary is the ulvs under test, built by TestMain.
var binary string

func TestMain(m *testing.M) { labtest.Main(m, &binary) }

func needLab(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		testutil.Require(t, testutil.NeedNetNS, "a lab needs root")
	}
}

// measured runs a benchmark once and wants a row for each case, and all those metrics above 0 in each.
func measured(t *testing.T, rows int, fn func(context.Context, *measure.Run) error, metrics ...string) {
	t.Helper()
	run := measure.Start(measure.Options{Bench: t.Name(), Rounds: 1})
	if err := fn(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	r := run.Finish()
	if len(r.Rows) != rows {
		t.Fatalf("%d rows, want %d", len(r.Rows), rows)
	}
	for i := range r.Rows {
		for _, name := range metrics {
			if m := r.Rows[i].Metric(name); m == nil || m.Median() <= 0 {
				t.Errorf("%s has no %s", r.Rows[i].Name(), name)
			}
		}
	}
}

func TestTCPInALab(t *testing.T) {
	needLab(t)
	p := tcp.Plan{
		Binary: binary, Connections: 8, Methods: []lvs.Method{lvs.MethodTUN}, IO: []string{"afxdp"},
		Sample: 200 * time.Millisecond,
	}
	measured(t, p.Cases(), func(ctx context.Context, run *measure.Run) error { return tcp.Measure(ctx, run, p) },
		"connections", "requests", "p50", "p99.9")
}

func TestTCPToAnAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close()
	s, err := load.Listen(at.Port())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	defer func() { cancel(); <-done; s.Close() }()
	p := tcp.Short()
	p.Targets, p.Sample = []netip.AddrPort{at}, 100*time.Millisecond
	measured(t, 1, func(ctx context.Context, run *measure.Run) error { return tcp.Measure(ctx, run, p) },
		"connections", "requests", "p50", "p99.9")
}

func TestFramesInALab(t *testing.T) {
	needLab(t)
	p := frames.Plan{
		Binary: binary, Methods: []lvs.Method{lvs.MethodNAT, lvs.MethodTUN}, IO: []string{"afxdp"}, Sizes: []int{60, 1400},
		Flows: 64, Sample: 100 * time.Millisecond, Steps: 1,
	}
	measured(t, p.Cases(), func(ctx context.Context, run *measure.Run) error { return frames.Measure(ctx, run, p) },
		"offered", "through")
}

func TestATakeover(t *testing.T) {
	needLab(t)
	p := takeover.Short()
	p.Binary, p.Connections = binary, 10
	measured(t, p.Cases(), func(ctx context.Context, run *measure.Run) error { return takeover.Measure(ctx, run, p) },
		"gap")
}

func TestSessionsReachASecondDirector(t *testing.T) {
	p := standby.Plan{
		Sessions: 20_000, Rates: []int{20_000}, Duration: 300 * time.Millisecond,
		Command: []string{binary, "bench", "load", "standby"},
	}
	measured(t, p.Cases(), func(ctx context.Context, run *measure.Run) error { return standby.Measure(ctx, run, p) },
		"receive")
}
