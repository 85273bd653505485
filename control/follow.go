package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ulvs/events"
)

// maxEventLine bounds a line of a stream.
const maxEventLine = 1 << 20

// StreamEvent is what a stream of events delivers: an event, or how many were lost before the next one.
type StreamEvent struct {
	ID    string // to go on after it
	Event events.Event
	Lost  uint64 // then Event is empty
}

// RecentEvents returns events that are kept, the newest last.
func (c *Client) RecentEvents(ctx context.Context, q EventQuery) (list []events.Event, err error) {
	values := q.values()
	values.Set(paramFollow, "0")
	return list, c.call(ctx, "/v1/events", values, &list)
}

// FollowEvents calls fn for every event that q selects until fn returns false, ctx ends or the
// director does. Only in the first case the error is nil.
func (c *Client) FollowEvents(ctx context.Context, q EventQuery, fn func(StreamEvent) bool) error {
	body, err := c.get(ctx, "/v1/events", q.values())
	if err != nil {
		return err
	}
	defer body.Close()
	err = readEvents(body, fn)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("events from %s: %w", c.path, err)
}

// readEvents reads server-sent events (HTML standard, 9.2.6) as Events writes them.
func readEvents(r io.Reader, fn func(StreamEvent) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEventLine)
	var e StreamEvent
	var data []byte
	kind := ""
	for lines.Scan() {
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			e.ID = string(value)
		case "event":
			kind = string(value)
		case "data":
			data = append(data[:0], value...)
		case "":
			if len(lines.Bytes()) > 0 || len(data) == 0 {
				continue // a comment, or nothing to deliver
			}
			if err := e.decode(kind, data); err != nil {
				return err
			}
			if !fn(e) {
				return nil
			}
			data, kind = data[:0], ""
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errStreamEnded
}

var errStreamEnded = errors.New("the stream ended")

func (e *StreamEvent) decode(kind string, data []byte) error {
	e.Event, e.Lost = events.Event{}, 0
	if kind == "lost" {
		var lost struct{ Lost uint64 }
		if err := json.Unmarshal(data, &lost); err != nil {
			return fmt.Errorf("not an event: %w", err)
		}
		e.Lost = lost.Lost
		return nil
	}
	if err := json.Unmarshal(data, &e.Event); err != nil {
		return fmt.Errorf("not an event: %w", err)
	}
	return nil
}
