package control

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// doctor is a fakeBackend with health.
type doctor struct {
	*fakeBackend
	list []ServiceHealth
}

func (d doctor) Health() []ServiceHealth { return d.list }

func TestHealthIsTold(t *testing.T) {
	at := time.Unix(2000, 0).UTC()
	want := []ServiceHealth{{
		Service: "tcp 192.0.2.10:80", Quorum: true, Needed: 1, Live: 2,
		RealServers: []ServerHealth{
			{Address: addrPort("10.0.0.1:80"), Up: true, Since: at, Weight: 2, Checks: []CheckHealth{{
				Type: "tcp", Target: "tcp 192.0.2.10:80 via path", Up: true, Since: at, Answers: 3, Failures: 1, Last: "ok",
				LastAt: &at, LatencySeconds: 0.001, CertExpires: &at,
			}}},
			{Address: addrPort("10.0.0.2:80"), Since: at, Reason: "timeout", Checks: []CheckHealth{}},
		},
	}}
	got, err := NewClient(serve(t, doctor{newFake(), want})).Health(t.Context())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := NewClient(serve(t, doctor{newFake(), nil})).Health(t.Context()); err != nil || got == nil {
		t.Errorf("nothing is watched: %v, %v", got, err)
	}
	_, err = NewClient(serve(t, newFake())).Health(t.Context())
	if err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("a director without checks: %v", err)
	}
}
