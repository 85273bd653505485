package health

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"ulvs/internal/runner"
	"ulvs/lvs"
)

// Check is a resolved Spec, ready to run. It is immutable and may be shared by real servers.
type Check struct {
	Spec
	pages   []page
	payload []byte // nil: random bytes
	reply   pattern
	record  dnsmessage.Type
	name    dnsmessage.Name
}

// page is a URL, ready to be compared with.
type page struct {
	URL
	status []statusRange
	match  *regexp.Regexp // nil: any body
}

// NewCheck resolves s as a check of a service's real servers. The error is what Validate finds.
func NewCheck(s Spec, c Common, service lvs.ServiceKey) (*Check, error) {
	var errs []error
	for _, p := range s.Validate(netip.AddrPort{}) {
		errs = append(errs, fmt.Errorf("%s: %s", p.Key, p.Words))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	check := &Check{Spec: s.Resolve(c, service)}
	for _, u := range check.URLs {
		p := page{URL: u}
		p.Digest = strings.ToLower(u.Digest)
		p.status, _ = parseStatus(u.StatusCode) // validated, as all that follows
		if u.Regex != "" {
			p.match = regexp.MustCompile(u.Regex)
		}
		check.pages = append(check.pages, p)
	}
	if check.Payload != "" {
		check.payload, _ = hex.DecodeString(check.Payload)
	}
	check.reply, _ = parsePattern(check.Reply)
	check.record = recordTypes()[strings.ToUpper(check.Record)]
	check.name, _ = queryName(check.Name)
	return check, nil
}

// Equal reports whether c and other check the same.
func (c *Check) Equal(other *Check) bool { return c == other || c.Spec.Equal(&other.Spec) }

// Probe is one question to a real server.
type Probe struct {
	Check  *Check
	Target Target
	URL    int // which of the check's URLs
	// Diagnose asks for the reason behind a failure on the path, for which the server is asked once
	// more at its own address.
	Diagnose bool
}

// Prober asks real servers.
type Prober struct {
	Dialer Dialer
	Runner *runner.Runner // of script checks
}

// Ask asks one real server and waits for its answer, at most for a few times the check's timeout. When
// ctx ends first the result is inconclusive.
func (p *Prober) Ask(ctx context.Context, q Probe) Result {
	began := time.Now()
	r := p.ask(ctx, &q)
	if !r.OK && q.Diagnose && q.Target.Via == ViaPath && r.Reason != ReasonLocal {
		r = p.diagnose(ctx, &q, r)
	}
	if ctx.Err() != nil {
		r = failed(ReasonLocal, "given up")
	}
	r.Latency = time.Since(began)
	return r
}

func (p *Prober) ask(ctx context.Context, q *Probe) Result {
	switch q.Check.Kind {
	case KindPing:
		return ping(ctx, q)
	case KindScript:
		return p.script(ctx, q)
	case KindFile:
		return file(q.Check)
	}
	conn, r := p.dial(ctx, q)
	if conn == nil {
		return r
	}
	defer conn.Close()
	if q.Check.Kind == KindTCP {
		return good()
	}
	_ = conn.SetDeadline(time.Now().Add(q.Check.ConnectTimeout.Value))
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	switch q.Check.Kind {
	case KindHTTP, KindHTTPS:
		return fetch(conn, q)
	case KindUDP:
		return datagram(conn, q.Check)
	case KindDNS:
		return query(conn, q.Check)
	case KindSMTP:
		return mail(conn, q.Check)
	}
	return failed(ReasonLocal, "no such check")
}

func (p *Prober) dial(ctx context.Context, q *Probe) (net.Conn, Result) {
	ctx, cancel := context.WithTimeout(ctx, q.Check.ConnectTimeout.Value)
	defer cancel()
	conn, err := p.Dialer.DialContext(ctx, q.Check.Kind.network(), q.Target)
	if err != nil {
		return nil, failure(err)
	}
	return conn, Result{}
}

func good() Result { return Result{OK: true} }

// failed is a failure with words of ours, which may hold words of the server's.
func failed(why Reason, format string, args ...any) Result {
	return Result{Reason: why, Detail: oneLine(fmt.Sprintf(format, args...))}
}

// failure names an error of a connection.
func failure(err error) Result {
	switch why := reasonOf(err); why {
	case ReasonRefused, ReasonTimeout, ReasonReset, ReasonClosed:
		return Result{Reason: why} // says it all
	default:
		return failed(why, "%v", bareError(err))
	}
}

// bareError is err without the operation and the addresses, which are known.
func bareError(err error) error {
	if e := (*net.OpError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

func reasonOf(err error) Reason {
	var timeout interface{ Timeout() bool }
	switch {
	case isAny(err, syscall.ECONNREFUSED):
		return ReasonRefused
	case isAny(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.EPERM,
		syscall.EACCES, syscall.ENOPROTOOPT):
		return ReasonUnreachable
	case isAny(err, syscall.ECONNRESET, syscall.EPIPE):
		return ReasonReset
	case isAny(err, syscall.ETIMEDOUT, context.DeadlineExceeded, os.ErrDeadlineExceeded):
		return ReasonTimeout
	case isAny(err, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed):
		return ReasonClosed
	case errors.As(err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	}
	return ReasonLocal
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// oneLine makes text fit for a log: one line of printable characters, at most MaxDetail bytes.
func oneLine(text string) string {
	text = strings.ToValidUTF8(text, "?")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, text)
	if len(text) > MaxDetail {
		text = strings.ToValidUTF8(text[:MaxDetail-3], "") + "..."
	}
	return strings.TrimSpace(text)
}
