package control

import (
	"errors"
	"net/http"
)

// Metered is a Backend with metrics.
type Metered interface {
	// Metrics serves them in Prometheus' text format.
	Metrics() http.Handler
}

var errNoMetrics = errors.New("this director has no metrics")

// routeMetrics adds the path that Prometheus expects.
func (s *Server) routeMetrics(mux *http.ServeMux) {
	mux.HandleFunc("/metrics", s.onlyMethod(http.MethodGet))
	if m, ok := s.backend.(Metered); ok {
		mux.Handle("GET /metrics", m.Metrics())
		return
	}
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		s.refuse(w, http.StatusNotImplemented, errNoMetrics)
	})
}
