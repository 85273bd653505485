package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/internal/testutil"
)

func sh(script string) Command { return Command{Args: []string{"/bin/sh", "-c", script}} }

func run(t *testing.T, c Command) Outcome {
	t.Helper()
	out, err := New(1).Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheExitCodeAndTheOutputAreReported(t *testing.T) {
	c := sh("echo out $X; echo err >&2; exit 3")
	c.Env = []string{"X=42"}
	if out := run(t, c); out.Code != 3 || out.TimedOut || string(out.Output) != "out 42\nerr\n" {
		t.Errorf("got %+v, output %q", out, out.Output)
	}
}

func TestASignalIsReported(t *testing.T) {
	if out := run(t, sh("kill -SEGV $$")); out.Code != -1 || out.Signal != syscall.SIGSEGV || out.TimedOut {
		t.Errorf("got %+v", out)
	}
}

func TestACommandThatCannotStartIsAnError(t *testing.T) {
	for _, args := range [][]string{nil, {"/nonexistent"}, {"/etc/hostname"}} {
		if _, err := New(1).Run(t.Context(), Command{Args: args}); err == nil {
			t.Errorf("%q started", args)
		}
	}
}

func TestEndlessOutputIsCutAndDoesNotBlock(t *testing.T) {
	c := sh("yes | head -c 1000000; exit 7")
	c.MaxOutput = 100
	if out := run(t, c); out.Code != 7 || len(out.Output) != 100 || out.Dropped != 1000000-100 {
		t.Errorf("code %d, kept %d, dropped %d", out.Code, len(out.Output), out.Dropped)
	}
}

func TestAnEndlessCommandIsTerminated(t *testing.T) {
	c := sh("sleep 1000")
	c.Timeout = 20 * time.Millisecond
	if out := run(t, c); !out.TimedOut || out.Signal != syscall.SIGTERM {
		t.Errorf("got %+v", out)
	}
}

func TestACommandThatIgnoresSIGTERMIsKilledWithItsChildren(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	c := sh(`trap "" TERM; (trap "" TERM; while :; do sleep 0.05; done) & echo $! > ` + file + `
		while :; do sleep 0.05; done`)
	c.Grace = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan Outcome)
	go func() {
		out, _ := New(1).Run(ctx, c)
		done <- out
	}()
	pidIn(t, file) // it ignores signals by now
	cancel()
	if out := <-done; !out.TimedOut || out.Signal != syscall.SIGKILL {
		t.Errorf("got %+v", out)
	}
	awaitGone(t, file)
}

func TestWhatACommandLeavesRunningIsKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	out := run(t, sh("sleep 1000 & echo $! > "+file))
	if out.Code != 0 || out.TimedOut || out.Took > testutil.AwaitLimit {
		t.Errorf("got %+v", out)
	}
	awaitGone(t, file)
}

func TestAChildThatLeftTheGroupDoesNotHoldTheResult(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	out := run(t, sh(`setsid sh -c 'echo $$ > `+file+`; exec sleep 1000' &
		while [ ! -s `+file+` ]; do sleep 0.01; done`))
	pid := pidIn(t, file)
	defer syscall.Kill(pid, syscall.SIGKILL)
	if out.Code != 0 || out.Took > testutil.AwaitLimit {
		t.Errorf("got %+v", out)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the test proves nothing: the child is gone (%v)", err)
	}
}

func TestWhatWasSaidIsHeardHoweverLateItIsRead(t *testing.T) {
	o, w, err := listen(100)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() // held open, as by a child that left the group
	_ = o.r.SetReadDeadline(time.Unix(1, 0))
	<-o.done // who reads gave up
	if _, err := w.WriteString("words"); err != nil {
		t.Fatal(err)
	}
	if kept, dropped := o.end(); string(kept) != "words" || dropped != 0 {
		t.Errorf("kept %q, dropped %d", kept, dropped)
	}
}

func TestChildrenCanBeSpared(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	c := sh("sleep 1000 >/dev/null 2>&1 & echo $! > " + file)
	c.KeepChildren = true
	run(t, c)
	if err := syscall.Kill(pidIn(t, file), syscall.SIGKILL); err != nil {
		t.Errorf("the child is gone: %v", err)
	}
}

func TestTheEndOfTheContextEndsTheCommandAndTheQueue(t *testing.T) {
	r := New(1)
	ctx, cancel := context.WithCancel(t.Context())
	file := filepath.Join(t.TempDir(), "pid")
	done := make(chan Outcome)
	go func() {
		out, _ := r.Run(ctx, sh("echo $$ > "+file+"; exec sleep 1000"))
		done <- out
	}()
	pidIn(t, file) // it runs: the next one waits
	waiting, stop := context.WithCancel(t.Context())
	stop()
	if _, err := r.Run(waiting, sh("true")); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	cancel()
	if out := <-done; !out.TimedOut || out.Signal != syscall.SIGTERM {
		t.Errorf("got %+v", out)
	}
}

func pidIn(t *testing.T, file string) (pid int) {
	t.Helper()
	testutil.Await(t, "a pid in "+file, func() bool {
		text, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	return pid
}

// awaitGone waits until the process whose number is in file is gone, or a zombie that waits for init.
func awaitGone(t *testing.T, file string) {
	t.Helper()
	pid := pidIn(t, file)
	testutil.Await(t, "the end of the child", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestACommandLineIsSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                            nil,
		"  ":                          nil,
		"/bin/x":                      {"/bin/x"},
		" /bin/x  a\tb\n":             {"/bin/x", "a", "b"},
		`/bin/x "a b" 'c "d'`:         {"/bin/x", "a b", `c "d`},
		`/bin/x a\ b '' "" 'x\'`:      {"/bin/x", "a b", "", "", `x\`},
		`/bin/x "a\"b"c`:              {"/bin/x", `a"bc`},
		`"/a b" $HOME | ; > & ` + "`": {"/a b", "$HOME", "|", ";", ">", "&", "`"},
	} {
		if got, err := Split(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`"a`, `'a`, `a\`, `a "b' c`} {
		if got, err := Split(line); err == nil {
			t.Errorf("%q: got %q", line, got)
		}
	}
}
