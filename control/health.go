package control

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"
)

// HealthTeller is a Backend that checks its real servers.
type HealthTeller interface {
	// Health returns all services that are watched.
	Health() []ServiceHealth
}

// ServiceHealth is what is known of a service by its checks.
type ServiceHealth struct {
	Service     string         `json:"service"` // "tcp 192.0.2.10:80", "fwm 7"
	Quorum      bool           `json:"quorum"`
	Needed      int64          `json:"needed_weight"`
	Live        int64          `json:"live_weight"` // of the real servers that are up
	Suspended   bool           `json:"suspended"`   // not checked: its VIP is elsewhere
	RealServers []ServerHealth `json:"real_servers"`
}

// ServerHealth is a real server of a service.
type ServerHealth struct {
	Address netip.AddrPort `json:"address"`
	Up      bool           `json:"up"`
	Since   time.Time      `json:"since"`
	Reason  string         `json:"reason,omitempty"` // why it is down
	Weight  int32          `json:"weight"`           // configured, with what checks add
	Checks  []CheckHealth  `json:"checks"`           // none: always up
}

// CheckHealth is one check of a real server.
type CheckHealth struct {
	Type     string    `json:"type"`
	Target   string    `json:"target"` // "http 192.0.2.10:80 via path"
	Up       bool      `json:"up"`
	Since    time.Time `json:"since"`
	Answers  uint64    `json:"answers"`
	Failures uint64    `json:"failures"`
	Retries  int       `json:"retries"` // failures in a row that did not count yet
	// The last answer; valid if there are any.
	Last           string     `json:"last,omitempty"` // ok, or what failed
	LastAt         *time.Time `json:"last_at,omitempty"`
	LatencySeconds float64    `json:"latency_seconds"`
	CertExpires    *time.Time `json:"certificate_expires,omitempty"`
}

var errNoHealth = errors.New("this director checks nothing")

// routeHealth adds the path of what checks found.
func (s *Server) routeHealth(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/health", s.health)
	mux.HandleFunc("/v1/health", s.onlyMethod(http.MethodGet))
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	teller, ok := s.backend.(HealthTeller)
	if !ok {
		s.refuse(w, http.StatusNotImplemented, errNoHealth)
		return
	}
	if q := newQuery(r.URL.Query()); q.err != nil {
		s.refuse(w, http.StatusBadRequest, q.err)
		return
	}
	list := notNil(teller.Health())
	for i := range list {
		list[i].RealServers = notNil(list[i].RealServers)
		for k := range list[i].RealServers {
			list[i].RealServers[k].Checks = notNil(list[i].RealServers[k].Checks)
		}
	}
	s.answer(w, http.StatusOK, list)
}

// Health asks what checks found.
func (c *Client) Health(ctx context.Context) (list []ServiceHealth, err error) {
	return list, c.call(ctx, "/v1/health", nil, &list)
}
