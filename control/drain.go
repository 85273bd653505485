package control

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"ulvs/lvs"
)

// ServiceName returns the name of a service that people call in one of several ways, see lvs.ParseServiceKey.
func ServiceName(text string) (string, error) {
	key, err := lvs.ParseServiceKey(text)
	return key.Name(), err
}

// Drainer is an Editor that takes real servers out of use gently. Its methods are called concurrently.
type Drainer interface {
	// Drain begins; the error says which service or real server is unknown.
	Drain(r DrainRequest) ([]Drain, error)
	// Enable is the opposite.
	Enable(r DrainRequest) ([]Drain, error)
	// Drains returns what is being drained or is drained.
	Drains() []Drain
}

// DrainRequest is the body of POST /v1/drain and /v1/enable.
type DrainRequest struct {
	Service        string         `json:"service"`         // "tcp 192.0.2.10:80", see lvs.ParseServiceKey
	RealServer     netip.AddrPort `json:"real_server"`     // port 0: of any port
	All            bool           `json:"all"`             // of every service; Service is ignored
	TimeoutSeconds int64          `json:"timeout_seconds"` // of a drain; 0: at once
}

// Drain is how far the draining of a real server has got.
type Drain struct {
	Service      string         `json:"service"`
	RealServer   netip.AddrPort `json:"real_server"`
	State        string         `json:"state"`
	SessionsLeft int64          `json:"sessions_left"`
	SecondsLeft  int64          `json:"seconds_left"` // until it is drained anyway
}

var errNoDrainer = errors.New("this director cannot drain")

func (s *Server) routeDrain(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/drains", s.withEditor(func(w http.ResponseWriter, _ *http.Request, e Editor) {
		if d, ok := e.(Drainer); ok {
			s.answer(w, http.StatusOK, notNil(d.Drains()))
			return
		}
		s.refuse(w, http.StatusNotImplemented, errNoDrainer)
	}))
	mux.HandleFunc("POST /v1/drain", s.asAdmin(s.drainer(Drainer.Drain)))
	mux.HandleFunc("POST /v1/enable", s.asAdmin(s.drainer(Drainer.Enable)))
	mux.HandleFunc("/v1/drains", s.onlyMethod(http.MethodGet))
	mux.HandleFunc("/v1/drain", s.onlyMethod(http.MethodPost))
	mux.HandleFunc("/v1/enable", s.onlyMethod(http.MethodPost))
}

func (s *Server) drainer(do func(Drainer, DrainRequest) ([]Drain, error)) editorHandler {
	return command(s, errNoDrainer, func(d Drainer, req DrainRequest) ([]Drain, error) {
		out, err := do(d, req)
		return notNil(out), err
	})
}

// Drain begins to take real servers out of use.
func (c *Client) Drain(ctx context.Context, r DrainRequest) (out []Drain, err error) {
	return out, c.exchange(ctx, "/v1/drain", r, &out)
}

// Enable takes drained real servers into use again.
func (c *Client) Enable(ctx context.Context, r DrainRequest) (out []Drain, err error) {
	return out, c.exchange(ctx, "/v1/enable", r, &out)
}

// Drains asks for what is being drained or is drained.
func (c *Client) Drains(ctx context.Context) (out []Drain, err error) {
	return out, c.call(ctx, "/v1/drains", nil, &out)
}
