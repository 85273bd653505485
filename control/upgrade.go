package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Upgrader can have another process of itself go on. Upgrade returns when that one serves, or with the reason why it
// does not: then nothing has changed.
type Upgrader interface {
	// Upgrade starts what is on disk. force: even if edits that were not saved get lost.
	Upgrade(force bool) (Upgraded, error)
}

// Upgraded is what an upgrade did.
type Upgraded struct {
	From       int     `json:"from_pid"`
	To         int     `json:"to_pid"`
	GapSeconds float64 `json:"gap_seconds"` // nobody forwarded; what came meanwhile waited in the queues
}

// UpgradeRequest is the body of POST /v1/upgrade.
type UpgradeRequest struct {
	Force bool `json:"force,omitempty"`
}

var errNoUpgrader = errors.New("this director cannot be upgraded")

// routeUpgrade adds the path of upgrades.
func (s *Server) routeUpgrade(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/upgrade", s.asAdmin(s.upgrade))
	mux.HandleFunc("/v1/upgrade", s.onlyMethod(http.MethodPost))
}

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, e Editor) {
	u, ok := e.(Upgrader)
	if !ok {
		s.refuse(w, http.StatusNotImplemented, errNoUpgrader)
		return
	}
	var req UpgradeRequest
	if err := decodeStrict(r.Body, &req); err != nil {
		s.refuse(w, http.StatusBadRequest, fmt.Errorf("the request cannot be read: %w", err))
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(upgradeLimit)) // tests have none
	out, err := u.Upgrade(req.Force)
	if err != nil {
		s.refuse(w, http.StatusConflict, err)
		return
	}
	s.answer(w, http.StatusOK, out)
}

// upgradeLimit is for a new process that reads a file of a million real servers.
const upgradeLimit = 3 * time.Minute

// Upgrade has the program on disk go on in the running one's place.
func (c *Client) Upgrade(ctx context.Context, force bool) (out Upgraded, err error) {
	ctx, cancel := context.WithTimeout(ctx, upgradeLimit)
	defer cancel()
	return out, c.converse(ctx, "/v1/upgrade", UpgradeRequest{force}, &out)
}
