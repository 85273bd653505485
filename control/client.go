package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// ErrNotRunning means that nobody answers on the control socket.
var ErrNotRunning = errors.New("is it running? start it with: ulvs run FILE")

const (
	callTimeout   = 10 * time.Second
	maxBodyBytes  = 1 << 30 // a million real servers with all their counters
	maxErrorBytes = 64 << 10
)

// Client asks a running director. Its methods may be called concurrently.
type Client struct {
	path string
	http http.Client
}

// NewClient makes a client for the control socket at path. Nothing is opened until a call.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{path, http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks for the director as a whole.
func (c *Client) Status(ctx context.Context) (st Status, err error) {
	return st, c.call(ctx, "/v1/status", nil, &st)
}

// Services asks for the services that f selects.
func (c *Client) Services(ctx context.Context, f ServiceFilter) (list []Service, err error) {
	return list, c.call(ctx, "/v1/services", f.values(), &list)
}

// Conns calls fn for each session that f selects until fn returns false. A session that begins or
// ends meanwhile may be there or not.
func (c *Client) Conns(ctx context.Context, f ConnFilter, fn func(Conn) bool) error {
	ctx, cancel := context.WithTimeout(ctx, StreamTimeout)
	defer cancel()
	body, err := c.get(ctx, "/v1/conns", f.values())
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var conn Conn
		if err := dec.Decode(&conn); err != nil {
			return c.streamEnd(err)
		}
		if !fn(conn) {
			return nil
		}
	}
}

// streamEnd tells the end of a list from a broken one.
func (c *Client) streamEnd(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &syntax), errors.As(err, &kind):
		return c.notUlvs(err)
	}
	return fmt.Errorf("the list of sessions from %s is cut off: %w", c.path, err)
}

// call asks once and decodes the whole answer.
func (c *Client) call(ctx context.Context, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := c.get(ctx, path, query)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxBodyBytes)).Decode(v); err != nil {
		return c.notUlvs(err)
	}
	return nil
}

// get returns the body of a good answer; the caller closes it.
func (c *Client) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	resp, err := c.response(ctx, http.MethodGet, path, query)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// response returns a good answer; the caller closes its body.
func (c *Client) response(ctx context.Context, method, path string, query url.Values) (*http.Response, error) {
	target := url.URL{Scheme: "http", Host: "ulvs", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refusal(resp)
}

// refusal is the error of an answer that is not 200.
func (c *Client) refusal(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	var f failure
	if err != nil || json.Unmarshal(bytes.TrimSpace(text), &f) != nil || f.Error == "" {
		return c.notUlvs(fmt.Errorf("it answers %s", resp.Status))
	}
	return &refusedError{f}
}

// refusedError is an answer that says why not.
type refusedError struct{ failure }

// Error returns the director's words.
func (e *refusedError) Error() string { return "ulvs refuses: " + e.failure.Error }

// explain says what to do about a call that got no answer.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no ulvs answers on %s: %w", c.path, ErrNotRunning)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied; run as root or as a member of the socket's group", c.path)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("ulvs on %s did not answer in time; see its log (SIGKILL is safe: the kernel "+
			"takes the XDP program away)", c.path)
	}
	return fmt.Errorf("ask %s: %w", c.path, err)
}

func (c *Client) notUlvs(err error) error {
	return fmt.Errorf("what answers on %s is not this version's ulvs: %w", c.path, err)
}
