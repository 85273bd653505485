package control

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"ulvs/config"
	"ulvs/lvs"
)

// fakeReloader is a fakeEditor with a file.
type fakeReloader struct {
	*fakeEditor
	err   error
	saved int
}

func (r *fakeReloader) Reload() (Reloaded, error) {
	return Reloaded{Changes: []string{"a"}, DiscardedEdits: 2}, r.err
}

func (r *fakeReloader) Running() Running {
	s := config.State{Timeouts: config.Timeouts{TCP: time.Minute}, Settings: lvs.DefaultSettings()}
	s.Services = []lvs.Service{{Key: lvs.ServiceKey{Addr: addrPort("192.0.2.10:80").Addr(), Port: 80, Proto: 6},
		Scheduler: "sh", SchedFlags: lvs.SchedPort, Persistence: time.Minute, PersistBits: 24,
		Destinations: []lvs.Destination{{Addr: addrPort("[2001:db8::1]:80").Addr(), Port: 80, Method: lvs.MethodTUN,
			Tunnel: lvs.Tunnel{Type: lvs.TunnelGUE, Port: 6080, Checksum: 2}, Weight: 3, Upper: 2, Lower: 1}}}}
	return Running{ConfigPath: "/f", Running: s}
}

func (r *fakeReloader) Saved() error {
	r.saved++
	return r.err
}

func TestWhatRunsSurvivesTheWire(t *testing.T) {
	r := &fakeReloader{fakeEditor: newEditor()}
	got, err := NewClient(serve(t, r)).Running(t.Context())
	if err != nil || !got.Running.Equal(r.Running().Running) || got.ConfigPath != "/f" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAReloadIsAnsweredWithWhatChanged(t *testing.T) {
	r := &fakeReloader{fakeEditor: newEditor()}
	c := NewClient(serve(t, r))
	got, err := c.Reload(t.Context())
	if want := (Reloaded{[]string{"a"}, 2, []string{}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := c.Saved(t.Context()); err != nil || r.saved != 1 {
		t.Errorf("saved %d times, %v", r.saved, err)
	}
	r.err = errors.New("2 errors\nf:1: a\nf:2: b")
	for _, ask := range []func() error{
		func() error { _, err := c.Reload(t.Context()); return err },
		func() error { return c.Saved(t.Context()) },
	} {
		if err := ask(); err == nil || err.Error() != "ulvs refuses: "+r.err.Error() {
			t.Errorf("got %v", err)
		}
	}
}

func TestADirectorWithoutAFileSaysSo(t *testing.T) {
	for _, b := range []Backend{newEditor(), newFake()} {
		r := ask(b, "GET", "/v1/running")
		if r.Code != 501 || !strings.Contains(r.Body.String(), "this director ") {
			t.Errorf("got %d %s", r.Code, r.Body)
		}
	}
	if r := ask(newEditor(), "GET", "/v1/reload"); r.Code != 405 {
		t.Errorf("GET /v1/reload: got %d", r.Code)
	}
	if r := ask(newEditor(), "POST", "/v1/reload"); r.Code != 403 {
		t.Errorf("from nobody knows whom: got %d %s", r.Code, r.Body)
	}
}
