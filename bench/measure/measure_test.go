package measure

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// someResult has two lines of three sizes, and a metric that not all rows have.
func someResult(factor float64) *Result {
	r := &Result{Bench: "pipeline", Version: "v1", Plot: Plot{X: "sessions", Metric: "packet"}, Notes: []string{"a note"}}
	for _, method := range []string{"dr", "nat"} {
		for i, n := range []int{1, 64 << 10, 10 << 20} {
			row := Row{Case: Case("method", method, "sessions", Count(n))}
			for k := range 6 {
				row.Add("packet", "ns", Less, factor*float64(40+10*i)+float64(k)/10)
			}
			if i == 2 {
				row.Add("rate", "/s", More, 1e6/factor)
			}
			r.Rows = append(r.Rows, row)
		}
	}
	return r
}

func TestTheTableIsAligned(t *testing.T) {
	var b bytes.Buffer
	someResult(1).Print(&b)
	_, table, _ := strings.Cut(b.String(), "\n\n")
	want := `method  sessions    packet ns       rate /s
dr      1         40.2 ± 1%          -
dr      64Ki      50.2               -
dr      10Mi      60.2         1 000 000
`
	if !strings.Contains(strings.Join(strings.Fields(table), " "), strings.Join(strings.Fields(want), " ")) {
		t.Errorf("got:\n%s", table)
	}
	if !strings.Contains(table, "a note") {
		t.Error("the note is missing")
	}
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.1234: "0.123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234.4: "1 234", 1234567: "1 234 567",
		-1234: "-1 234", 999.6: "1000",
	} {
		if got := Format(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestCompareFindsWhatChangedAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		factor  float64
		verdict string
		worse   float64
	}{{1, "~", 0}, {1.5, "worse", 0.5}, {0.5, "better", -0.5}} {
		list := Compare(someResult(1), someResult(c.factor))
		if len(list) != 8 {
			t.Fatalf("%d changes, want 6 of packet and 2 of rate", len(list))
		}
		first := list[0]
		if (c.verdict != "~") != first.Significant || first.Worse()-c.worse > 0.01 || first.Worse()-c.worse < -0.01 {
			t.Errorf("factor %v: %+v, worse by %v", c.factor, first, first.Worse())
		}
		for _, one := range list {
			if one.Metric == "rate" && one.Significant {
				t.Error("one sample each was called significant")
			}
		}
		var b bytes.Buffer
		PrintChanges(&b, list)
		if !strings.Contains(b.String(), c.verdict) {
			t.Errorf("factor %v: no %q in\n%s", c.factor, c.verdict, &b)
		}
	}
}

func TestMoreOfWhatShouldBeMoreIsBetter(t *testing.T) {
	c := Change{Ratio: 2, Better: More}
	if c.Worse() >= 0 {
		t.Errorf("twice the rate is worse by %v", c.Worse())
	}
}

func TestPlotsAreXMLWithEveryLine(t *testing.T) {
	for _, plot := range []Plot{{X: "sessions", Metric: "packet"}, {Metric: "packet"}, {Metric: "nothing"}} {
		r := someResult(1)
		r.Plot = plot
		r.Rows[0].Case[0].Value = "<dr>"
		var b bytes.Buffer
		r.SVG(&b)
		d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, &b)
			}
		}
		if plot.X != "" && (strings.Count(b.String(), "<polyline") != 3 || !strings.Contains(b.String(), "&lt;dr&gt;")) {
			t.Errorf("want three lines (dr twice, for its odd name, and nat):\n%s", &b)
		}
	}
}

func TestResultsAreReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	text, err := json.Marshal(someResult(1))
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Read(file); err != nil || len(r.Rows) != 6 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, wrong := range []string{"", "{}", "[1]", "text"} {
		if err := os.WriteFile(file, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), "no result") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestSamplesTimeWhatTheyRun(t *testing.T) {
	run := Start(Options{Bench: "x", Rounds: 3, Sample: time.Millisecond, Cases: 1})
	var row Row
	ran, between := 0, 0
	err := run.Samples(&row, "op", func(n int) error { ran += n; return nil }, func() error { between++; return nil })
	if err != nil || ran == 0 || between < 4 || len(row.Metric("op").Samples) != 3 || row.Metric("op cpu") == nil {
		t.Errorf("%d operations, %d times between, %+v, %v", ran, between, row, err)
	}
	boom := errors.New("boom")
	if err := run.Samples(&row, "op", func(int) error { return boom }, nil); !errors.Is(err, boom) {
		t.Errorf("got %v, want what the operation returned", err)
	}
	run.Add(row)
	if r := run.Finish(); len(r.Rows) != 1 || r.Machine.Cores < 1 || r.Machine.Kernel == "" {
		t.Errorf("%+v", r)
	}
}

func TestTheMachinesCPUTime(t *testing.T) {
	got := parseStat("cpu  100 200 300 400 500 600 700 800 0 0\ncpu0 1 1 1 1\n")
	if want := (CPU{Busy: 19, SoftIRQ: 7, Stolen: 8}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if MachineCPU().Busy == 0 {
		t.Error("this machine has never been busy")
	}
}

func TestProcessesAreReadWhateverTheirName(t *testing.T) {
	text := "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 100 200 300 400 20 0 1"
	if p, ok := parseProcess(text); !ok || p != (process{42, 7, 10}) {
		t.Errorf("%+v, %v", p, ok)
	}
	for _, wrong := range []string{"", "1 (x", "1 (x) S 1"} {
		if _, ok := parseProcess(wrong); ok {
			t.Errorf("%q is taken", wrong)
		}
	}
	if foreign() <= 0 || Work() <= 0 {
		t.Errorf("foreign processes used %v s, the rest %v s", foreign(), Work())
	}
}

// FuzzResult: no file makes a table, a plot or a comparison panic.
func FuzzResult(f *testing.F) {
	text, _ := json.Marshal(someResult(1))
	f.Add(text)
	f.Add([]byte(`{"bench":"x","plot":{"x":"a","metric":"m"},"rows":[{"case":[{"name":"a","value":"-1"}],` +
		`"metrics":[{"name":"m","samples":[-1,0,1e308]}]}]}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		r := &Result{}
		if json.Unmarshal(text, r) != nil {
			return
		}
		r.Print(io.Discard)
		r.SVG(io.Discard)
		PrintChanges(io.Discard, Compare(r, r))
	})
}
