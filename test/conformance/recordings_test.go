package conformance

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"ulvs/internal/testutil"
)

// shortSteps bounds what is played under the race detector: a replay is one goroutine's, and every command
// starts a process that is slow with it.
const shortSteps = 30

// TestMain lets the test binary be started again as ipvsadm, sysctl, ip and sleep.
func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func committed(t testing.TB) fs.FS {
	t.Helper()
	folder, err := Committed()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// every calls fn with each committed scenario.
func every(t testing.TB, fn func(s *Scenario)) {
	t.Helper()
	folder := committed(t)
	names, err := Names(folder)
	if err != nil || len(names) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, file := range names {
		s, err := Load(folder, file)
		if err != nil {
			t.Fatal(err)
		}
		fn(s)
	}
}

func TestEveryRecordingIsReproducedByOneWorkerAndByTwo(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("workers=%d", workers), func(t *testing.T) {
			every(t, func(s *Scenario) {
				if testutil.RaceEnabled && len(s.Steps) > shortSteps {
					return
				}
				t.Run(s.Name, func(t *testing.T) {
					t.Parallel()
					replays(t, s, workers)
				})
			})
		})
	}
}

func replays(t *testing.T, s *Scenario, workers int) {
	var log strings.Builder
	r, err := Play(s, Options{Workers: workers, Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed > 0 {
		t.Errorf("%d of %d steps differ from the kernel's:\n%s", r.Failed, r.Steps, log.String())
	}
	if r.Steps != len(s.Steps) {
		t.Errorf("%d steps played, the recording has %d", r.Steps, len(s.Steps))
	}
}

func TestAFrameThatTheDirectorWouldNotSendFailsTheStep(t *testing.T) {
	s := scenario(t, "fwd_dr")
	changed := 0
	for i := range s.Steps {
		if out := s.Steps[i].Out; len(out) > 0 && out[0].If == "s0" {
			out[0].Hex[len(out[0].Hex)-1] ^= 1
			changed++
		}
	}
	before := play(t, scenario(t, "fwd_dr")).Failed
	if after := play(t, s).Failed; after < changed || after < before {
		t.Errorf("%d of %d falsified steps were noticed (%d fail as they were recorded)", after, changed, before)
	}
}

func TestATextThatIsNotPrintedFailsTheStep(t *testing.T) {
	text, rc := "something else\n", 7
	s := &Scenario{Name: "texts", Steps: []Step{
		{Cmd: "echo something else", Text: &text},
		{Cmd: "exit 7", RC: &rc},
		{Cmd: "echo something", Text: &text},
		{Cmd: "exit 6", RC: &rc},
	}}
	if r := play(t, s); r.Failed != 2 {
		t.Errorf("%d steps failed, want the last 2", r.Failed)
	}
}

func TestAFolderIsPlayedWholeAndSummedUpInTheLastLine(t *testing.T) {
	var log strings.Builder
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("index.json", `{"scenarios": [{"name": "good"}, {"name": "missing"}]}`)
	write("good.json", `{"name": "good", "steps": [{"cmd": "true"}]}`)
	write("bad.json", `{"name": "bad", "steps": [{"cmd": "echo x", "text": "y\n", "rc": 0}]}`)
	write("notes.json", `["no scenario"]`)
	write("broken.json", `{"steps": [{"in": {"if": "c0", "hex": "0"}}]}`)
	folder, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	passed, failed, err := PlayAll(folder, Options{Log: &log})
	if err != nil || passed != 1 || failed != 3 {
		t.Errorf("%d passed, %d failed, %v: want 1 and 3\n%s", passed, failed, err, log.String())
	}
	if !strings.HasSuffix(log.String(), "\nconformance: 1 passed, 3 failed\n") {
		t.Errorf("the last line is not the sum:\n%s", log.String())
	}
}

func scenario(t *testing.T, name string) *Scenario {
	t.Helper()
	s, err := Load(committed(t), name+".json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func play(t *testing.T, s *Scenario) Outcome {
	t.Helper()
	var log strings.Builder
	r, err := Play(s, Options{Log: &log})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	return r
}
