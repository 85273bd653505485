package control

import (
	"net/http"
	"strings"
	"testing"
)

type fakeReplicator struct {
	*fakeBackend
	sync Sync
	on   bool
}

func (f *fakeReplicator) Sync() (Sync, bool) { return f.sync, f.on }

// The answer of /v1/sync, field by field: scripts read it.
func TestSyncAnswersAsItAlwaysDid(t *testing.T) {
	const peer = `{"name":"lvs2","address":"10.9.0.2:8849","state":"in sync","lag_ms":0.5,"sessions":9,` +
		`"coverage_percent":100,"digest_matched_seconds":2,"differing_leaves":1,"repaired_datagrams":3,` +
		`"received_records":4,"received_records_per_second":5.5,"version":"v1","configuration":"same","notes":[]}`
	full := Sync{Name: "lvs1", Address: "10.9.0.1:8849", Mode: "lane", Secure: true, Ready: true, Sessions: 9, Term: 3,
		Peers: []SyncPeer{{Name: "lvs2", Address: "10.9.0.2:8849", State: "in sync", LagMS: 0.5, Sessions: 9, Coverage: 100,
			MatchedSeconds: 2, Differing: 1, Repaired: 3, Received: 4, Rate: 5.5, Version: "v1", Configuration: "same"}},
		Records: map[string]uint64{"inserted": 9}, Rejected: map[string]uint64{"forged": 1}}
	for _, c := range []struct {
		what   string
		b      Backend
		status int
		want   string
	}{
		{"a director without it", newFake(), http.StatusNotFound, errNoSync.Error()},
		{"one whose configuration has none", &fakeReplicator{fakeBackend: newFake()}, http.StatusNotFound, errNoSync.Error()},
		{"a peer", &fakeReplicator{newFake(), full, true}, http.StatusOK, peer},
		{"nobody", &fakeReplicator{newFake(), Sync{Name: "lvs1"}, true}, http.StatusOK,
			`"peers":[],"missing_peers":[]`},
	} {
		r := ask(c.b, http.MethodGet, "/v1/sync")
		if got := r.Body.String(); r.Code != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s: %d %s\nwant %d with %s", c.what, r.Code, got, c.status, c.want)
		}
	}
}
