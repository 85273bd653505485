package control

import (
	"context"
	"errors"
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
	upgrade := command(s, errNoUpgrader, func(u Upgrader, req UpgradeRequest) (Upgraded, error) {
		return u.Upgrade(req.Force)
	})
	mux.HandleFunc("POST /v1/upgrade", s.asAdmin(func(w http.ResponseWriter, r *http.Request, e Editor) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(upgradeLimit)) // tests have none
		upgrade(w, r, e)
	}))
	mux.HandleFunc("/v1/upgrade", s.onlyMethod(http.MethodPost))
}

// upgradeLimit is for a new process that reads a file of a million real servers.
const upgradeLimit = 3 * time.Minute

// Upgrade has the program on disk go on in the running one's place.
func (c *Client) Upgrade(ctx context.Context, force bool) (out Upgraded, err error) {
	ctx, cancel := context.WithTimeout(ctx, upgradeLimit)
	defer cancel()
	return out, c.converse(ctx, "/v1/upgrade", UpgradeRequest{force}, &out)
}
