package director

import (
	"net/http"
	"sync/atomic"

	"ulvs/config"
	"ulvs/control"
	"ulvs/metrics"
	"ulvs/notify"
)

// sight is what shows and tells what happens: notifications, and what is served to Prometheus.
type sight struct {
	notifier *notify.Notifier
	metrics  *site
	scrape   http.Handler
	servers  atomic.Int64 // real servers with series of their own
}

// sightChange is a new configuration of sight whose errors are known: all that can fail was done.
type sightChange struct {
	targets []notify.Target
	moves   []move
	config  *config.Config
}

func (d *director) openSight() {
	s := &sight{notifier: d.newNotifier(), metrics: &site{name: "metrics", log: d.log}}
	s.scrape = metrics.Handler(metrics.New(metrics.Options{
		Source: d, Journal: d.journal, Notified: s.notifier.Stats,
		RealServers: func() int { return int(s.servers.Load()) },
	}), d.log)
	d.sight = s
}

// closeSight tells what happened last.
func (d *director) closeSight() {
	d.sight.metrics.close()
	d.closeNotifier()
}

// prepareSight does what of a configuration can fail. One of apply and cancel must follow.
func (d *director) prepareSight(c *config.Config) (*sightChange, error) {
	targets, err := notifyTargets(c.Notifies())
	if err != nil {
		return nil, err
	}
	change := &sightChange{targets: targets, config: c}
	m, err := d.sight.metrics.prepare(c.Metrics().Listen)
	if err != nil {
		return nil, err
	}
	change.moves = append(change.moves, m)
	return change, nil
}

func (c *sightChange) cancel() {
	for _, m := range c.moves {
		m.cancel()
	}
}

func (d *director) applySight(c *sightChange) {
	d.sight.notifier.Set(c.targets)
	d.sight.servers.Store(int64(c.config.Metrics().RealServers))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", d.sight.scrape)
	c.moves[0].commit(mux)
}

// Metrics implements control.Metered.
func (d *director) Metrics() http.Handler { return d.sight.scrape }

var _ control.Metered = (*director)(nil)
