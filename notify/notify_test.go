package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ulvs/events"
	"ulvs/internal/testutil"
)

// pauses records what a Notifier waits, and does not wait.
type pauses struct {
	mu  sync.Mutex
	all []time.Duration
}

func (p *pauses) pause(ctx context.Context, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, d)
	return ctx.Err()
}

func (p *pauses) list() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

func newNotifier(t *testing.T, targets ...Target) (*Notifier, *events.Journal, *pauses) {
	t.Helper()
	p := &pauses{}
	j := events.New(events.Options{})
	n := New(Options{Journal: j, Director: "lvs1", Version: "v1", Log: slog.New(slog.DiscardHandler), Pause: p.pause})
	n.Set(targets)
	t.Cleanup(func() { n.Set(nil) })
	return n, j, p
}

func script(t *testing.T, body string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

func awaitStats(t *testing.T, n *Notifier, what string, cond func(s Stats) bool) Stats {
	t.Helper()
	testutil.Await(t, what, func() bool { return cond(n.Stats()[0]) })
	return n.Stats()[0]
}

func down(i int) events.Event {
	return events.Event{Kind: events.ServerDown, Service: "tcp 192.0.2.1:80", RealServer: fmt.Sprintf("10.0.0.%d:80", i),
		From: "up", To: "down", Reason: "it says\n\x1b[31m\"no\"; rm -rf /", Count: 3}
}

func TestAScriptFindsTheEventInItsEnvironment(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	args := script(t, `echo "$# $ULVS_DIRECTOR|$ULVS_EVENT|$ULVS_SERVICE|$ULVS_REAL_SERVER|$ULVS_FROM|$ULVS_TO|`+
		`$ULVS_COUNT|$ULVS_REASON|$ULVS_SEQ" > `+out)
	n, j, _ := newNotifier(t, Target{Script: args, Timeout: time.Minute})
	j.Add(down(1))
	awaitStats(t, n, "the script", func(s Stats) bool { return s.Delivered == 1 })
	got, err := os.ReadFile(out)
	want := "0 lvs1|server_down|tcp 192.0.2.1:80|10.0.0.1:80|up|down|3|it says  [31m\"no\"; rm -rf /|1\n"
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}

func TestAScriptOfATransitionIsCalledAsKeepalivedDoes(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	n, j, _ := newNotifier(t, Target{Script: append(script(t, `echo "$@" > `+out), "own"), Timeout: time.Minute})
	j.Add(events.Event{Kind: events.VRRPTransition, Instance: "VI_1", From: "BACKUP", To: "MASTER", Count: 100})
	awaitStats(t, n, "the script", func(s Stats) bool { return s.Delivered == 1 })
	if got, err := os.ReadFile(out); err != nil || string(got) != "own INSTANCE VI_1 MASTER 100\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAFailingScriptIsTriedAgainWithGrowingPauses(t *testing.T) {
	n, j, p := newNotifier(t, Target{Script: script(t, "echo why; exit 3"), Timeout: time.Minute, Retries: 7})
	j.Add(down(1))
	s := awaitStats(t, n, "giving up", func(s Stats) bool { return s.Failed == 1 })
	seconds := func(list ...int) (out []time.Duration) {
		for _, s := range list {
			out = append(out, time.Duration(s)*time.Second)
		}
		return out
	}
	if got, want := p.list(), seconds(1, 2, 4, 8, 16, 30, 30); !slices.Equal(got, want) || s.Retried != 7 {
		t.Errorf("pauses %v, want %v; %+v", got, want, s)
	}
}

func TestAHangingScriptIsKilled(t *testing.T) {
	n, j, _ := newNotifier(t, Target{Script: script(t, "sleep 1000"), Timeout: 50 * time.Millisecond})
	began := time.Now()
	j.Add(down(1))
	awaitStats(t, n, "giving up", func(s Stats) bool { return s.Failed == 1 })
	if took := time.Since(began); took > testutil.AwaitLimit {
		t.Errorf("it took %v", took)
	}
}

func TestAScriptThatIsNotThereFails(t *testing.T) {
	n, j, _ := newNotifier(t, Target{Script: []string{"/nonexistent"}, Timeout: time.Minute})
	j.Add(down(1))
	awaitStats(t, n, "giving up", func(s Stats) bool { return s.Failed == 1 })
}

// hook is a webhook that answers with the next of its statuses, then 200.
type hook struct {
	mu       sync.Mutex
	statuses []int
	requests []*http.Request
	bodies   []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests, h.bodies = append(h.requests, r), append(h.bodies, string(body))
	if len(h.statuses) > 0 {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(h.statuses[0])
		h.statuses = h.statuses[1:]
	}
}

func serveHook(t *testing.T, statuses ...int) (*hook, string) {
	t.Helper()
	h := &hook{statuses: statuses}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, s.URL
}

func TestAWebhookGetsTheEventSigned(t *testing.T) {
	h, url := serveHook(t)
	n, j, _ := newNotifier(t, Target{Webhook: url + "/secret?token=1", Timeout: time.Minute, Secret: []byte("key"),
		Headers: map[string]string{"Authorization": "Bearer 1"}})
	j.Add(down(1))
	s := awaitStats(t, n, "the request", func(s Stats) bool { return s.Delivered == 1 })
	r, body := h.requests[0], h.bodies[0]
	if got := r.Header.Get(SignatureHeader); got != Sign([]byte("key"), r.Header.Get(TimestampHeader), []byte(body)) {
		t.Errorf("signature %q", got)
	}
	if r.Method != "POST" || r.Header.Get("Authorization") != "Bearer 1" || r.Header.Get(EventHeader) != "server_down" ||
		r.Header.Get("Content-Type") != "application/json" || r.UserAgent() != "ulvs/v1" ||
		r.Header.Get(DeliveryHeader) != fmt.Sprintf("%d-1", j.Epoch()) {
		t.Errorf("got %s %v", r.Method, r.Header)
	}
	var got message
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Director != "lvs1" || got.Seq != 1 ||
		got.Reason != down(1).Reason || !strings.HasPrefix(got.Text, "server_down tcp") {
		t.Errorf("got %s, %v", body, err)
	}
	if s.Name != url {
		t.Errorf("its name %q shows more than %q", s.Name, url)
	}
}

// The vector was computed with: printf '1700000000.{}' | openssl dgst -sha256 -hmac key.
func TestTheSignatureIsAsDocumented(t *testing.T) {
	const want = "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
	if got := Sign([]byte("key"), "1700000000", []byte("{}")); got != want {
		t.Errorf("got %s", got)
	}
}

func TestAWebhookIsTriedAgainWhereThatMayHelp(t *testing.T) {
	for _, c := range []struct {
		statuses           []int
		requests           int
		delivered, retried uint64
	}{
		{[]int{500, 503, 429}, 4, 1, 3},
		{[]int{500, 500, 500, 500, 500}, 4, 0, 3},
		{[]int{404}, 1, 0, 0},
		{[]int{302}, 1, 0, 0}, // a redirect would lose the body
		{[]int{204}, 1, 1, 0},
	} {
		h, url := serveHook(t, c.statuses...)
		n, j, _ := newNotifier(t, Target{Webhook: url, Timeout: time.Minute, Retries: 3})
		j.Add(down(1))
		s := awaitStats(t, n, "an end", func(s Stats) bool { return s.Delivered+s.Failed == 1 })
		if s.Delivered != c.delivered || s.Retried != c.retried || len(h.requests) != c.requests {
			t.Errorf("%v: %d requests, %+v", c.statuses, len(h.requests), s)
		}
	}
}

func TestAHangingWebhookDelaysNobodyElseAndLosesTheOldest(t *testing.T) {
	hang, asked := make(chan struct{}), make(chan struct{})
	var first sync.Once
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		first.Do(func() { close(asked) })
		<-hang
	}))
	defer slow.Close()
	defer close(hang)
	_, url := serveHook(t)
	n, j, _ := newNotifier(t, Target{Webhook: slow.URL, Timeout: time.Hour}, Target{Webhook: url, Timeout: time.Minute})
	j.Add(down(0))
	<-asked // the slow one has taken the first
	const rounds, perRound = 20, 50
	for i := range rounds { // in steps, so that the quick one keeps up
		for range perRound {
			j.Add(down(i))
		}
		testutil.Await(t, "the quick one", func() bool { return n.Stats()[1].Delivered == uint64(1+(i+1)*perRound) })
	}
	s := awaitStats(t, n, "the queue to be full", func(s Stats) bool {
		return s.Lost == rounds*perRound-MaxBacklog
	})
	if s.Backlog != MaxBacklog+1 || s.Delivered != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestAWebhookThatIsDownSaysNoURL(t *testing.T) {
	n, j, _ := newNotifier(t)
	var log strings.Builder
	n.opt.Log = slog.New(slog.NewTextHandler(&log, nil))
	n.Set([]Target{{Webhook: "http://127.0.0.1:1/secret-path", Timeout: time.Minute}})
	j.Add(down(1))
	awaitStats(t, n, "giving up", func(s Stats) bool { return s.Failed == 1 })
	n.Set(nil)
	if strings.Contains(log.String(), "secret-path") || !strings.Contains(log.String(), "connection refused") {
		t.Errorf("got %s", log.String())
	}
}

func TestTargetsFollowAReload(t *testing.T) {
	h, url := serveHook(t)
	stays := Target{Webhook: url, Timeout: time.Minute, Filter: events.Filter{Kinds: []events.Kind{events.ServerUp}}}
	n, j, _ := newNotifier(t, stays, Target{Script: []string{"/bin/true"}, Timeout: time.Minute})
	j.Add(events.Event{Kind: events.ServerUp})
	awaitStats(t, n, "the first", func(s Stats) bool { return s.Delivered == 1 })
	n.Set([]Target{stays})
	j.Add(events.Event{Kind: events.ServerUp})
	j.Add(events.Event{Kind: events.ServerDown}) // filtered
	s := awaitStats(t, n, "the second", func(s Stats) bool { return s.Delivered == 2 })
	if len(n.Stats()) != 1 || s.Failed != 0 || len(h.requests) != 2 {
		t.Errorf("got %+v", n.Stats())
	}
	n.Set(nil)
	if subs := j.Stats().Subscribers; subs != 0 {
		t.Errorf("%d subscriptions left", subs)
	}
}

func TestCloseTellsWhatHappenedLast(t *testing.T) {
	h, url := serveHook(t)
	n, j, _ := newNotifier(t, Target{Webhook: url, Timeout: time.Minute})
	for i := range 20 {
		j.Add(down(i))
	}
	j.Add(events.Event{Kind: events.Stopping})
	n.Close(t.Context())
	if len(h.bodies) != 21 || !strings.Contains(h.bodies[20], "stopping") {
		t.Errorf("%d requests", len(h.bodies))
	}
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	n, j, _ := newNotifier(t, Target{Script: script(t, "trap '' TERM; exec sleep 1000"), Timeout: time.Hour})
	j.Add(down(1))
	awaitStats(t, n, "the script to start", func(s Stats) bool { return s.Backlog == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	n.Close(ctx)
	if took := time.Since(began); took > testutil.AwaitLimit {
		t.Errorf("it took %v", took)
	}
}
