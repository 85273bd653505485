package director

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"ulvs/control"
	"ulvs/events"
	"ulvs/lvs"
)

// runJournalLog writes every event into the log, until ctx ends and all that were added before are
// written. It is the journal's reader and not its writer, so that a log that nobody reads delays nothing else.
func runJournalLog(ctx context.Context, s *events.Subscription, log *slog.Logger) {
	defer s.Close()
	for lost := uint64(0); ; {
		e, err := s.Next(ctx, &events.Filter{})
		if err != nil {
			return
		}
		if n := s.Lost(); n > lost {
			log.Warn("events were faster than the log", "lost", n-lost)
			lost = n
		}
		words := strings.ReplaceAll(string(e.Kind), "_", " ")
		log.LogAttrs(context.Background(), events.InfoOf(e.Kind).Level, words, e.Attrs()...)
	}
}

// startJournalLog begins runJournalLog; stop ends it when everything is written.
func (d *director) startJournalLog() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s := d.journal.Subscribe(0)
	go func() {
		defer close(done)
		runJournalLog(ctx, s, d.log)
	}()
	return func() {
		cancel()
		<-done
	}
}

// editEvent is what the journal says of an edit that was made. What leaves the services as they are
// is not worth an event: Kind is empty.
func editEvent(e *lvs.Edit) events.Event {
	out := events.Event{Service: e.Key.String(), Reason: "edited by hand"}
	switch e.Op {
	case lvs.EditAddService:
		out.Kind, out.To = events.ServiceAdded, e.Service.Scheduler
	case lvs.EditDelService:
		out.Kind = events.ServiceRemoved
	case lvs.EditSetService:
		out.Kind, out.To = events.ConfigEdited, e.Service.Scheduler
	case lvs.EditAddDest:
		out.Kind, out.RealServer, out.To = events.ServerAdded, e.Dest.AddrPort().String(), weightWord(&e.Dest)
	case lvs.EditSetDest:
		out.Kind, out.RealServer, out.To = events.ConfigEdited, e.Dest.AddrPort().String(), weightWord(&e.Dest)
	case lvs.EditDelDest:
		out.Kind, out.RealServer = events.ServerRemoved, e.Dest.AddrPort().String()
	case lvs.EditFlush:
		return events.Event{Kind: events.ConfigEdited, Reason: "all services removed by hand"}
	case lvs.EditTimeouts:
		return events.Event{Kind: events.ConfigEdited, Reason: fmt.Sprintf("timeouts %v s edited by hand", e.Timeouts)}
	default:
		return events.Event{}
	}
	return out
}

func weightWord(d *lvs.Destination) string { return fmt.Sprintf("weight %d", d.Weight) }

// journalEdit tells of an edit.
func (n *Node) journalEdit(e *lvs.Edit) {
	if ev := editEvent(e); ev.Kind != "" {
		n.journal.Add(ev)
	}
}

// journalInterfaces tells which of the configured interfaces went, and which came back.
func journalInterfaces(j *events.Journal, wereMissing, missing []string) {
	for _, name := range missing {
		if !slices.Contains(wereMissing, name) {
			j.Add(events.Event{Kind: events.InterfaceGone, Instance: name, Reason: "out of service until it returns"})
		}
	}
	for _, name := range wereMissing {
		if !slices.Contains(missing, name) {
			j.Add(events.Event{Kind: events.InterfaceReturned, Instance: name})
		}
	}
}

// journalReload tells of a reload, or of its refusal.
func journalReload(j *events.Journal, out control.Reloaded, err error) {
	if err != nil {
		j.Add(events.Event{Kind: events.ConfigRefused, Reason: firstLines(err.Error(), 3)})
		return
	}
	var words []string
	if out.DiscardedEdits > 0 {
		words = append(words, fmt.Sprintf("%d edits by hand were discarded", out.DiscardedEdits))
	}
	if len(out.NeedsRestart) > 0 {
		words = append(words, "needs a restart: "+strings.Join(out.NeedsRestart, ", "))
	}
	j.Add(events.Event{Kind: events.ConfigReloaded, Count: int64(len(out.Changes)), Reason: strings.Join(words, "; ")})
}

// firstLines shortens text to n lines, joined.
func firstLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > n {
		lines = append(lines[:n:n], fmt.Sprintf("and %d lines more", len(lines)-n))
	}
	return strings.Join(lines, "; ")
}

// Journal implements control.Journaler.
func (d *director) Journal() *events.Journal { return d.journal }

var _ control.Journaler = (*director)(nil)
