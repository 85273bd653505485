package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ulvs/events"
	"ulvs/internal/testutil"
)

type journaled struct {
	*fakeBackend
	j *events.Journal
}

func (b journaled) Journal() *events.Journal { return b.j }

// happened returns a director with n real servers down, and its client.
func happened(t *testing.T, n int) (*events.Journal, *Client) {
	t.Helper()
	j := events.New(events.Options{Capacity: 512})
	for i := range n {
		j.Add(events.Event{Kind: events.ServerDown, Service: "tcp 192.0.2.1:80", RealServer: fmt.Sprint(i + 1)})
	}
	return j, NewClient(serve(t, journaled{newFake(), j}))
}

func seqs(list []events.Event) (out []uint64) {
	for _, e := range list {
		out = append(out, e.Seq)
	}
	return out
}

func TestRecentEvents(t *testing.T) {
	j, c := happened(t, 150)
	j.Add(events.Event{Kind: events.QuorumDown, Service: "udp 192.0.2.2:53"})
	for _, tc := range []struct {
		name        string
		q           EventQuery
		first, last uint64
	}{
		{"the newest hundred", EventQuery{}, 52, 151},
		{"as many as asked for", EventQuery{Limit: 3}, 149, 151},
		{"of a kind", EventQuery{Limit: 2, Filter: events.Filter{Kinds: []events.Kind{events.ServerDown}}}, 149, 150},
		{"of a service", EventQuery{Filter: events.Filter{Service: "udp"}}, 151, 151},
		{"after one", EventQuery{After: EventID(j.Epoch(), 140)}, 141, 151},
		{"after one of another run", EventQuery{After: EventID(j.Epoch()-1, 140)}, 1, 151},
	} {
		list, err := c.RecentEvents(t.Context(), tc.q)
		if err != nil || len(list) == 0 || list[0].Seq != tc.first || list[len(list)-1].Seq != tc.last {
			t.Errorf("%s: got %v, %v, want %d to %d", tc.name, seqs(list), err, tc.first, tc.last)
		}
	}
	none, err := c.RecentEvents(t.Context(), EventQuery{Filter: events.Filter{Service: "sctp"}})
	if err != nil || none == nil || len(none) != 0 {
		t.Errorf("none: got %v, %v", none, err)
	}
}

func TestAStreamGoesOnWhereItEnded(t *testing.T) {
	j, c := happened(t, 5)
	id, got := "", []uint64(nil)
	for want := uint64(2); want <= 6; want += 2 {
		err := c.FollowEvents(t.Context(), EventQuery{After: id}, func(e StreamEvent) bool {
			id, got = e.ID, append(got, e.Event.Seq)
			if e.Event.Seq == 5 {
				j.Add(events.Event{Kind: events.ServerUp}) // while it is followed
			}
			return e.Event.Seq < want
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6}) {
		t.Errorf("got %v", got)
	}
}

func TestAFilteredStreamHearsOnlyItsEvents(t *testing.T) {
	j, c := happened(t, 3)
	q := EventQuery{Filter: events.Filter{Kinds: []events.Kind{events.QuorumUp, events.QuorumDown}}}
	j.Add(events.Event{Kind: events.QuorumDown})
	j.Add(events.Event{Kind: events.ServerUp})
	j.Add(events.Event{Kind: events.QuorumUp})
	var got []events.Kind
	err := c.FollowEvents(t.Context(), q, func(e StreamEvent) bool {
		got = append(got, e.Event.Kind)
		return len(got) < 2
	})
	if err != nil || !slices.Equal(got, []events.Kind{events.QuorumDown, events.QuorumUp}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAStreamSaysWhatItsClientMissed(t *testing.T) {
	j, c := happened(t, 600) // the journal keeps 512
	lost := uint64(0)
	err := c.FollowEvents(t.Context(), EventQuery{After: EventID(j.Epoch(), 10)}, func(e StreamEvent) bool {
		lost += e.Lost
		return e.Event.Seq < 600
	})
	if err != nil || lost != 600-512-10 {
		t.Errorf("lost %d, %v", lost, err)
	}
}

func TestAStreamEndsWithItsClientAndWithTheDirector(t *testing.T) {
	j, c := happened(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.FollowEvents(ctx, EventQuery{}, func(StreamEvent) bool {
		cancel()
		return true
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	testutil.Await(t, "the subscriptions to end", func() bool { return j.Stats().Subscribers == 0 })
}

func TestStreamsAreBounded(t *testing.T) {
	j, _ := happened(t, 1)
	h := NewEvents(j)
	server := httptest.NewServer(h)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := func() *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	for range MaxEventStreams {
		if resp := open(); resp.StatusCode != http.StatusOK {
			t.Fatalf("got %s", resp.Status)
		}
	}
	if resp := open(); resp.StatusCode != http.StatusServiceUnavailable || h.Refused() != 1 {
		t.Errorf("one too many: got %s", resp.Status)
	}
	cancel()
	testutil.Await(t, "the streams to end", func() bool { return j.Stats().Subscribers == 0 })
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	testutil.Await(t, "a stream after the others went", func() bool { return open().StatusCode == http.StatusOK })
}

// pipeWriter is a ResponseWriter into a pipe.
type pipeWriter struct {
	*io.PipeWriter
	header http.Header
}

func (w pipeWriter) Header() http.Header { return w.header }
func (w pipeWriter) WriteHeader(int)     {}
func (w pipeWriter) Flush()              {}

func TestAQuietStreamBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			h := NewEvents(events.New(events.Options{}))
			h.ServeHTTP(pipeWriter{w, http.Header{}}, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
		}()
		begin := time.Now()
		lines := bufio.NewScanner(r)
		for beats := 0; beats < 3 && lines.Scan(); {
			if lines.Text() == ": alive" {
				beats++
			}
		}
		if took := time.Since(begin); took != 3*eventHeartbeat {
			t.Errorf("three beats in %v", took)
		}
		cancel()
		<-done
	})
}

func TestWrongEventRequestsAreRefused(t *testing.T) {
	j, _ := happened(t, 1)
	b := journaled{newFake(), j}
	for target, want := range map[string]string{
		"/v1/events?kinds=1":           `unknown parameter \"kinds\"`,
		"/v1/events?kind=nonsense":     `parameter kind: \"nonsense\" is no kind of event; there are started`,
		"/v1/events?limit=x&follow=0":  `parameter limit: \"x\" is no count`,
		"/v1/events?after=12&follow=0": `\"12\" names no event`,
	} {
		if r := ask(b, "GET", target); r.Code != 400 || !strings.Contains(r.Body.String(), want) {
			t.Errorf("%s: got %d %s", target, r.Code, r.Body)
		}
	}
	if r := ask(b, "POST", "/v1/events"); r.Code != 405 {
		t.Errorf("POST: got %d", r.Code)
	}
	if r := ask(newFake(), "GET", "/v1/events"); r.Code != 501 {
		t.Errorf("without a journal: got %d %s", r.Code, r.Body)
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("retry: 2000\n\nid: 1-1\ndata: {\"seq\":1,\"kind\":\"server_up\"}\n\n")
	f.Add("event: lost\ndata: {\"lost\":3}\n\n: alive\n\ndata\n\n")
	f.Add("data: {\n\nid:::\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		var got []StreamEvent
		err := readEvents(strings.NewReader(text), func(e StreamEvent) bool {
			got = append(got, e)
			return len(got) < 100
		})
		if err == nil && len(got) != 100 {
			t.Fatal("an ended stream is no error")
		}
		for _, e := range got { // what was read can be written and read again
			data, err := json.Marshal(e.Event)
			if err != nil {
				continue // a year that JSON does not have
			}
			again := StreamEvent{}
			if err := again.decode("", data); err != nil {
				t.Fatalf("%s: %v", data, err)
			}
		}
	})
}
