package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"ulvs/control"
	"ulvs/events"
)

// Source is what is asked. A control.Client is one.
type Source interface {
	Status(ctx context.Context) (control.Status, error)
	Services(ctx context.Context, f control.ServiceFilter) ([]control.Service, error)
	FollowEvents(ctx context.Context, q control.EventQuery, fn func(control.StreamEvent) bool) error
}

// Options are how to look.
type Options struct {
	Source   Source
	Filter   control.ServiceFilter
	Interval time.Duration // between two questions
	Sort     string        // one of SortWords; empty: by name
}

// DefaultInterval is how often the director is asked.
const DefaultInterval = time.Second

// afterEvent is how long to wait for more when something happened: a kick of many real servers is one redraw.
const afterEvent = 50 * time.Millisecond

// SortWords are what services can be sorted by.
func SortWords() []string { return orderWords[:] }

// ErrSort says that Options.Sort is none of SortWords.
var ErrSort = errors.New("nothing to sort by")

func orderOf(word string) (order, error) {
	for i, w := range orderWords {
		if w == word || word == "" {
			return order(i), nil
		}
	}
	return 0, fmt.Errorf("%.40q: %w; give one of %s", word, ErrSort, strings.Join(orderWords[:], ", "))
}

func ask(ctx context.Context, o *Options) (s sample, err error) {
	if s.status, err = o.Source.Status(ctx); err != nil {
		return s, err
	}
	s.services, err = o.Source.Services(ctx, o.Filter)
	s.at = time.Now()
	return s, err
}

// Snapshot is what JSON gets.
type Snapshot struct {
	Time     time.Time         `json:"time"`
	Status   control.Status    `json:"status"`
	Services []control.Service `json:"services"`
}

// Once writes one table, or with asJSON a Snapshot. Rates are the director's own averages.
func Once(ctx context.Context, o Options, w io.Writer, asJSON bool) error {
	m := newModel()
	var err error
	if m.sort, err = orderOf(o.Sort); err != nil {
		return err
	}
	s, err := ask(ctx, &o)
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(Snapshot{s.at, s.status, s.services})
	}
	m.view = compare(nil, s)
	return writePlain(w, m)
}

// plainWidth is wide enough for every column and a reason.
const plainWidth = 160

// writePlain writes the table without looks.
func writePlain(w io.Writer, m *model) error {
	s := &screen{m: m, width: plainWidth, height: len(m.rows()) + 100}
	s.header()
	s.lines = append(s.lines[:2:2], s.lines[3:]...) // no workers: their load needs two samples
	s.table()
	for _, text := range s.lines {
		if _, err := fmt.Fprintln(w, stripped(text)); err != nil {
			return err
		}
	}
	return nil
}

// IsTerminal reports whether f is one.
func IsTerminal(f *os.File) bool { return isTerminal(f) }

// Run shows the director until q is pressed or ctx ends.
func Run(ctx context.Context, o Options, in, out *os.File) (err error) {
	m := newModel()
	if m.sort, err = orderOf(o.Sort); err != nil {
		return err
	}
	first, err := ask(ctx, &o) // with an error nothing is taken away from the terminal
	if err != nil {
		return err
	}
	m.view = compare(nil, first)
	t, err := openTerminal(in, out)
	if err != nil {
		return err
	}
	defer func() {
		if e := t.close(); err == nil {
			err = e
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := loop{o: &o, m: m, t: t, samples: make(chan answer), events: make(chan events.Event, 64),
		keys: make(chan []byte)}
	go l.runKeys(ctx)
	go l.runEvents(ctx)
	return l.run(ctx)
}

// answer is a sample or why there is none.
type answer struct {
	sample
	err error
}

// loop is everything that a running view waits for.
type loop struct {
	o       *Options
	m       *model
	t       *terminal
	samples chan answer
	events  chan events.Event
	keys    chan []byte
	asking  bool
	soon    bool // the next question is not a whole interval away
}

func (l *loop) run(ctx context.Context) error {
	tick := time.NewTimer(l.o.Interval)
	defer tick.Stop()
	if err := l.show(true); err != nil {
		return err
	}
	for {
		all := false
		select {
		case <-ctx.Done():
			return nil
		case <-l.t.resized:
			all = true
		case b := <-l.keys:
			if b == nil || l.press(b) {
				return nil
			}
		case e := <-l.events:
			l.m.happened(e)
			if !l.soon { // many events must not put it off for ever
				l.soon = true
				tick.Reset(afterEvent)
			}
		case <-tick.C:
			l.soon = false
			l.ask(ctx)
			tick.Reset(l.o.Interval)
		case a := <-l.samples:
			l.take(a)
		}
		if err := l.show(all); err != nil {
			return err
		}
	}
}

// ask asks the director, unless it still thinks about the last question.
func (l *loop) ask(ctx context.Context) {
	if l.asking {
		return
	}
	l.asking = true
	go func() {
		s, err := ask(ctx, l.o)
		select {
		case l.samples <- answer{s, err}:
		case <-ctx.Done():
		}
	}()
}

func (l *loop) take(a answer) {
	l.asking = false
	l.m.err = a.err
	if a.err == nil && !l.m.paused {
		l.m.view = compare(&l.m.view.sample, a.sample)
	}
}

func (l *loop) press(b []byte) (quit bool) {
	_, height := l.t.size()
	for len(b) > 0 {
		k, n := readKey(b)
		if l.m.press(k, height/2) {
			return true
		}
		b = b[n:]
	}
	return false
}

func (l *loop) show(all bool) error {
	width, height := l.t.size()
	return l.t.show(l.m.draw(width, height), all)
}

// runKeys reads the terminal. It ends with the process: a read of a terminal cannot be called off.
func (l *loop) runKeys(ctx context.Context) {
	for {
		b := make([]byte, 256)
		n, err := l.t.in.Read(b)
		if err != nil {
			b, n = nil, 0
		}
		select {
		case l.keys <- b[:n]:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// runEvents follows events, also over a restart of the director.
func (l *loop) runEvents(ctx context.Context) {
	q := control.EventQuery{Limit: keptEvents}
	for ctx.Err() == nil {
		_ = l.o.Source.FollowEvents(ctx, q, func(e control.StreamEvent) bool {
			q.After = e.ID
			if e.Lost > 0 {
				return true
			}
			select {
			case l.events <- e.Event:
				return true
			case <-ctx.Done():
				return false
			}
		}) // the next sample says what is wrong
		select {
		case <-ctx.Done():
		case <-time.After(l.o.Interval):
		}
	}
}

// stripped takes the looks out of a line, and what follows it.
func stripped(text string) string {
	var out []rune
	skip := false
	for _, r := range text {
		switch {
		case r == 0x1b:
			skip = true
		case skip:
			skip = r != 'm'
		default:
			out = append(out, r)
		}
	}
	for len(out) > 0 && out[len(out)-1] == ' ' {
		out = out[:len(out)-1]
	}
	return string(out)
}
