package differential

import (
	"errors"
	"strconv"
	"testing"

	"ulvs/internal/testutil"
)

// TestThePipelineDoesWhatTheModelDoes plays episodes of random steps with 1, 2 and 3 workers.
func TestThePipelineDoesWhatTheModelDoes(t *testing.T) {
	episodes, length := 24, 4000
	if testutil.RaceEnabled || testing.Short() {
		episodes, length = 3, 1500
	}
	seed := testutil.Seed(t)
	for n := range episodes {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			e := NewEpisode(seed<<32+uint64(n), 1+n%3, length)
			_, err := e.Run()
			var d *Difference
			if errors.As(err, &d) {
				err = d.Shrink()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEveryFaultIsNoticed makes the model wrong in one place at a time. A run that does not notice would not notice
// the pipeline doing that either.
func TestEveryFaultIsNoticed(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for n := range uint64(6) {
				e := NewEpisode(n, 1, 4000)
				e.fault = f
				_, err := e.Run()
				var d *Difference
				if errors.As(err, &d) {
					t.Logf("noticed after %d steps", int(n)*4000+d.At+1)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			t.Error("not noticed in 24000 steps")
		})
	}
}

// TestAFailureIsShrunkAndCanBePlayedAgain: what is left of a failure is short, and fails by itself.
func TestAFailureIsShrunkAndCanBePlayedAgain(t *testing.T) {
	e := NewEpisode(1, 1, 3000)
	e.fault = faults[0]
	_, err := e.Run()
	var d *Difference
	if !errors.As(err, &d) {
		t.Fatalf("no difference: %v", err)
	}
	small := d.Shrink()
	if len(small.Steps) > 12 || len(small.Log) == 0 {
		t.Errorf("%d of %d steps are left: %v", len(small.Steps), d.At, small)
	}
	if _, err := small.Episode.Run(); !errors.As(err, &d) {
		t.Errorf("played again it does not fail: %v", err)
	}
}

// FuzzDifferential takes its steps from the fuzzer: five bytes each.
func FuzzDifferential(f *testing.F) {
	for seed := range uint64(4) {
		var b []byte
		for _, s := range NewEpisode(seed, 1, 60).Steps {
			b = append(b, s.Kind, byte(s.Seed), byte(s.Seed>>8), byte(s.Seed>>16), byte(s.Seed>>24))
		}
		f.Add(byte(seed), b)
	}
	f.Fuzz(func(t *testing.T, workers byte, b []byte) {
		e := Episode{Workers: 1 + int(workers)%3}
		for ; len(b) >= 5 && len(e.Steps) < 200; b = b[5:] {
			seed := uint32(b[1]) | uint32(b[2])<<8 | uint32(b[3])<<16 | uint32(b[4])<<24
			e.Steps = append(e.Steps, Step{b[0], seed})
		}
		if _, err := e.Run(); err != nil {
			t.Fatal(err)
		}
	})
}
