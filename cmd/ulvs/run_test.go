package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ulvs/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ulvs.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const wrongFile = `[node]
interfaces = ["lo"]
frames = 1
[[service]]
vip = "192.0.2.10:80"
scheduler = "wlcc"
`

func TestCheckShowsWhatWouldRun(t *testing.T) {
	example := strings.Replace(config.Example(), `# name = "ulvs"`, `name = "lvs1"`, 1)
	path := write(t, example)
	for _, c := range []struct{ golden, flag string }{{"check", "--offline"}, {"check-json", "--json"}} {
		code, out, errOut := command(t, "check", path, "--offline", c.flag)
		if code != exitOK || errOut != "" {
			t.Fatalf("exit %d, %s", code, errOut)
		}
		golden(t, c.golden, strings.ReplaceAll(out, path, "FILE"))
	}
}

func TestAWrongFileIsRefusedWithEveryError(t *testing.T) {
	path := write(t, wrongFile)
	want := `ulvs: 2 errors, nothing was started or changed
FILE:3: node.frames: 1 is out of range; give 1024 to 1048576
FILE:6: service[0].scheduler: unknown scheduler "wlcc"; did you mean wlc?
`
	for _, name := range []string{"check", "run"} {
		code, out, errOut := command(t, name, path)
		if got := strings.ReplaceAll(errOut, path, "FILE"); code != exitFailed || got != want || out != "" {
			t.Errorf("%s: exit %d\n got: %s%s\nwant: %s", name, code, out, got, want)
		}
	}
	code, out, _ := command(t, "check", path, "--json")
	if code != exitFailed {
		t.Errorf("check --json: exit %d", code)
	}
	golden(t, "check-wrong-json", strings.ReplaceAll(out, path, "FILE"))
}

func TestAnInterfaceThatDoesNotExistIsRefused(t *testing.T) {
	path := write(t, "[node]\ninterfaces = [\"nosuchnic\"]\n")
	code, _, errOut := command(t, "check", path)
	if code != exitFailed || !strings.Contains(errOut, `no interface "nosuchnic" on this machine; it has `) {
		t.Errorf("exit %d, %s", code, errOut)
	}
	if code, _, errOut = command(t, "check", "--offline", path); code != exitOK {
		t.Errorf("offline: exit %d, %s", code, errOut)
	}
}

func TestRunHandsTheDirectorWhatItNeeds(t *testing.T) {
	path := write(t, "[node]\nname = \"lvs1\"\ninterfaces = [\"lo\"]\n")
	var got runOptions
	var errOut bytes.Buffer
	a := &app{out: &errOut, errOut: &errOut, run: func(_ context.Context, opt runOptions) error {
		got = opt
		opt.Log.Info("hello", "vip", "192.0.2.1")
		return errors.New("no such queue")
	}}
	if code := a.main(t.Context(), []string{"run", path, "--log-json"}); code != exitFailed {
		t.Errorf("exit %d, want %d", code, exitFailed)
	}
	if got.Config == nil || got.Config.Node.Name != "lvs1" || got.ConfigPath != path || got.Version == "" {
		t.Errorf("got %+v", got)
	}
	if s := errOut.String(); !strings.Contains(s, `"msg":"hello","vip":"192.0.2.1"`) ||
		!strings.HasSuffix(s, "ulvs: no such queue\n") {
		t.Errorf("standard error: %s", s)
	}
}

func TestTheFirstSignalDrainsAndTheSecondEndsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	signals, exits, ended := make(chan os.Signal), make(chan int, 1), make(chan struct{})
	go func() {
		defer close(ended)
		act := signalActions{cancel: cancel, exit: func(code int) { exits <- code }, log: slog.New(slog.DiscardHandler)}
		runSignals(ctx, signals, act)
	}()
	signals <- syscall.SIGHUP
	signals <- syscall.SIGTERM // taken only after SIGHUP was dealt with
	<-ctx.Done()
	signals <- syscall.SIGINT
	if code := <-exits; code != exitFailed {
		t.Errorf("exit %d, want %d", code, exitFailed)
	}
	<-ended
}

func TestSIGTERMEndsRunCleanly(t *testing.T) {
	path := write(t, "[node]\ninterfaces = [\"lo\"]\n")
	var errOut bytes.Buffer
	a := &app{out: &errOut, errOut: &errOut, run: func(ctx context.Context, _ runOptions) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}}
	if code := a.main(t.Context(), []string{"run", path, "--log-level", "error"}); code != exitOK {
		t.Errorf("exit %d, want %d: %s", code, exitOK, errOut.String())
	}
}

func TestSIGHUPReloadsAndDoesNotEndTheDirector(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	signals, reloads, ended := make(chan os.Signal), make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		act := signalActions{cancel: cancel, exit: func(int) {}, log: slog.New(slog.DiscardHandler), reloads: reloads}
		runSignals(ctx, signals, act)
	}()
	signals <- syscall.SIGHUP
	<-reloads
	for range 3 {
		signals <- syscall.SIGHUP // taken although nobody reloads
	}
	if ctx.Err() != nil {
		t.Error("SIGHUP ended the director")
	}
	cancel()
	<-ended
}

func TestNumbersAreWordedForPeople(t *testing.T) {
	sizes := map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 84 << 20: "84.0 MiB", 5 << 40: "5.0 TiB"}
	for bytes, want := range sizes {
		if got := size(bytes); got != want {
			t.Errorf("%d bytes: got %s, want %s", bytes, got, want)
		}
	}
	periods := map[int64]string{0: "0s", 9: "9s", 900: "15m", 302: "5m2s", 11520: "3h12m", 183600: "2d3h"}
	for seconds, want := range periods {
		if got := period(seconds); got != want {
			t.Errorf("%d seconds: got %s, want %s", seconds, got, want)
		}
	}
}
