package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/events"
	"ulvs/internal/testutil"
)

// kickable is a site whose real servers can be kicked.
type kickable struct {
	site
	j    *events.Journal
	mu   sync.Mutex
	down bool
}

func (k *kickable) Journal() *events.Journal { return k.j }

func (k *kickable) Services() []control.Service {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.site.Services()
	for i := range list {
		list[i].State = control.StateUp
		for n := range list[i].RealServers {
			r := &list[i].RealServers[n]
			r.State, r.Reason, r.Weight, r.ConfiguredWeight = control.StateUp, "", 1, 1
		}
	}
	if r := &list[3].RealServers[0]; k.down {
		r.State, r.Weight, r.Reason = control.StateDown, 0, "connection refused"
	}
	return list
}

func (k *kickable) kick() {
	k.mu.Lock()
	k.down = true
	k.mu.Unlock()
	k.j.Add(events.Event{Kind: events.ServerDown, Service: "tcp 10.0.0.1:80", RealServer: "10.1.0.2:80"})
}

// pane is a terminal with a program in it.
type pane struct {
	t      *testing.T
	server string // tmux's socket
}

func (p pane) tmux(args ...string) string {
	p.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", p.server}, args...)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %s: %v\n%s", args, err, out)
	}
	return string(out)
}

func (p pane) screen() string { return p.tmux("capture-pane", "-p") }

// sees waits until the screen shows all words.
func (p pane) sees(words ...string) {
	p.t.Helper()
	end := time.Now().Add(testutil.AwaitLimit)
	for shown := ""; ; {
		shown = p.screen()
		missing := ""
		for _, w := range words {
			if !strings.Contains(shown, w) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("the screen does not show %q, but:\n%s", missing, shown)
		}
		time.Sleep(10 * time.Millisecond) // tmux does not tell when a screen changes
	}
}

// newPane runs a command line in a terminal of 110 by 24; the shell around it says when it ended.
func newPane(t *testing.T, command string) pane {
	t.Helper()
	_, err := exec.LookPath("tmux")
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	testutil.Require(t, testutil.NeedTmux, reason)
	p := pane{t, filepath.Join(t.TempDir(), "tmux")}
	p.tmux("-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "24", command+`; echo "it ended: $?"; exec cat`)
	t.Cleanup(func() { p.tmux("kill-server") })
	return p
}

// buildUlvs builds the program, as users run it.
func buildUlvs(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ulvs")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func TestTopInATerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("building the program takes ten seconds")
	}
	ulvs := buildUlvs(t)
	t.Run("a kick is seen at once", func(t *testing.T) { checkTop(t, ulvs) })
	t.Run("without a director it ends", func(t *testing.T) {
		p := newPane(t, fmt.Sprintf("%s top --socket %s", ulvs, filepath.Join(t.TempDir(), "none")))
		p.sees("is it running?", "it ended: 1")
	})
}

func checkTop(t *testing.T, ulvs string) {
	k := &kickable{j: events.New(events.Options{})}
	p := newPane(t, fmt.Sprintf("LC_ALL=C.UTF-8 %s top --socket %s --interval 1h", ulvs, serve(t, k)))
	p.sees("ulvs lvs1", "tcp 10.0.0.1:80", "3/3 up", "1.23M", "q quit")
	if shown := p.screen(); strings.Contains(shown, "down") {
		t.Fatalf("somebody is down already:\n%s", shown)
	}
	k.kick()
	// The interval is far away: it is the event that makes top look again.
	p.sees("down", "connection refused", "2/3 up", "server_down")
	p.tmux("resize-window", "-x", "50", "-y", "12")
	testutil.Await(t, "a narrow screen", func() bool {
		shown := p.screen()
		return strings.Contains(shown, "10.0.0.1:443") && !strings.Contains(shown, "Conn/s")
	})
	p.tmux("resize-window", "-x", "110", "-y", "24")
	p.sees("Conn/s", "q quit")
	p.tmux("send-keys", "/", "udp", "Enter")
	testutil.Await(t, "the filter", func() bool { return !strings.Contains(p.screen(), "tcp 10.0.0.1:443") })
	p.sees("udp 10.0.0.1:53", "/ filter (udp)")
	p.tmux("send-keys", "Escape")
	p.sees("tcp 10.0.0.1:443")
	p.tmux("send-keys", " ")
	p.sees("paused")
	p.tmux("send-keys", "Home", "Left")
	p.sees("▸ tcp 10.0.0.1:80")
	p.tmux("send-keys", "?")
	p.sees("open or close all services")
	p.tmux("send-keys", "?", "q")
	p.sees("it ended: 0")
	if shown := p.screen(); strings.Contains(shown, "Conn/s") {
		t.Errorf("the screen stays:\n%s", shown)
	}
	p.tmux("send-keys", "echo is back", "Enter") // cat shows it twice: the terminal echoes again
	testutil.Await(t, "the terminal's echo", func() bool { return strings.Count(p.screen(), "echo is back") == 2 })
}

func TestTopIntoAPipeIsATable(t *testing.T) {
	socket := serve(t, &kickable{j: events.New(events.Options{}), down: true})
	code, out, errOut := command(t, "top", "--socket", socket, "--sort", "sessions", "--vip", "10.0.0.1")
	if code != exitOK || errOut != "" || !strings.Contains(out, "connection refused") || strings.Contains(out, "\x1b") {
		t.Errorf("exit %d, %s%s", code, out, errOut)
	}
	code, out, _ = command(t, "top", "--socket", socket, "--json")
	if code != exitOK || !strings.Contains(out, `"uptime_seconds": 93784`) {
		t.Errorf("exit %d, %s", code, out)
	}
	for _, args := range [][]string{{"--sort", "luck"}, {"--interval", "1ms"}, {"--vip", "www"}} {
		if code, _, errOut := command(t, append([]string{"top", "--socket", socket}, args...)...); code != exitUsage {
			t.Errorf("%v: exit %d, %s", args, code, errOut)
		}
	}
}
