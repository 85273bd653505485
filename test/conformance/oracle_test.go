package conformance

import (
	"archive/zip"
	"testing"
)

// TestWhatTheOracleAnsweredIsReproduced plays the recordings that we made ourselves (see record/README.md):
// what the handed-out ones do not touch.
func TestWhatTheOracleAnsweredIsReproduced(t *testing.T) {
	folder, err := zip.OpenReader("testdata/oracle.zip")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	names, err := Names(folder)
	if err != nil || len(names) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for i, file := range names {
		s, err := Load(folder, file)
		if err != nil {
			t.Fatal(err)
		}
		workers := 1 + i%2 // each of them both ways takes long: most of it is shells
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			replays(t, s, workers)
		})
	}
}
