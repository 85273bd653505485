package director

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"

	"ulvs/config"
	"ulvs/control"
	"ulvs/dashboard"
	"ulvs/metrics"
	"ulvs/notify"
)

// sight is what shows and tells what happens: notifications, and what is served to Prometheus and to browsers.
type sight struct {
	notifier *notify.Notifier
	metrics  *site
	scrape   http.Handler
	servers  atomic.Int64 // real servers with series of their own
	page     *site
	pageConf config.Dashboard
	stopPage func() // ends the history of the page that is served; nil: none is
}

// sightChange is a new configuration of sight whose errors are known: all that can fail was done.
type sightChange struct {
	targets []notify.Target
	moves   []move
	config  *config.Config
}

func (d *director) openSight() {
	s := &sight{notifier: d.newNotifier(), metrics: &site{name: "metrics", log: d.log},
		page: &site{name: "dashboard", log: d.log}}
	s.scrape = metrics.Handler(metrics.New(metrics.Options{
		Source: d, Journal: d.journal, Notified: s.notifier.Stats,
		RealServers: func() int { return int(s.servers.Load()) },
	}), d.log)
	d.sight = s
}

// close ends what is served, while there is a director to ask.
func (s *sight) close() {
	s.metrics.close()
	s.page.close()
	s.endPage()
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
	if m, err = d.sight.page.prepare(c.Dashboard().Listen); err != nil {
		change.cancel()
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
	d.applyPage(c.config.Dashboard(), c.moves[1])
}

// applyPage serves the dashboard as c says. One that stays as it is keeps its history.
func (d *director) applyPage(c config.Dashboard, m move) {
	s := d.sight
	if c.Listen == s.pageConf.Listen && slices.Equal(c.Hosts, s.pageConf.Hosts) {
		return
	}
	s.endPage()
	s.pageConf = c
	if !c.Listen.IsValid() {
		m.commit(http.NotFoundHandler())
		return
	}
	page := dashboard.New(dashboard.Options{Backend: d, Journal: d.journal,
		Hosts: append(c.Hosts[:len(c.Hosts):len(c.Hosts)],
			d.opt.Config.Node.Name)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		page.Run(ctx)
	}()
	s.stopPage = func() {
		cancel()
		<-done
	}
	m.commit(page)
}

// endPage stops the history; it asks the director, which must still be whole.
func (s *sight) endPage() {
	if s.stopPage != nil {
		s.stopPage()
		s.stopPage = nil
	}
}

// Metrics implements control.Metered.
func (d *director) Metrics() http.Handler { return d.sight.scrape }

var _ control.Metered = (*director)(nil)
