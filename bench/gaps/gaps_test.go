package gaps

import (
	"strings"
	"testing"
	"time"

	"ulvs/bench/measure"
)

func TestQuantilesAreExactToSixPercent(t *testing.T) {
	var h Histogram
	for i := range 100_000 {
		h.Add(time.Duration(i+1) * time.Microsecond)
	}
	for _, share := range []float64{0.5, 0.99, 0.999} {
		got, want := float64(h.Quantile(share)), share*100_000*1000
		if got > want || got < want*0.94 {
			t.Errorf("quantile %v is %v, want %v", share, got, want)
		}
	}
	if over := h.Over(50 * time.Millisecond); over < 0.47 || over > 0.53 {
		t.Errorf("%v is over half of all", over)
	}
	if h.most != 100*time.Millisecond {
		t.Errorf("the longest is %v", h.most)
	}
}

func TestEveryScenarioRuns(t *testing.T) {
	p := Plan{Services: 100, Rate: 10_000, Sessions: 1000, Duration: 100 * time.Millisecond}
	run := measure.Start(measure.Options{Bench: "gaps", Rounds: 1})
	err := Measure(t.Context(), run, p)
	for range 5 { // on a busy machine a tenth of a second may pass with nothing done
		if err == nil || !strings.Contains(err.Error(), "nothing disturbed it") {
			break
		}
		p.Duration *= 2
		run = measure.Start(measure.Options{Bench: "gaps", Rounds: 1})
		err = Measure(t.Context(), run, p)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := run.Finish()
	for i := range r.Rows {
		if m := r.Rows[i].Metric("max"); m == nil || m.Median() <= 0 {
			t.Errorf("%s has no longest turn", r.Rows[i].Name())
		}
	}
	if len(r.Rows) != 6 {
		t.Errorf("%d rows, want 6", len(r.Rows))
	}
}
