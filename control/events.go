package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ulvs/events"
)

// Limits of event streams.
const (
	// MaxEventStreams is how many clients may follow events on one listener at once. A stream
	// costs a goroutine and a file; dashboards and scripts need a handful.
	MaxEventStreams = 64
	// eventHeartbeat keeps proxies from closing a quiet stream, and finds clients that are gone.
	eventHeartbeat = 15 * time.Second
	// eventWriteTimeout ends a stream whose client reads nothing.
	eventWriteTimeout = 20 * time.Second
	maxEventList      = events.DefaultCapacity
	defaultEventList  = 100
	retryMillis       = 2000 // a browser waits so long before it connects again
)

// Journaler is a Backend that remembers what happened.
type Journaler interface {
	// Journal returns the journal; never nil.
	Journal() *events.Journal
}

// EventQuery selects events.
type EventQuery struct {
	events.Filter
	After string // an ID: only later ones
	Limit int    // without After: the newest so many of those that are kept; 0: 100
}

// EventID is how a stream names an event: sequence numbers begin anew with each run.
func EventID(epoch int64, seq uint64) string { return fmt.Sprintf("%d-%d", epoch, seq) }

// afterOf returns the sequence number that id names, 0 for an id of another run.
func afterOf(id string, epoch int64) (uint64, error) {
	run, number, ok := strings.Cut(id, "-")
	e, err1 := strconv.ParseInt(run, 10, 64)
	seq, err2 := strconv.ParseUint(number, 10, 64)
	switch {
	case !ok || err1 != nil || err2 != nil:
		return 0, fmt.Errorf("%.40q names no event; give an id that a stream gave", id)
	case e != epoch:
		return 0, nil
	}
	return seq, nil
}

func (q *EventQuery) values() url.Values {
	kinds := make([]string, len(q.Kinds))
	for i, k := range q.Kinds {
		kinds[i] = string(k)
	}
	limit := ""
	if q.Limit > 0 {
		limit = strconv.Itoa(q.Limit)
	}
	return encode(paramKind, strings.Join(kinds, ","), paramService, q.Service, paramAfter, q.After, paramLimit, limit)
}

// Names of the query parameters.
const (
	paramKind    = "kind"
	paramService = "service"
	paramAfter   = "after"
	paramFollow  = "follow"
)

var errNoJournal = errors.New("this director keeps no events")

// Events serves a journal: a stream of server-sent events, or with ?follow=0 a list. At most
// MaxEventStreams streams at once.
type Events struct {
	journal   *events.Journal
	heartbeat time.Duration
	streams   atomic.Int64
	refused   atomic.Uint64
}

// NewEvents makes the handler of j.
func NewEvents(j *events.Journal) *Events { return &Events{journal: j, heartbeat: eventHeartbeat} }

// Refused returns how many streams were not begun because MaxEventStreams ran.
func (h *Events) Refused() uint64 { return h.refused.Load() }

// ServeHTTP answers GET ?kind=&service=&after=&follow=&limit=.
func (h *Events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, follow, err := eventQueryOf(r)
	var after uint64
	if err == nil {
		after, err = h.start(&q)
	}
	switch {
	case err != nil:
		answerError(w, http.StatusBadRequest, err)
	case !follow:
		answerJSON(w, http.StatusOK, h.list(&q, after))
	case h.streams.Add(1) > MaxEventStreams:
		h.streams.Add(-1)
		h.refused.Add(1)
		answerError(w, http.StatusServiceUnavailable, fmt.Errorf("%d clients follow events already", MaxEventStreams))
	default:
		defer h.streams.Add(-1)
		h.stream(w, r, &q.Filter, after)
	}
}

// eventQueryOf reads a request. A browser that connects again gives the last id as a header.
func eventQueryOf(r *http.Request) (q EventQuery, follow bool, err error) {
	values := newQuery(r.URL.Query(), paramKind, paramService, paramAfter, paramFollow, paramLimit)
	q.Service, q.Limit = values.values.Get(paramService), values.count(paramLimit)
	if values.err != nil {
		return q, false, values.err
	}
	if q.Kinds, err = events.ParseKinds(values.values.Get(paramKind)); err != nil {
		return q, false, fmt.Errorf("parameter kind: %w", err)
	}
	if q.Limit == 0 {
		q.Limit = defaultEventList
	}
	if q.After = r.Header.Get("Last-Event-ID"); q.After == "" {
		q.After = values.values.Get(paramAfter)
	}
	return q, values.values.Get(paramFollow) != "0", nil
}

// start returns the sequence number after which q begins.
func (h *Events) start(q *EventQuery) (uint64, error) {
	if q.After != "" {
		return afterOf(q.After, h.journal.Epoch())
	}
	last := h.journal.Last()
	if recent := h.journal.Recent(q.Filter, q.Limit); len(recent) > 0 {
		return recent[0].Seq - 1, nil
	}
	return last, nil
}

// list returns what is kept after that sequence number.
func (h *Events) list(q *EventQuery, after uint64) []events.Event {
	list := h.journal.Recent(q.Filter, maxEventList)
	for len(list) > 0 && list[0].Seq <= after {
		list = list[1:]
	}
	return list
}

// stream writes events until the client is gone.
func (h *Events) stream(w http.ResponseWriter, r *http.Request, f *events.Filter, after uint64) {
	s := h.journal.Subscribe(after)
	defer s.Close()
	out := eventWriter{w: w, c: http.NewResponseController(w), epoch: h.journal.Epoch()}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out.write(fmt.Appendf(nil, "retry: %d\n\n", retryMillis))
	beat := time.NewTicker(h.heartbeat)
	defer beat.Stop()
	for out.err == nil {
		if out.drain(s, f) {
			continue
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.Wake():
		case <-beat.C:
			out.write([]byte(": alive\n\n"))
		}
	}
}

// eventWriter writes server-sent events; after an error nothing.
type eventWriter struct {
	w     http.ResponseWriter
	c     *http.ResponseController
	epoch int64
	lost  uint64
	err   error
}

// drainEvents bounds what is written at once.
const drainEvents = 256

// answerJSON writes v, which can always be encoded.
func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody to tell
}

func answerError(w http.ResponseWriter, status int, err error) {
	answerJSON(w, status, failure{Error: err.Error()})
}

// drain writes what there is, at most drainEvents, and reports whether it wrote any.
func (o *eventWriter) drain(s *events.Subscription, f *events.Filter) bool {
	var b bytes.Buffer
	for range drainEvents {
		e, ok := s.Read(f)
		if n := s.Lost(); n > o.lost {
			fmt.Fprintf(&b, "event: lost\ndata: {\"lost\":%d}\n\n", n-o.lost)
			o.lost = n
		}
		if !ok {
			break
		}
		data, err := json.Marshal(e)
		if err != nil {
			o.err = err
			return true
		}
		fmt.Fprintf(&b, "id: %s\ndata: %s\n\n", EventID(o.epoch, e.Seq), data)
	}
	if b.Len() == 0 {
		return false
	}
	o.write(b.Bytes())
	return true
}

func (o *eventWriter) write(text []byte) {
	// Not every ResponseWriter (a test's) has deadlines; without one the server's own holds.
	_ = o.c.SetWriteDeadline(time.Now().Add(eventWriteTimeout))
	if _, o.err = o.w.Write(text); o.err == nil {
		o.err = o.c.Flush()
	}
}

// routeEvents adds the journal's path.
func (s *Server) routeEvents(mux *http.ServeMux) {
	mux.HandleFunc("/v1/events", s.onlyMethod(http.MethodGet))
	if j, ok := s.backend.(Journaler); ok {
		mux.Handle("GET /v1/events", NewEvents(j.Journal()))
		return
	}
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, _ *http.Request) {
		s.refuse(w, http.StatusNotImplemented, errNoJournal)
	})
}
