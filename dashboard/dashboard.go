package dashboard

import (
	"context"
	"embed"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ulvs/control"
	"ulvs/events"
)

//go:embed web
var web embed.FS

// takeoverView is a Backend that agrees with others about who holds the VIPs.
type takeoverView interface{ VRRP() control.VRRP }

// Options make a Dashboard.
type Options struct {
	Backend control.Backend
	Journal *events.Journal
	Hosts   []string         // names that it may be called by, besides addresses and localhost
	Clock   func() time.Time // nil: time.Now
}

// Dashboard serves the page and its API.
type Dashboard struct {
	opt     Options
	handler http.Handler
	walks   atomic.Int32 // of the connection table

	mu      sync.Mutex
	history *history
	cache   cache
}

// maxAge is how old an answer about services may be: many clients cost as much as one.
const maxAge = time.Second

// cache is what the director said last.
type cache struct {
	at       time.Time
	status   control.Status
	services []control.Service
}

// New makes a Dashboard. Its history grows while Run runs.
func New(o Options) *Dashboard {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	d := &Dashboard{opt: o, history: newHistory()}
	d.handler = guard(o.Hosts, d.routes())
	return d
}

// ServeHTTP implements http.Handler.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.handler.ServeHTTP(w, r) }

// Run samples the history until ctx ends.
func (d *Dashboard) Run(ctx context.Context) {
	tick := time.NewTicker(Step)
	defer tick.Stop()
	for d.Sample(); ; d.Sample() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sample adds a step to the history.
func (d *Dashboard) Sample() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refresh(0)
	d.history.sample(d.cache.at, &d.cache.status, d.cache.services)
}

// refresh asks the director again if what is known is older than age. d.mu is held.
func (d *Dashboard) refresh(age time.Duration) {
	now := d.opt.Clock()
	if !d.cache.at.IsZero() && now.Sub(d.cache.at) < age {
		return
	}
	d.cache = cache{now, d.opt.Backend.Status(), d.opt.Backend.Services()}
}

// now returns what the director says, at most maxAge old. It is not to be changed.
func (d *Dashboard) now() cache {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refresh(maxAge)
	return d.cache
}

func (d *Dashboard) routes() http.Handler {
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the name is this package's own
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/overview", d.overview)
	mux.HandleFunc("/api/services", d.services)
	mux.HandleFunc("/api/service", d.service)
	mux.HandleFunc("/api/sessions", d.sessions)
	mux.HandleFunc("/api/history", d.plots)
	mux.HandleFunc("/api/takeover", d.takeover)
	mux.Handle("/api/events", control.NewEvents(d.opt.Journal))
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "there is no such answer")
	})
	mux.Handle("/", noCache(http.FileServerFS(files)))
	return mux
}

// noCache has browsers ask again: the files are those of the binary, which may be another by now. A path that no
// file can have is not there; http.FileServerFS would call that our error.
func noCache(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name := strings.TrimPrefix(r.URL.Path, "/"); name != "" && !fs.ValidPath(name) {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}
