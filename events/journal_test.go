package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func newJournal(capacity int) *Journal {
	return New(Options{Capacity: capacity, Clock: func() time.Time { return noon }})
}

func read(t *testing.T, s *Subscription, f Filter) (seqs []uint64) {
	t.Helper()
	for {
		e, ok := s.Read(&f)
		if !ok {
			return seqs
		}
		seqs = append(seqs, e.Seq)
	}
}

func wantSeqs(t *testing.T, what string, got []uint64, want ...uint64) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestAnEventGetsANumberAndATime(t *testing.T) {
	j := newJournal(4)
	j.Add(Event{Kind: ServerDown})
	j.Add(Event{Kind: ServerUp, Time: noon.Add(time.Hour)})
	got := j.Recent(Filter{}, 9)
	if len(got) != 2 || got[0].Seq != 1 || !got[0].Time.Equal(noon) || !got[1].Time.Equal(noon.Add(time.Hour)) {
		t.Errorf("got %+v", got)
	}
	if j.Epoch() != noon.UnixMilli() || j.Last() != 2 {
		t.Errorf("epoch %d, last %d", j.Epoch(), j.Last())
	}
}

func TestASlowSubscriberLosesTheOldestAndKnowsIt(t *testing.T) {
	j := newJournal(4)
	s := j.Subscribe(0)
	defer s.Close()
	for range 3 {
		j.Add(Event{Kind: ServerDown})
	}
	wantSeqs(t, "in time", read(t, s, Filter{}), 1, 2, 3)
	for range 6 {
		j.Add(Event{Kind: ServerDown})
	}
	wantSeqs(t, "too late", read(t, s, Filter{}), 6, 7, 8, 9)
	if s.Lost() != 2 || j.Stats().Lost != 2 {
		t.Errorf("lost %d, of all %d, want 2", s.Lost(), j.Stats().Lost)
	}
}

func TestASubscriptionResumesWhereItEnded(t *testing.T) {
	j := newJournal(4)
	for range 6 {
		j.Add(Event{Kind: ServerDown})
	}
	for _, c := range []struct {
		after uint64
		want  []uint64
		lost  uint64
	}{{0, []uint64{3, 4, 5, 6}, 2}, {4, []uint64{5, 6}, 0}, {6, nil, 0}, {99, nil, 0}} {
		s := j.Subscribe(c.after)
		wantSeqs(t, fmt.Sprint("after ", c.after), read(t, s, Filter{}), c.want...)
		if s.Lost() != c.lost {
			t.Errorf("after %d: lost %d, want %d", c.after, s.Lost(), c.lost)
		}
		s.Close()
	}
	if n := j.Stats().Subscribers; n != 0 {
		t.Errorf("%d subscribers left", n)
	}
}

func TestFilters(t *testing.T) {
	j := newJournal(8)
	j.Add(Event{Kind: ServerDown, Service: "tcp 192.0.2.1:80"})
	j.Add(Event{Kind: ServerUp, Service: "tcp 192.0.2.1:80"})
	j.Add(Event{Kind: ServerDown, Service: "udp 192.0.2.2:53"})
	for _, c := range []struct {
		f    Filter
		want []uint64
	}{
		{Filter{}, []uint64{1, 2, 3}},
		{Filter{Kinds: []Kind{ServerDown}}, []uint64{1, 3}},
		{Filter{Service: "192.0.2.1:80"}, []uint64{1, 2}},
		{Filter{Kinds: []Kind{ServerUp, Started}, Service: "udp"}, nil},
	} {
		s := j.Subscribe(0)
		wantSeqs(t, fmt.Sprint(c.f), read(t, s, c.f), c.want...)
		s.Close()
	}
	if got := j.Recent(Filter{Kinds: []Kind{ServerDown}}, 1); len(got) != 1 || got[0].Seq != 3 {
		t.Errorf("the newest: got %+v", got)
	}
}

func TestNextWaits(t *testing.T) {
	j := newJournal(4)
	s := j.Subscribe(j.Last())
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		j.Add(Event{Kind: Started})
		j.Add(Event{Kind: ServerDown})
	}()
	if e, err := s.Next(ctx, &Filter{Kinds: []Kind{ServerDown}}); err != nil || e.Seq != 2 {
		t.Errorf("got %+v, %v", e, err)
	}
	cancel()
	if _, err := s.Next(ctx, &Filter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestManyAddWhileManyRead(t *testing.T) {
	const writers, each = 4, 1000
	j := newJournal(64)
	var readers, adders sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 3 {
		s := j.Subscribe(0)
		readers.Go(func() {
			defer s.Close()
			seen, last := uint64(0), uint64(0)
			for last < writers*each {
				e, err := s.Next(ctx, &Filter{})
				if err != nil || e.Seq <= last {
					t.Errorf("%d after %d: %v", e.Seq, last, err)
					return
				}
				seen, last = seen+1, e.Seq
			}
			if seen+s.Lost() != writers*each {
				t.Errorf("saw %d, lost %d of %d", seen, s.Lost(), writers*each)
			}
		})
	}
	for range writers {
		adders.Go(func() {
			for range each {
				j.Add(Event{Kind: ServerUp})
			}
		})
	}
	adders.Wait()
	readers.Wait()
	cancel()
	if n := j.Stats().Counts[ServerUp]; n != writers*each {
		t.Errorf("counted %d", n)
	}
}

func TestANilJournalForgets(t *testing.T) {
	var j *Journal
	j.Add(Event{Kind: Started})
	if j.Last() != 0 || len(j.Recent(Filter{}, 1)) != 0 || len(j.Stats().Counts) != 0 {
		t.Error("a nil journal remembers")
	}
}

func TestAnEventInWordsAndInJSON(t *testing.T) {
	e := Event{Seq: 7, Time: noon, Kind: ServerDown, Service: "tcp 192.0.2.1:80", RealServer: "10.0.0.1:80",
		From: "up", To: "down", Reason: "connection refused", Count: 3}
	line := "server_down tcp 192.0.2.1:80 10.0.0.1:80 up -> down (3): connection refused"
	if got := e.String(); got != line {
		t.Errorf("got %q", got)
	}
	b, err := json.Marshal(e)
	want := `{"seq":7,"time":"2026-11-26T12:00:00Z","kind":"server_down","service":"tcp 192.0.2.1:80",` +
		`"real_server":"10.0.0.1:80","from":"up","to":"down","reason":"connection refused","count":3}`
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v", b, err)
	}
	var log strings.Builder
	l := slog.New(slog.NewTextHandler(&log, nil))
	l.LogAttrs(t.Context(), InfoOf(e.Kind).Level, "event", e.Attrs()...)
	if !strings.Contains(log.String(), `level=WARN msg=event event=server_down service="tcp 192.0.2.1:80"`) ||
		strings.Contains(log.String(), "instance") {
		t.Errorf("got %s", log.String())
	}
}

func TestKindsAreKnownByName(t *testing.T) {
	got, err := ParseKinds(" server_up,quorum_down,")
	if err != nil || fmt.Sprint(got) != "[server_up quorum_down]" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := ParseKinds("server_up,nonsense"); err == nil || !strings.Contains(err.Error(), "there are started,") {
		t.Errorf("got %v", err)
	}
	seen := map[Kind]bool{}
	for _, i := range Infos {
		if seen[i.Kind] || i.Help == "" {
			t.Errorf("%s stands twice, or has no words", i.Kind)
		}
		seen[i.Kind] = true
	}
}
