package events

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Event is one thing that happened. Fields that do not apply are empty.
type Event struct {
	Seq        uint64    `json:"seq"`  // from 1, without gaps, since the director's start
	Time       time.Time `json:"time"` // UTC; set by Journal.Add unless given
	Kind       Kind      `json:"kind"`
	Service    string    `json:"service,omitempty"`     // as lvs.ServiceKey's String: "tcp 192.0.2.10:80"
	RealServer string    `json:"real_server,omitempty"` // address and port
	Instance   string    `json:"instance,omitempty"`    // a VRRP instance, an interface, a peer
	From       string    `json:"from,omitempty"`        // the state before
	To         string    `json:"to,omitempty"`          // the state after
	Reason     string    `json:"reason,omitempty"`      // why, in words
	Count      int64     `json:"count,omitempty"`       // of what Kind says: sessions, changes
}

// Attrs returns the event as attributes of a log line, without time and what is empty.
func (e *Event) Attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("event", string(e.Kind))}
	for _, f := range []struct{ key, value string }{
		{"service", e.Service}, {"real_server", e.RealServer}, {"instance", e.Instance},
		{"from", e.From}, {"to", e.To}, {"reason", e.Reason},
	} {
		if f.value != "" {
			attrs = append(attrs, slog.String(f.key, f.value))
		}
	}
	if e.Count != 0 {
		attrs = append(attrs, slog.Int64("count", e.Count))
	}
	return attrs
}

// String is the event in one line of words, without its time.
func (e *Event) String() string {
	words := []string{string(e.Kind)}
	for _, w := range []string{e.Instance, e.Service, e.RealServer} {
		if w != "" {
			words = append(words, w)
		}
	}
	if e.From != "" || e.To != "" {
		words = append(words, e.From+" -> "+e.To)
	}
	if e.Count != 0 {
		words = append(words, "("+strconv.FormatInt(e.Count, 10)+")")
	}
	line := strings.Join(words, " ")
	if e.Reason != "" {
		line += ": " + e.Reason
	}
	return line
}

// Filter says which events are wanted. The zero Filter wants all.
type Filter struct {
	Kinds   []Kind // none: all
	Service string // a part of Event.Service, as "192.0.2.10:80"; empty: all
}

// Takes reports whether the filter wants e.
func (f *Filter) Takes(e *Event) bool {
	if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.Kind) {
		return false
	}
	return strings.Contains(e.Service, f.Service)
}
