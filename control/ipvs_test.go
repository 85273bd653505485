package control

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"ulvs/lvs"
)

// fakeEditor is a fakeBackend that can be changed.
type fakeEditor struct {
	*fakeBackend
	edits    []lvs.Edit
	refuse   error
	listing  Listing
	sessions []ListedConn
	settings lvs.Settings
}

func (e *fakeEditor) Edit(edit *lvs.Edit) error {
	e.edits = append(e.edits, *edit)
	return e.refuse
}

func (e *fakeEditor) Listing() Listing { return e.listing }

func (e *fakeEditor) ListedConns(fn func(ListedConn) bool) {
	for _, c := range e.sessions {
		if !fn(c) {
			return
		}
	}
}

func (e *fakeEditor) SetSetting(name string, value int) error { return e.settings.Set(name, value) }

func newEditor() *fakeEditor {
	key := lvs.ServiceKey{Addr: netip.MustParseAddr("192.0.2.10"), Port: 80, Proto: lvs.ProtoTCP}
	dest := lvs.Destination{Addr: netip.MustParseAddr("2001:db8::1"), Port: 80, Method: lvs.MethodTUN, Weight: 3,
		Tunnel: lvs.Tunnel{Type: lvs.TunnelGUE, Port: 6080, Checksum: 2}, Upper: 9, Lower: 4}
	e := &fakeEditor{fakeBackend: newFake()}
	e.listing = Listing{Size: 4096, Timeouts: [3]int{900, 120, 300}, Settings: lvs.DefaultSettings(),
		Daemons: []lvs.SyncDaemon{{Role: "master", Interface: "eth0", SyncID: 3, MaxLen: 1472, Group: "224.0.0.81",
			Port: 8848, TTL: 1}},
		Services: []ListedService{{
			Service: lvs.Service{Key: key, Scheduler: "sh", SchedFlags: lvs.SchedPort, Persistence: time.Minute, PersistBits: 24,
				OnePacket: true, Destinations: []lvs.Destination{}},
			Counters:     Counters{Stats{1, 2, 3, 4, 5}, Rates{6, 7, 8, 9, 10}},
			Destinations: []ListedDestination{{Destination: dest, Active: 1, Inactive: 2, Persistent: 3}},
		}},
	}
	e.sessions = []ListedConn{
		{Protocol: 6, State: "ESTABLISHED", ExpiresSeconds: 899, Client: addrPort("198.51.100.1:1000"),
			VIP: addrPort("192.0.2.10:80"), Dest: addrPort("[2001:db8::1]:80"), Synced: true},
		{State: "NONE", Client: addrPort("198.51.100.0:0"), VIP: addrPort("0.0.0.7:0"), Dest: addrPort("10.0.0.1:0")},
	}
	return e
}

func TestAListingAndItsSessionsSurviveTheWire(t *testing.T) {
	e := newEditor()
	v := NewClient(serve(t, e)).IPVS(t.Context())
	got, err := v.Listing()
	if err != nil || !reflect.DeepEqual(got, e.listing) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, e.listing)
	}
	var sessions []ListedConn
	err = v.Conns(func(c ListedConn) bool { sessions = append(sessions, c); return true })
	if err != nil || !reflect.DeepEqual(sessions, e.sessions) {
		t.Errorf("got %+v, %v\nwant %+v", sessions, err, e.sessions)
	}
}

func TestAnEditArrivesAndARefusalKeepsItsNumber(t *testing.T) {
	e := newEditor()
	v := NewClient(serve(t, e)).IPVS(t.Context())
	edit := lvs.Edit{Op: lvs.EditAddDest, Key: e.listing.Services[0].Service.Key,
		Dest: e.listing.Services[0].Destinations[0].Destination, Timeouts: [3]int{1, 2, 3}}
	if err := v.Edit(&edit); err != nil || len(e.edits) != 1 || !reflect.DeepEqual(e.edits[0], edit) {
		t.Fatalf("got %+v, %v, want %+v", e.edits, err, edit)
	}
	e.refuse = &lvs.EditError{Op: lvs.EditAddDest, Errno: syscall.EEXIST}
	var refused *lvs.EditError
	if err := v.Edit(&edit); !errors.As(err, &refused) || *refused != (lvs.EditError{Op: edit.Op, Errno: syscall.EEXIST}) {
		t.Errorf("got %v, want EEXIST of EditAddDest", err)
	}
	e.refuse = errors.New("no memory for it")
	if err := v.Edit(&edit); err == nil || err.Error() != "ulvs refuses: no memory for it" {
		t.Errorf("got %v", err)
	}
}

func TestASettingIsSetOrExplained(t *testing.T) {
	e := newEditor()
	c := NewClient(serve(t, e))
	if err := c.SetSetting(t.Context(), "sloppy_tcp", 1); err != nil || e.settings.SloppyTCP != 1 {
		t.Errorf("got %v, %d", err, e.settings.SloppyTCP)
	}
	if err := c.SetSetting(t.Context(), "sloppy_tcp", 7); err == nil ||
		err.Error() != "ulvs refuses: sloppy_tcp = 7: want 0 to 1" {
		t.Errorf("got %v", err)
	}
}

func TestADirectorThatCannotBeChangedSaysSo(t *testing.T) {
	v := NewClient(serve(t, newFake())).IPVS(t.Context())
	for _, err := range []error{v.Edit(&lvs.Edit{}), v.Conns(func(ListedConn) bool { return true })} {
		if err == nil || err.Error() != "ulvs refuses: this director cannot be changed while it runs" {
			t.Errorf("got %v", err)
		}
	}
}

func TestNoDirectorAtAllIsNotRunning(t *testing.T) {
	v := NewClient(filepath.Join(t.TempDir(), "none")).IPVS(t.Context())
	_, listErr := v.Listing()
	for _, err := range []error{v.Edit(&lvs.Edit{}), listErr} {
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("got %v", err)
		}
	}
}

// postAs asks as uid does; nil is a peer that the kernel did not name.
func postAs(e *fakeEditor, uid any, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", target, strings.NewReader(body))
	if uid != nil {
		r = r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{uid: uid.(uint32)}))
	}
	w := httptest.NewRecorder()
	NewServer(e, slog.New(slog.DiscardHandler)).Handler().ServeHTTP(w, r)
	return w
}

func TestOnlyRootChangesAnything(t *testing.T) {
	for _, uid := range []any{nil, uint32(65534)} {
		for _, target := range []string{"/v1/ipvs/edit", "/v1/settings"} {
			e := newEditor()
			w := postAs(e, uid, target, `{"op":7}`)
			want := `{"error":"only root and the group ulvs-admin may change a director","errno":1}` + "\n"
			if w.Code != http.StatusForbidden || w.Body.String() != want || len(e.edits) != 0 {
				t.Errorf("%s as %v: got %d %s", target, uid, w.Code, w.Body)
			}
		}
	}
}

func TestWrongBodiesAreRefused(t *testing.T) {
	for _, body := range []string{"", "{", `{"ops":1}`, `{"op":1} x`, `{"op":-1}`, `{"key":{"Addr":"www"}}`,
		strings.Repeat(" ", maxRequestBytes) + "{}"} {
		for _, target := range []string{"/v1/ipvs/edit", "/v1/settings"} {
			e := newEditor()
			if w := postAs(e, uint32(0), target, body); w.Code != http.StatusBadRequest || len(e.edits) != 0 {
				t.Errorf("%s %.30q: got %d %s", target, body, w.Code, w.Body)
			}
		}
	}
	if w := ask(newEditor(), "GET", "/v1/ipvs/edit"); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("got %d, allow %s", w.Code, w.Header().Get("Allow"))
	}
}

func FuzzEdit(f *testing.F) {
	f.Add(`{"op":1,"key":{"Addr":"192.0.2.1","Port":80,"Proto":6,"Mark":0},"service":{"Scheduler":"rr"}}`)
	f.Add(`{"op":255,"timeouts":[1,2,3],"sync":{"role":"x"}}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, body string) {
		e := newEditor()
		if w := postAs(e, uint32(0), "/v1/ipvs/edit", body); w.Code != 200 && w.Code != 400 {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
		for i := range e.edits {
			_, _ = e.edits[i].ApplyTo(nil)
		}
	})
}
