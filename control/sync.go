package control

import (
	"context"
	"errors"
	"net/http"
)

// Replicator is a Backend that shares its sessions with other directors.
type Replicator interface {
	// Sync returns how that goes; false without [sync].
	Sync() (Sync, bool)
}

// Sync is the replication of sessions as it is now. Without [sync] it has no Address, and IPVS only.
type Sync struct {
	Name    string `json:"name"`
	Address string `json:"address"` // that is listened on
	Mode    string `json:"session_sync"`
	// Secure says that there is a key.
	Secure bool `json:"secure"`
	// Ready says that this director has everything that its peers have: it may take over from any of them.
	Ready    bool  `json:"ready"`
	Sessions int   `json:"sessions"` // shared ones here, as last counted (every 5 s)
	Unbound  int   `json:"unbound_sessions"`
	Term     uint8 `json:"term"`
	// Peers are the directors that are there; Missing are those of the configuration that are not.
	Peers   []SyncPeer `json:"peers"`
	Missing []string   `json:"missing_peers"`
	// Records count what became of peers' records, by outcome; Rejected what was refused, by reason. Zeros are left
	// out.
	Records  map[string]uint64 `json:"records"`
	Rejected map[string]uint64 `json:"rejected"`
	// Counters since the start.
	SentRecords    uint64 `json:"sent_records"`
	SentDatagrams  uint64 `json:"sent_datagrams"`
	Resent         uint64 `json:"resent_datagrams"`
	DroppedRecords uint64 `json:"dropped_records"` // workers had no room for them; digests repaired
	Lost           uint64 `json:"lost_datagrams"`  // of peers', for good; digests repaired
	Reaped         uint64 `json:"reaped_sessions"` // a peer's that it did not know any more
	Failed         uint64 `json:"failed_sends"`
	// IPVS are the sync daemons that speak to kernels, the master first.
	IPVS []IPVSDaemon `json:"ipvs"`
}

// IPVSDaemon is a sync daemon that speaks IPVS's own protocol.
type IPVSDaemon struct {
	Role      string  `json:"role"` // master or backup
	Interface string  `json:"interface"`
	SyncID    int     `json:"sync_id"`
	Group     string  `json:"group"`
	Port      int     `json:"port"`
	Seconds   float64 `json:"seconds"` // since it was started
	// Counters since then: of messages sent by a master, or received by a backup, and of connections in them.
	Messages   uint64 `json:"messages"`
	Conns      uint64 `json:"connections"`
	Bytes      uint64 `json:"bytes"`
	Failed     uint64 `json:"failed"` // messages that could not be sent, or reads that failed
	Unrepeated uint64 `json:"unrepeated_messages"`
	// Records count what became of a master's connections here, by outcome; Rejected what was refused (of a master:
	// not sent), by reason. Zeros are left out.
	Records  map[string]uint64 `json:"records"`
	Rejected map[string]uint64 `json:"rejected"`
}

// Words of SyncPeer.Configuration.
const (
	SameConfiguration  = "same"
	OtherConfiguration = "other"
)

// SyncPeer is another director.
type SyncPeer struct {
	Name    string  `json:"name"`
	Address string  `json:"address"`
	State   string  `json:"state"`  // syncing, behind, differing, in sync
	LagMS   float64 `json:"lag_ms"` // age of the oldest record that it has not acknowledged
	// Sessions it has, all told, and how many percent of that are here.
	Sessions int     `json:"sessions"`
	Coverage float64 `json:"coverage_percent"`
	// MatchedSeconds is since the digests were equal; negative: never yet.
	MatchedSeconds float64 `json:"digest_matched_seconds"`
	Differing      int     `json:"differing_leaves"`
	Repaired       uint64  `json:"repaired_datagrams"` // that it missed and got again
	Received       uint64  `json:"received_records"`
	Rate           float64 `json:"received_records_per_second"` // over the last seconds
	Version        string  `json:"version"`                     // of its ulvs; empty: not told yet
	// Configuration says whether its services are configured as here: same or other; empty: not told yet.
	Configuration string `json:"configuration"`
	// Notes say what differs between it and this director, in words.
	Notes []string `json:"notes"`
}

var errNoSync = errors.New("this director runs without [sync] and [ipvs_sync]: nobody else has its sessions")

// routeSync adds the path about replication.
func (s *Server) routeSync(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/sync", func(w http.ResponseWriter, _ *http.Request) {
		r, ok := s.backend.(Replicator)
		var v Sync
		if ok {
			v, ok = r.Sync()
		}
		if !ok {
			s.refuse(w, http.StatusNotFound, errNoSync)
			return
		}
		v.Peers, v.Missing, v.IPVS = notNil(v.Peers), notNil(v.Missing), notNil(v.IPVS)
		for i := range v.Peers {
			v.Peers[i].Notes = notNil(v.Peers[i].Notes)
		}
		s.answer(w, http.StatusOK, v)
	})
	mux.HandleFunc("/v1/sync", s.onlyMethod(http.MethodGet))
}

// Sync asks how replication goes.
func (c *Client) Sync(ctx context.Context) (v Sync, err error) {
	return v, c.call(ctx, "/v1/sync", nil, &v)
}
