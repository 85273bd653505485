package pipeline

import (
	"fmt"
	"testing"

	"ulvs/lvs"
)

var methods = []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN}

// Every method and family forwards every frame, starts as many sessions as it is told, and forgets them.
func TestTheBedForwardsEverything(t *testing.T) {
	for _, m := range methods {
		for _, v6 := range []bool{false, true} {
			o := Options{Method: m, V6: v6, Sessions: 5000, Services: 3}
			t.Run(fmt.Sprint(m, " v6=", v6), func(t *testing.T) { lifetime(t, o) })
		}
	}
	o := Options{Workers: 2, Sessions: 1000, Servers: 10, Scheduler: "wlc"}
	t.Run("two workers", func(t *testing.T) { lifetime(t, o) })
}

func lifetime(t *testing.T, o Options) {
	b := newBed(t, o)
	for range 3 {
		before := b.Table().Conns
		if err := b.Hits(10_000); err != nil {
			t.Fatal(err)
		}
		if err := b.New(1000); err != nil {
			t.Fatal(err)
		}
		if n := b.Table().Conns - before; n != 1000*b.opts.Workers {
			t.Fatalf("%d sessions were added, want %d", n, 1000*b.opts.Workers)
		}
		if err := b.Forget(); err != nil {
			t.Fatal(err)
		}
	}
}

// Sessions stay where they are, and new ones begin, when every service changed.
func TestAReloadDisturbsNothing(t *testing.T) {
	b := newBed(t, Options{Sessions: 1000, Services: 10})
	for range 3 {
		if err := b.Reload(); err != nil {
			t.Fatal(err)
		}
		if err := b.Hits(1000); err != nil {
			t.Fatal(err)
		}
		if err := b.New(100); err != nil {
			t.Fatal(err)
		}
	}
	if g := b.workers[0].Stats().Generation(); g != b.built.Generation || g < 4 {
		t.Errorf("the worker runs generation %d of %d", g, b.built.Generation)
	}
}

func newBed(tb testing.TB, o Options) *Bed {
	tb.Helper()
	b, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Error(err)
		}
	})
	return b
}

// A frame that is not forwarded is an error, not a fast packet.
func TestALostFrameIsAnError(t *testing.T) {
	b := newBed(t, Options{Sessions: 100})
	b.workers[0].queue.request.bytes[14] = 0x46 // a header with options that are not there
	if err := b.Hits(64); err == nil {
		t.Error("64 broken frames were called forwarded")
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, o := range []Options{
		{Sessions: -1}, {Sessions: maxSessions + 1}, {Services: -1}, {Servers: maxServers + 1}, {Sessions: 1, Hot: 2},
		{Method: lvs.MethodNAT, Servers: 2}, {Scheduler: "nonsense"},
	} {
		if b, err := New(o); err == nil {
			_ = b.Close()
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestForwardingAllocatesNothing(t *testing.T) {
	b := newBed(t, Options{Sessions: 1000})
	if n := testing.AllocsPerRun(100, func() { _ = b.forward(b.workers[0], 64) }); n != 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// BenchmarkPipeline is ulvs bench pipeline for go test: a quick look while changing the data plane.
func BenchmarkPipeline(b *testing.B) {
	for _, m := range methods {
		for _, v6 := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/v6=%v", m, v6), func(b *testing.B) {
				bed := newBed(b, Options{Method: m, V6: v6, Sessions: 64 << 10})
				for b.Loop() {
					if err := bed.Hits(64); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/frame")
			})
		}
	}
}

// BenchmarkGenerator is what the frames themselves cost.
func BenchmarkGenerator(b *testing.B) {
	bed := newBed(b, Options{})
	for b.Loop() {
		_ = bed.Generate(64)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/frame")
}
