package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"ulvs/lvs"
)

// Editor is a Backend that can be changed, and listed as ipvsadm does. Its methods are called
// concurrently.
type Editor interface {
	// Edit makes one change. A refusal that a kernel knows is a *lvs.EditError.
	Edit(e *lvs.Edit) error
	// Listing returns what ipvsadm lists.
	Listing() Listing
	// ListedConns calls fn for each session until fn returns false, within StreamTimeout.
	ListedConns(fn func(ListedConn) bool)
	// SetSetting changes a sysctl by its kernel name. The error says what would be right.
	SetSetting(name string, value int) error
}

// Setting is the body of POST /v1/settings.
type Setting struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

// SettingNames returns the names of all settings, sorted.
func SettingNames() []string { return lvs.SettingNames() }

// errNoEditor is the answer of a director that cannot be changed.
var errNoEditor = errors.New("this director cannot be changed while it runs")

// routeIPVS adds the paths of ipvsadm.
func (s *Server) routeIPVS(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/ipvs/edit", s.asAdmin(s.edit))
	mux.HandleFunc("GET /v1/ipvs/listing", s.withEditor(s.listing))
	mux.HandleFunc("GET /v1/ipvs/conns", s.withEditor(s.listedConns))
	mux.HandleFunc("POST /v1/settings", s.asAdmin(s.setSetting))
	for path, method := range map[string]string{"/v1/ipvs/edit": http.MethodPost, "/v1/ipvs/listing": http.MethodGet,
		"/v1/ipvs/conns": http.MethodGet, "/v1/settings": http.MethodPost} {
		mux.HandleFunc(path, s.onlyMethod(method))
	}
}

// editorHandler is a handler that needs an Editor.
type editorHandler func(w http.ResponseWriter, r *http.Request, e Editor)

func (s *Server) withEditor(h editorHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e, ok := s.backend.(Editor)
		if !ok {
			s.refuse(w, http.StatusNotImplemented, errNoEditor)
			return
		}
		if q := newQuery(r.URL.Query()); q.err != nil {
			s.refuse(w, http.StatusBadRequest, q.err)
			return
		}
		h(w, r, e)
	}
}

// command handles a request that has a body, for a backend that can do more than an Editor: none is the answer of one
// that cannot.
func command[Backend, Request, Answer any](s *Server, none error,
	do func(Backend, Request) (Answer, error)) editorHandler {
	return func(w http.ResponseWriter, r *http.Request, e Editor) {
		b, ok := e.(Backend)
		if !ok {
			s.refuse(w, http.StatusNotImplemented, none)
			return
		}
		var req Request
		if err := decodeStrict(r.Body, &req); err != nil {
			s.refuse(w, http.StatusBadRequest, fmt.Errorf("the request cannot be read: %w", err))
			return
		}
		out, err := do(b, req)
		if err != nil {
			s.refuse(w, http.StatusConflict, err)
			return
		}
		s.answer(w, http.StatusOK, out)
	}
}

func (s *Server) edit(w http.ResponseWriter, r *http.Request, e Editor) {
	var edit lvs.Edit
	if err := decodeStrict(r.Body, &edit); err != nil {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("the edit cannot be read: %w", err))
		return
	}
	err := e.Edit(&edit)
	var refused *lvs.EditError
	switch {
	case err == nil:
		s.answer(w, http.StatusOK, struct{}{})
	case errors.As(err, &refused):
		s.refuseErrno(w, http.StatusConflict, err, refused.Errno)
	default:
		s.refuse(w, http.StatusConflict, err)
	}
}

func (s *Server) setSetting(w http.ResponseWriter, r *http.Request, e Editor) {
	var v Setting
	if err := decodeStrict(r.Body, &v); err != nil {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("the setting cannot be read: %w", err))
		return
	}
	if err := e.SetSetting(v.Name, v.Value); err != nil {
		s.refuse(w, http.StatusBadRequest, err)
		return
	}
	s.answer(w, http.StatusOK, struct{}{})
}

// decodeStrict reads one JSON value with no unknown fields and nothing after it.
func decodeStrict(body io.Reader, v any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

func (s *Server) listing(w http.ResponseWriter, _ *http.Request, e Editor) {
	l := e.Listing()
	l.Services, l.Daemons = notNil(l.Services), notNil(l.Daemons)
	for i := range l.Services {
		l.Services[i].Destinations = notNil(l.Services[i].Destinations)
		l.Services[i].Service.Destinations = notNil(l.Services[i].Service.Destinations)
	}
	s.answer(w, http.StatusOK, l)
}

func (s *Server) listedConns(w http.ResponseWriter, r *http.Request, e Editor) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(StreamTimeout)) // see conns
	buf := bufio.NewWriterSize(w, streamBuffer)
	enc := json.NewEncoder(buf)
	var err error
	e.ListedConns(func(c ListedConn) bool {
		if err = enc.Encode(c); err == nil {
			err = r.Context().Err()
		}
		return err == nil
	})
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's way to cut the answer off; it recovers this
	}
}

// IPVS is a Client as package ipvsadm needs it.
type IPVS struct {
	c   *Client
	ctx context.Context
}

// IPVS returns the client's view as ipvsadm; calls end with ctx.
func (c *Client) IPVS(ctx context.Context) IPVS { return IPVS{c, ctx} }

// Edit makes one change. A refusal that a kernel knows is a *lvs.EditError.
func (v IPVS) Edit(e *lvs.Edit) error {
	err := v.c.post(v.ctx, "/v1/ipvs/edit", e)
	var refused *refusedError
	if errors.As(err, &refused) && refused.Errno != 0 {
		return &lvs.EditError{Op: e.Op, Errno: syscall.Errno(refused.Errno)}
	}
	return err
}

// Listing returns everything but the sessions.
func (v IPVS) Listing() (l Listing, err error) {
	return l, v.c.call(v.ctx, "/v1/ipvs/listing", nil, &l)
}

// Conns calls fn for each session until fn returns false.
func (v IPVS) Conns(fn func(ListedConn) bool) error {
	ctx, cancel := context.WithTimeout(v.ctx, StreamTimeout)
	defer cancel()
	body, err := v.c.get(ctx, "/v1/ipvs/conns", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var conn ListedConn
		if err := dec.Decode(&conn); err != nil {
			return v.c.streamEnd(err)
		}
		if !fn(conn) {
			return nil
		}
	}
}

// SetSetting changes a sysctl of net.ipv4.vs by its kernel name.
func (c *Client) SetSetting(ctx context.Context, name string, value int) error {
	return c.post(ctx, "/v1/settings", Setting{name, value})
}

// post sends v as JSON; a good answer says nothing more.
func (c *Client) post(ctx context.Context, path string, v any) error {
	return c.exchange(ctx, path, v, nil)
}

// exchange sends v as JSON and decodes the answer into out, unless that is nil.
func (c *Client) exchange(ctx context.Context, path string, v, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.converse(ctx, path, v, out)
}

// converse is exchange for what may take as long as ctx.
func (c *Client) converse(ctx context.Context, path string, v, out any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.path, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://ulvs"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.refusal(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBodyBytes)).Decode(out); err != nil {
		return c.notUlvs(err)
	}
	return nil
}
