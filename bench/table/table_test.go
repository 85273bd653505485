package table

import (
	"testing"
)

// What was inserted is found, what was removed is not, and neither changes the rest.
func TestTheBedHasWhatItSays(t *testing.T) {
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			b := newBed(t, k)
			must(t, b.Insert(10_000))
			must(t, b.Remove(1000))
			must(t, b.Find(64_000, 64))
			must(t, b.Find(1000, 1))
			if s := b.Stats(); s.Conns != 9000 || b.Sweep() < 9000 {
				t.Errorf("%+v, want 9000 sessions", s)
			}
			if each := b.BytesEach(); each < 64 || each > 400 {
				t.Errorf("%.0f bytes for each session", each)
			}
			b.count++ // one that is not there
			missed := false
			for range 3000 {
				missed = missed || b.Find(64, 64) != nil
			}
			if !missed {
				t.Error("a session that is not there was always found")
			}
		})
	}
}

func TestGrowTimesEveryInsert(t *testing.T) {
	took, err := Grow(Kinds[0], 5000)
	if err != nil || len(took) != 5000 || took[4999] <= 0 {
		t.Errorf("%d times, %v", len(took), err)
	}
}

func newBed(tb testing.TB, k Kind) *Bed {
	tb.Helper()
	b, err := New(k, 10)
	must(tb, err)
	tb.Cleanup(func() { must(tb, b.Close()) })
	return b
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
