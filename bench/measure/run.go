package measure

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Run collects a result while the benchmark runs, and shows how far it is.
type Run struct {
	Result   Result
	Rounds   int           // samples of each case
	Sample   time.Duration // aim of each sample
	Threads  bool          // fn uses several: CPU time is the whole process's
	progress io.Writer     // nil: nobody looks
	width    int
	done     int
	total    int
	noise    func() Noise
}

// Options of a run.
type Options struct {
	Bench    string
	Version  string
	Rounds   int           // 0: 5
	Sample   time.Duration // 0: 100 ms
	Cases    int           // how many there will be, for the progress
	Progress io.Writer     // a terminal's standard error, or nil
}

// Start begins a run.
func Start(o Options) *Run {
	r := &Run{Rounds: o.Rounds, Sample: o.Sample, progress: o.Progress, total: o.Cases, noise: watch()}
	if r.Rounds == 0 {
		r.Rounds = 5
	}
	if r.Sample == 0 {
		r.Sample = 100 * time.Millisecond
	}
	r.Result = Result{
		Bench: o.Bench, Version: o.Version, Time: time.Now().UTC().Truncate(time.Second), Machine: ThisMachine(),
		Settings: map[string]string{"rounds": fmt.Sprint(r.Rounds), "sample": r.Sample.String()},
	}
	return r
}

// Terminal returns f if it is one, else nil: progress is for people.
func Terminal(f *os.File) io.Writer {
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return nil
	}
	return f
}

// Say shows what is being done now.
func (r *Run) Say(format string, args ...any) {
	if r.progress == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if r.total > 0 {
		text = fmt.Sprintf("[%d/%d] %s", min(r.done+1, r.total), r.total, text)
	}
	_, _ = fmt.Fprintf(r.progress, "\r%s%s", text, strings.Repeat(" ", max(r.width-len(text), 0)))
	r.width = len(text)
}

// Add keeps a finished row.
func (r *Run) Add(row Row) {
	r.Result.Rows = append(r.Result.Rows, row)
	r.done++
}

// Note keeps what a reader of the figures has to know.
func (r *Run) Note(format string, args ...any) {
	r.Result.Notes = append(r.Result.Notes, fmt.Sprintf(format, args...))
}

// Finish ends the run and returns its result.
func (r *Run) Finish() *Result {
	r.Result.Noise = r.noise()
	if r.progress != nil {
		_, _ = fmt.Fprintf(r.progress, "\r%s\r", strings.Repeat(" ", r.width))
	}
	return &r.Result
}

// Timed is what one sample took, per operation.
type Timed struct {
	Ops  int
	Wall float64 // ns/op
	CPU  float64 // ns/op, of the thread: user and system
}

// Time runs fn with n operations on a thread of its own.
func Time(n int, fn func(n int) error) (t Timed, err error) {
	return timed(n, unix.CLOCK_THREAD_CPUTIME_ID, fn)
}

func timed(n int, clock int32, fn func(n int) error) (t Timed, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu, begin := cpuClock(clock), time.Now()
	err = fn(n)
	wall := time.Since(begin)
	return Timed{n, float64(wall.Nanoseconds()) / float64(n), (cpuClock(clock) - cpu) * 1e9 / float64(n)}, err
}

// smallest is how many operations a first try has; batches of 64 divide it.
const smallest = 4096

// Samples times fn Rounds times, each about Sample long, into the metrics name (wall) and name CPU of the row.
// A first try, not kept, warms caches and finds the number of operations. between, if not nil, runs after
// each sample off the clock.
func (r *Run) Samples(row *Row, name string, fn func(n int) error, between func() error) error {
	return r.SamplesUpTo(1<<30, row, name, fn, between)
}

// SamplesUpTo is Samples with at most so many operations in each sample.
func (r *Run) SamplesUpTo(most int, row *Row, name string, fn func(n int) error, between func() error) error {
	if between == nil {
		between = func() error { return nil }
	}
	clock := int32(unix.CLOCK_THREAD_CPUTIME_ID)
	if r.Threads {
		clock = unix.CLOCK_PROCESS_CPUTIME_ID
	}
	n, err := r.operations(most, clock, fn, between)
	if err != nil {
		return err
	}
	for range r.Rounds {
		t, err := timed(n, clock, fn)
		if err == nil {
			err = between()
		}
		if err != nil {
			return err
		}
		row.Add(name, "ns", Less, t.Wall)
		row.Add(name+" cpu", "ns", Less, t.CPU)
	}
	return nil
}

// operations finds how many of them a sample has.
func (r *Run) operations(most int, clock int32, fn func(n int) error, between func() error) (n int, err error) {
	n = min(smallest, most)
	for try := 0; ; try++ {
		t, err := timed(n, clock, fn)
		if err == nil {
			err = between()
		}
		if err != nil {
			return 0, err
		}
		want := min(int(float64(r.Sample.Nanoseconds())/max(t.Wall, 0.1)), most)
		if n >= want/2 || try == 8 {
			return max(want&^63, min(64, most)), nil
		}
		n = max(min(want, 16*n)&^63, 1)
	}
}
