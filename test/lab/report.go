package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

// Report is what a client saw.
type Report struct {
	Kind         Kind           `json:"kind"`
	Target       string         `json:"target"`
	Connections  int            `json:"connections"` // opened
	OK           int            `json:"ok"`          // requests answered, payload verified
	Failed       int            `json:"failed"`      // requests not answered, or wrongly
	BytesDown    int64          `json:"bytes_down"`  // verified payload
	BytesUp      int64          `json:"bytes_up"`
	ByRealServer map[string]int `json:"by_real_server"`
	Errors       map[string]int `json:"errors,omitempty"`
	Seconds      float64        `json:"seconds"`
	ConnectUsec  Quantiles      `json:"connect_usec"`
	RequestUsec  Quantiles      `json:"request_usec"`
}

// Quantiles of a latency, in microseconds.
type Quantiles struct {
	P50 int64 `json:"p50"`
	P90 int64 `json:"p90"`
	P99 int64 `json:"p99"`
	Max int64 `json:"max"`
}

// Err returns nil when every request was answered, else an error with the counts.
func (r *Report) Err() error {
	if r.Failed == 0 && r.OK > 0 {
		return nil
	}
	return fmt.Errorf("%s %s: %d of %d requests failed: %v", r.Kind, r.Target, r.Failed, r.OK+r.Failed, r.Errors)
}

// tally collects a report from many clients.
type tally struct {
	mu       sync.Mutex
	byReal   map[string]int
	errs     map[string]int
	failed   int
	connects []time.Duration
	requests []time.Duration
}

func newTally() *tally { return &tally{byReal: map[string]int{}, errs: map[string]int{}} }

func (t *tally) connected(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.connects = append(t.connects, d)
}

func (t *tally) answered(name string, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests = append(t.requests, d)
	t.byReal[name]++
}

// failConn counts an error once and the requests that it cost.
func (t *tally) failConn(err error, lost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs[errorWord(err)]++
	t.failed += lost
}

// errorWord makes errors of the same kind one line: without ports and addresses.
func errorWord(err error) string {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return err.Error()
}

func (t *tally) report(o LoadOptions, took time.Duration) *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	ok := int64(len(t.requests))
	r := &Report{
		Kind: o.Kind, Target: o.Target.String(), Connections: len(t.connects), OK: len(t.requests), Failed: t.failed,
		ByRealServer: t.byReal, Errors: t.errs, Seconds: took.Seconds(), BytesUp: o.Upload * ok, BytesDown: o.Download * ok,
		ConnectUsec: quantiles(t.connects), RequestUsec: quantiles(t.requests),
	}
	if o.Kind != KindHTTP { // an echo
		r.BytesDown = r.BytesUp
	}
	return r
}

// quantiles sorts d.
func quantiles(d []time.Duration) Quantiles {
	if len(d) == 0 {
		return Quantiles{}
	}
	slices.Sort(d)
	at := func(percent int) int64 { return d[(len(d)-1)*percent/100].Microseconds() }
	return Quantiles{at(50), at(90), at(99), at(100)}
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	_, _ = fmt.Fprintf(w, "%s %s: %d answered, %d failed on %d connections in %.2f s\n",
		r.Kind, r.Target, r.OK, r.Failed, r.Connections, r.Seconds)
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(tw, "\tp50\tp90\tp99\tmax\tus\t\n")
	for _, row := range []struct {
		name string
		q    Quantiles
	}{{"connect", r.ConnectUsec}, {"request", r.RequestUsec}} {
		_, _ = fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t\t\n", row.name, row.q.P50, row.q.P90, row.q.P99, row.q.Max)
	}
	for _, name := range sortedKeys(r.ByRealServer) {
		_, _ = fmt.Fprintf(tw, "%s\t%d\t\t\t\t\t\n", name, r.ByRealServer[name])
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, e := range sortedKeys(r.Errors) {
		_, _ = fmt.Fprintf(w, "  %d times: %s\n", r.Errors[e], e)
	}
	return nil
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
