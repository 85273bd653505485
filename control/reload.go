package control

import (
	"context"
	"errors"
	"net/http"

	"ulvs/config"
)

// Reloader is an Editor with a configuration file. Its methods are called concurrently.
type Reloader interface {
	// Reload reads the file again and applies what differs. On error nothing has changed.
	Reload() (Reloaded, error)
	// Running returns what runs, to be saved.
	Running() Running
	// Saved says that the file was written: from now on edits are compared with it.
	Saved() error
}

// Reloaded is what a reload did, in words.
type Reloaded struct {
	Changes        []string `json:"changes"`
	DiscardedEdits int      `json:"discarded_edits"` // made by hand, not saved, and undone
	NeedsRestart   []string `json:"needs_restart"`   // keys of [node] that differ; they are as before
}

// Running is what a director does now and what its file said when it was last read or written.
type Running struct {
	ConfigPath string       `json:"config_path"`
	Running    config.State `json:"running"`
	Loaded     config.State `json:"loaded"`
}

var errNoReloader = errors.New("this director has no configuration file")

// routeReload adds the paths about the configuration file.
func (s *Server) routeReload(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/reload", s.asAdmin(s.withReloader(s.reload)))
	mux.HandleFunc("GET /v1/running", s.withEditor(s.withReloader(s.running)))
	mux.HandleFunc("POST /v1/saved", s.asAdmin(s.withReloader(s.saved)))
	mux.HandleFunc("/v1/reload", s.onlyMethod(http.MethodPost))
	mux.HandleFunc("/v1/running", s.onlyMethod(http.MethodGet))
	mux.HandleFunc("/v1/saved", s.onlyMethod(http.MethodPost))
}

func (s *Server) withReloader(h func(w http.ResponseWriter, r Reloader)) editorHandler {
	return func(w http.ResponseWriter, _ *http.Request, e Editor) {
		r, ok := e.(Reloader)
		if !ok {
			s.refuse(w, http.StatusNotImplemented, errNoReloader)
			return
		}
		h(w, r)
	}
}

func (s *Server) reload(w http.ResponseWriter, r Reloader) {
	out, err := r.Reload()
	if err != nil {
		s.refuse(w, http.StatusConflict, err)
		return
	}
	out.Changes, out.NeedsRestart = notNil(out.Changes), notNil(out.NeedsRestart)
	s.answer(w, http.StatusOK, out)
}

func (s *Server) running(w http.ResponseWriter, r Reloader) {
	out := r.Running()
	out.Running.Services, out.Loaded.Services = notNil(out.Running.Services), notNil(out.Loaded.Services)
	s.answer(w, http.StatusOK, out)
}

func (s *Server) saved(w http.ResponseWriter, r Reloader) {
	if err := r.Saved(); err != nil {
		s.refuse(w, http.StatusConflict, err)
		return
	}
	s.answer(w, http.StatusOK, struct{}{})
}

// Reload has the director read its file again. The error of a file with errors names all of them.
func (c *Client) Reload(ctx context.Context) (out Reloaded, err error) {
	return out, c.exchange(ctx, "/v1/reload", struct{}{}, &out)
}

// Running asks for what runs.
func (c *Client) Running(ctx context.Context) (out Running, err error) {
	return out, c.call(ctx, "/v1/running", nil, &out)
}

// Saved tells the director that its file was written.
func (c *Client) Saved(ctx context.Context) error { return c.post(ctx, "/v1/saved", struct{}{}) }
