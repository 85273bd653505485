package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/events"
	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// eventful is a site where something happens.
type eventful struct {
	site
	j *events.Journal
}

func (e eventful) Journal() *events.Journal { return e.j }

func newEventful() eventful {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	j := events.New(events.Options{Clock: func() time.Time { return at }})
	j.Add(events.Event{Kind: events.Started, Count: 4})
	j.Add(events.Event{Kind: events.ServerDown, Service: "tcp 10.0.0.1:80", RealServer: "10.1.0.2:80",
		From: "up", To: "down", Reason: "connection refused"})
	j.Add(events.Event{Kind: events.QuorumDown, Service: "udp 10.0.0.1:53"})
	return eventful{j: j}
}

func TestEventsAreListed(t *testing.T) {
	t.Setenv("TZ", "UTC")
	socket := serve(t, newEventful())
	for _, c := range []struct{ args, want string }{
		{"events --kind started", "  started (4)\n"},
		{"events -n 1", "  quorum_down udp 10.0.0.1:53\n"},
		{"events --service 10.0.0.1:80", "  server_down tcp 10.0.0.1:80 10.1.0.2:80 up -> down: connection refused\n"},
		{"events --json --kind started,quorum_up",
			`{"seq":1,"time":"2026-11-26T12:00:00Z","kind":"started","count":4}` + "\n"},
	} {
		code, out, errOut := command(t, append(strings.Fields(c.args), "--socket", socket)...)
		if code != exitOK || errOut != "" || !strings.HasSuffix(out, c.want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: exit %d, %q %q", c.args, code, out, errOut)
		}
	}
	code, _, errOut := command(t, "events", "--kind", "nonsense")
	if code != exitUsage || !strings.Contains(errOut, "ulvs: --kind: \"nonsense\" is no kind of event; there are") {
		t.Errorf("exit %d, %s", code, errOut)
	}
	code, _, errOut = command(t, "events", "--follow", "--socket", filepath.Join(t.TempDir(), "none"))
	if code != exitFailed || !strings.Contains(errOut, "is it running?") {
		t.Errorf("exit %d, %s", code, errOut)
	}
}

func TestEventsAreFollowedOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	start := func(b control.Backend) (stop func()) {
		l, err := control.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		s := control.NewServer(b, slog.New(slog.DiscardHandler))
		go func() { _ = s.Serve(l) }()
		return func() { _ = s.Close() }
	}
	first := newEventful()
	stop := start(first)
	var out, errOut lab.Log
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		a := &app{out: &out, errOut: &errOut}
		code <- a.main(ctx, []string{"events", "-f", "--socket", path})
	}()
	testutil.Await(t, "the past", func() bool { return strings.Contains(out.String(), "quorum_down") })
	first.j.Add(events.Event{Kind: events.QuorumUp})
	testutil.Await(t, "what happens", func() bool { return strings.Contains(out.String(), "quorum_up") })
	stop()
	second := eventful{j: events.New(events.Options{})}
	second.j.Add(events.Event{Kind: events.Started, Count: 77})
	defer start(second)()
	testutil.Await(t, "the next run", func() bool { return strings.Contains(out.String(), "started (77)") })
	cancel()
	if got := <-code; got != exitOK || !strings.Contains(errOut.String(), "trying again") {
		t.Errorf("exit %d, %s", got, errOut.String())
	}
}
