package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Limits of the server.
const (
	maxRequestBytes = 64 << 10 // a body
	maxHeaderBytes  = 16 << 10
	requestTimeout  = 5 * time.Second // to send a request
	answerTimeout   = 30 * time.Second
	// StreamTimeout ends a stream of sessions to a client that does not keep up: the walk holds
	// back the reuse of entries in the connection table.
	StreamTimeout = 60 * time.Second
	streamBuffer  = 64 << 10
)

// Server answers on the control socket.
type Server struct {
	backend Backend
	log     *slog.Logger
	http    http.Server
	isAdmin func(peer) bool // inAdmins, or a test's
}

// NewServer makes a server for b.
func NewServer(b Backend, log *slog.Logger) *Server {
	s := &Server{backend: b, log: log, isAdmin: inAdmins}
	s.http = http.Server{
		Handler:           s.Handler(),
		ReadTimeout:       requestTimeout,
		ReadHeaderTimeout: requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       answerTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers on l until Close or Shutdown; then it returns nil. It closes l.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// Shutdown stops listening, and returns when the running requests are answered or ctx is done.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

// Close stops at once.
func (s *Server) Close() error { return s.http.Close() }

// Handler returns the API without a socket.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/services", s.services)
	mux.HandleFunc("GET /v1/conns", s.conns)
	for _, path := range []string{"/v1/status", "/v1/services", "/v1/conns"} {
		mux.HandleFunc(path, s.onlyMethod(http.MethodGet))
	}
	s.routeIPVS(mux)
	s.routeReload(mux)
	s.routeUpgrade(mux)
	s.routeDrain(mux)
	s.routeEdit(mux)
	s.routeEvents(mux)
	s.routeMetrics(mux)
	s.routeCapture(mux)
	s.routeTrace(mux)
	s.routeVRRP(mux)
	s.routeSync(mux)
	s.routeHealth(mux)
	mux.HandleFunc("/", s.unknownPath)
	small, large := http.MaxBytesHandler(mux, maxRequestBytes), http.MaxBytesHandler(mux, maxEditBytes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/edit" {
			large.ServeHTTP(w, r)
			return
		}
		small.ServeHTTP(w, r)
	})
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	if q := newQuery(r.URL.Query()); q.err != nil {
		s.refuse(w, http.StatusBadRequest, q.err)
		return
	}
	st := s.backend.Status()
	st.Workers, st.Ports, st.Verdicts = notNil(st.Workers), notNil(st.Ports), notNil(st.Verdicts)
	for i := range st.Workers {
		st.Workers[i].Ports = notNil(st.Workers[i].Ports)
	}
	s.answer(w, http.StatusOK, st)
}

func (s *Server) services(w http.ResponseWriter, r *http.Request) {
	f, err := serviceFilterOf(r.URL.Query())
	if err != nil {
		s.refuse(w, http.StatusBadRequest, err)
		return
	}
	out := []Service{}
	for _, svc := range s.backend.Services() {
		if f.Takes(&svc) {
			svc.Flags, svc.RealServers = notNil(svc.Flags), notNil(svc.RealServers)
			out = append(out, svc)
		}
	}
	s.answer(w, http.StatusOK, out)
}

// conns streams. An answer that ends early ends without HTTP's last chunk, which the client notices.
func (s *Server) conns(w http.ResponseWriter, r *http.Request) {
	f, err := connFilterOf(r.URL.Query())
	if err != nil {
		s.refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	// Not every ResponseWriter (a test's) has deadlines; without one the server's own holds.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(StreamTimeout))
	buf := bufio.NewWriterSize(w, streamBuffer)
	if err = s.stream(r.Context(), json.NewEncoder(buf), f); err == nil {
		err = buf.Flush()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's way to cut the answer off; it recovers this
	}
}

// stream writes the sessions that f takes.
func (s *Server) stream(ctx context.Context, enc *json.Encoder, f ConnFilter) (err error) {
	sent := 0
	s.backend.Conns(f, func(c Conn) bool {
		if !f.Takes(&c) {
			return ctx.Err() == nil
		}
		c.Flags = notNil(c.Flags)
		if err = enc.Encode(c); err == nil {
			err = ctx.Err()
		}
		sent++
		return err == nil && sent != f.Limit
	})
	return err
}

func (s *Server) onlyMethod(method string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", method)
		s.refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("%.20s is not possible here; only %s is", r.Method, method))
	}
}

func (s *Server) unknownPath(w http.ResponseWriter, r *http.Request) {
	s.refuse(w, http.StatusNotFound,
		fmt.Errorf("nothing at %.100q; there is /v1/status, /v1/services, /v1/conns, /v1/ipvs/listing, "+
			"/v1/ipvs/conns, /v1/ipvs/edit, /v1/settings, /v1/reload, /v1/upgrade, /v1/running, /v1/saved, /v1/drain, "+
			"/v1/drains, /v1/enable, /v1/edit, /v1/events, /v1/vrrp, /v1/vrrp/release, /v1/sync, /v1/capture, "+
			"/v1/trace and /metrics", r.URL.Path))
}

// failure is the JSON of every answer that is not 200.
type failure struct {
	Error string `json:"error"`
	Errno int    `json:"errno,omitempty"` // what a kernel would answer
}

func (s *Server) refuse(w http.ResponseWriter, status int, err error) {
	s.answer(w, status, failure{Error: err.Error()})
}

func (s *Server) refuseErrno(w http.ResponseWriter, status int, err error, errno syscall.Errno) {
	s.answer(w, status, failure{err.Error(), int(errno)})
}

func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a NaN from the backend
		s.log.Error("control answer cannot be encoded", "err", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded; see the log"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client has gone: nobody to tell
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
