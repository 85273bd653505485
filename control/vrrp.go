package control

import (
	"context"
	"errors"
	"net/http"
)

// Takeover is an Editor that agrees with other directors about who holds the VIPs.
type Takeover interface {
	// VRRP returns the instances; none without [[vrrp]].
	VRRP() VRRP
	// Release has the unit of an instance, or of a sync group, given to another director, which keeps it until resume
	// is asked for or nobody else is left.
	Release(name string, resume bool) error
}

// VRRP is the takeover as it is now.
type VRRP struct {
	Instances []VRRPInstance `json:"instances"`
	// Rejected counts adverts that were not taken, by reason; reasons that did not occur are left out.
	Rejected map[string]uint64 `json:"rejected"`
}

// VRRPInstance is one vrrp_instance.
type VRRPInstance struct {
	Name              string   `json:"name"`
	Group             string   `json:"group,omitempty"` // its sync group
	Interface         string   `json:"interface"`
	VRID              int      `json:"virtual_router_id"`
	Version           int      `json:"version"`
	State             string   `json:"state"` // INIT, BACKUP, MASTER, FAULT, STOP
	StateSeconds      float64  `json:"state_seconds"`
	Priority          int      `json:"priority"`           // as configured
	EffectivePriority int      `json:"effective_priority"` // with what is tracked
	AdvertMillis      float64  `json:"advert_int_ms"`
	MasterMillis      float64  `json:"master_advert_int_ms"` // the master's, as heard
	VIPs              []string `json:"vips"`                 // held in MASTER
	Source            string   `json:"source"`               // what adverts are sent from
	Term              uint32   `json:"term"`                 // of the best claim known
	Owner             string   `json:"owner,omitempty"`      // the director that made it
	Released          bool     `json:"released"`             // by the operator: does not preempt
	Preempts          bool     `json:"preempts"`             // takes VIPs from a lower master
	PreemptSeconds    float64  `json:"preempt_delay_left_seconds"`
	Mode              string   `json:"mode"`               // available, quorum
	Gateway           string   `json:"gateway,omitempty"`  // answers, silent; empty: none is asked
	Members           int      `json:"directors"`          // that gossip sees, this one included
	Directors         int      `json:"directors_expected"` // of the configuration
	// Masters is how many directors hold the VIPs as far as this one hears, itself included; Alarm says in words that
	// none or two do for longer than a takeover takes.
	Masters int    `json:"masters"`
	Alarm   string `json:"alarm,omitempty"`
	// VirtualMAC is where the VIPs are with use_vmac; empty without.
	VirtualMAC string `json:"virtual_mac,omitempty"`
}

// ReleaseRequest is the body of POST /v1/vrrp/release.
type ReleaseRequest struct {
	Name   string `json:"name"`
	Resume bool   `json:"resume"`
}

var errNoTakeover = errors.New("this director runs without [[vrrp]]: it holds all VIPs")

// routeVRRP adds the paths about the takeover.
func (s *Server) routeVRRP(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/vrrp", s.withEditor(s.vrrp))
	mux.HandleFunc("POST /v1/vrrp/release", s.asAdmin(command(s, errNoTakeover, release)))
	mux.HandleFunc("/v1/vrrp", s.onlyMethod(http.MethodGet))
	mux.HandleFunc("/v1/vrrp/release", s.onlyMethod(http.MethodPost))
}

func (s *Server) vrrp(w http.ResponseWriter, _ *http.Request, e Editor) {
	t, ok := e.(Takeover)
	if !ok {
		s.refuse(w, http.StatusNotImplemented, errNoTakeover)
		return
	}
	v := t.VRRP()
	v.Instances = notNil(v.Instances)
	for i := range v.Instances {
		v.Instances[i].VIPs = notNil(v.Instances[i].VIPs)
	}
	s.answer(w, http.StatusOK, v)
}

func release(t Takeover, req ReleaseRequest) (struct{}, error) {
	return struct{}{}, t.Release(req.Name, req.Resume)
}

// VRRP asks for the takeover's instances.
func (c *Client) VRRP(ctx context.Context) (v VRRP, err error) {
	return v, c.call(ctx, "/v1/vrrp", nil, &v)
}

// Release has an instance or group given to another director, or takes that back.
func (c *Client) Release(ctx context.Context, name string, resume bool) error {
	return c.post(ctx, "/v1/vrrp/release", ReleaseRequest{name, resume})
}
