package health

import (
	"bufio"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Limits of an HTTP answer: more counts as a failure.
const (
	maxHeaderBytes = 64 << 10
	maxBodyBytes   = 4 << 20
	maxRegexBytes  = 1 << 20 // of the body that a regex is matched against
)

// fetch asks for one page. Redirects are not followed: their status is judged as any other.
func fetch(conn net.Conn, q *Probe) (r Result) {
	p := &q.Check.pages[q.URL]
	if q.Check.Kind == KindHTTPS {
		t := tls.Client(conn, &tls.Config{
			// keepalived's way: a check asks for life, clients judge the certificate.
			InsecureSkipVerify: true, MinVersion: tls.VersionTLS10,
			ServerName: orText(q.Check.SNI, hostOnly(p.VirtualHost)),
		})
		if err := t.Handshake(); err != nil {
			return handshakeFailure(err)
		}
		expires := t.ConnectionState().PeerCertificates[0].NotAfter
		defer func() { r.Expires = expires }()
		conn = t
	}
	if _, err := io.WriteString(conn, request(q, p)); err != nil {
		return failure(err)
	}
	b := &bounded{Conn: conn, left: maxHeaderBytes}
	response, r := header(b)
	if response == nil {
		return r
	}
	b.left = maxBodyBytes + maxBodyBytes/2 // chunks have headers of their own
	return p.judge(response, b)
}

func handshakeFailure(err error) Result {
	switch why := reasonOf(err); why {
	case ReasonTimeout, ReasonReset, ReasonClosed:
		return failed(why, "in the TLS handshake")
	default:
		return failed(ReasonTLS, "%v", err)
	}
}

// hostOnly is a virtual host without its port.
func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// request is what keepalived sends.
func request(q *Probe, p *page) string {
	version, extra := "1.0", ""
	switch q.Check.HTTPProtocol {
	case "1.0C":
		extra = "Connection: close\r\n"
	case "1.1":
		version, extra = "1.1", "Connection: close\r\n"
	}
	host := p.VirtualHost
	if host == "" {
		host = hostOf(q.Target.Address, q.Check.Kind)
	}
	return fmt.Sprintf("GET %s HTTP/%s\r\nUser-Agent: KeepAliveClient\r\n%sHost: %s\r\n\r\n", p.Path, version, extra, host)
}

// hostOf is an address as HTTP names it: without the port that goes without saying.
func hostOf(ap netip.AddrPort, kind Kind) string {
	if kind == KindHTTP && ap.Port() == 80 || kind == KindHTTPS && ap.Port() == 443 {
		if ap.Addr().Is6() {
			return "[" + ap.Addr().String() + "]"
		}
		return ap.Addr().String()
	}
	return ap.String()
}

// header reads up to the body, past any interim answers.
func header(b *bounded) (*http.Response, Result) {
	buffered := bufio.NewReader(b)
	for {
		response, err := http.ReadResponse(buffered, &http.Request{Method: http.MethodGet})
		switch {
		case err != nil && b.left <= 0:
			return nil, failed(ReasonTooLong, "more than %d bytes of headers", maxHeaderBytes)
		case err != nil && b.reason(err) == ReasonGarbage:
			return nil, failed(ReasonGarbage, "%v", err)
		case err != nil:
			return nil, Result{Reason: b.reason(err)}
		case response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols:
			return response, Result{}
		}
	}
}

// judge compares status, length, digest and text.
func (p *page) judge(response *http.Response, b *bounded) Result {
	if !p.accepts(response.StatusCode) {
		return failed(ReasonStatus, "%s, want %s", response.Status, p.StatusCode)
	}
	sum := md5.New()
	var text strings.Builder
	var sink io.Writer = sum
	if p.match != nil {
		sink = io.MultiWriter(sum, &prefix{to: &text, left: maxRegexBytes})
	}
	n, err := io.Copy(sink, io.LimitReader(response.Body, maxBodyBytes+1))
	switch {
	case n > maxBodyBytes || b.left <= 0:
		return failed(ReasonTooLong, "more than %d bytes of body", maxBodyBytes)
	case err != nil && errors.Is(err, io.ErrUnexpectedEOF) && untilClose(response):
		// TLS without close_notify, which keepalived accepts as well
	case err != nil && b.reason(err) == ReasonGarbage:
		return failed(ReasonGarbage, "%v", err)
	case err != nil:
		return failed(b.reason(err), "after %d bytes of the body", n)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); p.Digest != "" && got != p.Digest {
		return failed(ReasonDigest, "%s, want %s", got, p.Digest)
	}
	if p.match != nil && !p.match.MatchString(text.String()) {
		return failed(ReasonRegex, "of %.100q in %d bytes", p.Regex, n)
	}
	return good()
}

func (p *page) accepts(code int) bool {
	for _, r := range p.status {
		if code >= r.low && code <= r.high {
			return true
		}
	}
	return false
}

// untilClose reports whether the end of the connection ends the body.
func untilClose(r *http.Response) bool { return r.ContentLength < 0 && len(r.TransferEncoding) == 0 }

// prefix passes the first bytes on and drops the others.
type prefix struct {
	to   io.Writer
	left int
}

func (p *prefix) Write(b []byte) (int, error) {
	n := min(len(b), p.left)
	p.left -= n
	if _, err := p.to.Write(b[:n]); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ExpiringSoon reports whether the certificate that a check saw is due for a warning.
func (c *Check) ExpiringSoon(r *Result, now time.Time) bool {
	return c.ExpiryWarning > 0 && !r.Expires.IsZero() && now.Add(c.ExpiryWarning).After(r.Expires)
}
