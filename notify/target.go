package notify

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ulvs/events"
	"ulvs/internal/runner"
)

// Target is who is told: a script or a webhook.
type Target struct {
	Script  []string // the program and its arguments; or:
	Webhook string   // a URL that is posted to
	Filter  events.Filter
	Timeout time.Duration     // of one attempt
	Retries int               // after the first attempt
	Headers map[string]string // of a webhook's request
	Secret  []byte            // signs a webhook's request; none: not signed
}

// Name says who it is in logs and metrics: the program, or the webhook without path and query, which
// may hold secrets.
func (t *Target) Name() string {
	if len(t.Script) > 0 {
		return t.Script[0]
	}
	scheme, rest, _ := strings.Cut(t.Webhook, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	return scheme + "://" + host
}

// permanent marks an error that another attempt would not heal.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// deliver makes one attempt.
func (n *Notifier) deliver(ctx context.Context, t *Target, e *events.Event) error {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	if len(t.Script) > 0 {
		return n.runScript(ctx, t, e)
	}
	return n.post(ctx, t, e)
}

// runScript runs the script with the event in its environment.
func (n *Notifier) runScript(ctx context.Context, t *Target, e *events.Event) error {
	out, err := n.runner.Run(ctx, runner.Command{
		Args: append(append([]string{}, t.Script...), arguments(e)...), Env: n.environment(e),
	})
	switch {
	case err != nil:
		return err
	case out.TimedOut:
		return fmt.Errorf("killed after %v", t.Timeout)
	case out.Code < 0:
		return fmt.Errorf("ended by signal %v", out.Signal)
	case out.Code > 0:
		return fmt.Errorf("exit code %d: %s", out.Code, lastLine(out.Output))
	}
	return nil
}

// arguments are keepalived's for scripts of a VRRP instance: INSTANCE or GROUP, name, state, priority.
// Other scripts of keepalived get none.
func arguments(e *events.Event) []string {
	if e.Kind != events.VRRPTransition {
		return nil
	}
	return []string{"INSTANCE", e.Instance, e.To, fmt.Sprint(e.Count)}
}

// environment is the event as a script finds it.
func (n *Notifier) environment(e *events.Event) []string {
	env := []string{
		"ULVS_DIRECTOR=" + n.opt.Director, "ULVS_EVENT=" + string(e.Kind), "ULVS_TEXT=" + e.String(),
		"ULVS_TIME=" + e.Time.Format(time.RFC3339Nano), fmt.Sprintf("ULVS_SEQ=%d", e.Seq),
		"ULVS_SERVICE=" + e.Service, "ULVS_REAL_SERVER=" + e.RealServer, "ULVS_INSTANCE=" + e.Instance,
		"ULVS_FROM=" + e.From, "ULVS_TO=" + e.To, "ULVS_REASON=" + e.Reason, fmt.Sprintf("ULVS_COUNT=%d", e.Count),
	}
	for i := range env {
		env[i] = printable(env[i]) // a reason may hold what a real server answered
	}
	return env
}

// maxVariable bounds a variable, in bytes: the kernel refuses more than 128 KiB.
const maxVariable = 4096

func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxVariable {
		s = strings.ToValidUTF8(s[:maxVariable], "")
	}
	return s
}

func lastLine(output []byte) string {
	text := strings.TrimSpace(string(output))
	return printable(text[strings.LastIndexByte(text, '\n')+1:])
}

// retryable reports whether another attempt may heal an answer (RFC 9110, 15; 429: RFC 6585).
func retryable(status int) bool {
	return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests
}
