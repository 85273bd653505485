package metrics

import (
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"ulvs/control"
	"ulvs/events"
	"ulvs/notify"
)

// Source is what a Collector reads. A control.Backend is one.
type Source interface {
	Status() control.Status
	Services() []control.Service
}

// healthSource and vrrpSource are what a Source may be besides.
type (
	healthSource interface {
		Health() []control.ServiceHealth
	}
	vrrpSource interface{ VRRP() control.VRRP }
)

// Options make a Collector.
type Options struct {
	Source      Source
	Journal     *events.Journal
	Notified    func() []notify.Stats // may be nil
	RealServers func() int            // so many have series of their own
}

// Collector implements prometheus.Collector. It keeps nothing between scrapes.
type Collector struct {
	opt Options
	*families
}

// New makes a Collector.
func New(o Options) *Collector { return &Collector{o, newFamilies()} }

// Families returns what there is, in the documentation's order.
func (c *Collector) Families() []*Family { return c.list }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.list {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	w := writer{families: c.families, ch: ch}
	st := c.opt.Source.Status()
	w.director(&st)
	w.sessionTable(&st.Sessions)
	w.restart(&st.Restart)
	w.stackOf(&st.Stack)
	w.workers(st.Workers)
	for i := range st.Ports {
		w.port(&st.Ports[i])
	}
	w.balancing(c.opt.Source.Services(), c.opt.RealServers())
	if h, ok := c.opt.Source.(healthSource); ok {
		w.health(h.Health(), c.opt.RealServers())
	}
	if v, ok := c.opt.Source.(vrrpSource); ok {
		w.vrrp(v.VRRP())
	}
	if r, ok := c.opt.Source.(control.Replicator); ok {
		if s, on := r.Sync(); on {
			w.sync(&s)
		}
	}
	w.journal(c.opt.Journal.Stats())
	if c.opt.Notified != nil {
		w.notifications(c.opt.Notified())
	}
}

// writer emits series.
type writer struct {
	*families
	ch chan<- prometheus.Metric
}

func (w *writer) put(f *Family, value float64, labels ...string) {
	kind := prometheus.GaugeValue
	if f.Type == "counter" {
		kind = prometheus.CounterValue
	}
	w.ch <- prometheus.MustNewConstMetric(f.desc, kind, value, labels...)
}

func (w *writer) count(f *Family, value uint64, labels ...string) {
	w.put(f, float64(value), labels...)
}

func (w *writer) flag(f *Family, on bool, labels ...string) {
	if on {
		w.put(f, 1, labels...)
		return
	}
	w.put(f, 0, labels...)
}

func (w *writer) director(st *control.Status) {
	w.put(w.build, 1, st.Version, runtime.Version(), st.Name)
	w.put(w.started, float64(st.StartedAt.UnixMilli())/1000)
	w.count(w.generation, st.Generation)
	w.flag(w.modified, st.Modified)
	for _, v := range st.Verdicts {
		w.count(w.frames, v.Frames, v.Name, strconv.FormatBool(v.Drop))
	}
	r := &st.Routing
	for _, g := range []struct {
		f *Family
		n int
	}{{w.links, r.Links}, {w.routes, r.Routes}, {w.neighbours, r.Neighbours}, {w.nextHops, r.NextHops},
		{w.unresolved, r.Unresolved}} {
		w.put(g.f, float64(g.n))
	}
}

func (w *writer) sessionTable(s *control.Sessions) {
	w.put(w.sessions, float64(s.Active), "active")
	w.put(w.sessions, float64(s.Inactive), "inactive")
	w.put(w.templates, float64(s.Templates))
	w.put(w.tableBytes, float64(s.Bytes))
	w.put(w.tableSize, float64(s.SizeHint))
	w.put(w.maxSessions, float64(s.MaxConns))
	w.count(w.grown, s.Grown)
	w.count(w.refused, s.Refused)
	w.count(w.replyClashes, s.ReplyClash)
}

func (w *writer) stackOf(s *control.Stack) {
	w.count(w.stackFrames, s.Frames)
	w.count(w.stackLost, s.Lost)
	w.put(w.probes, float64(s.Probes))
	w.put(w.probeLimit, float64(s.ProbeLimit))
	w.count(w.probesRefused, s.ProbesRefused)
	w.put(w.localSessions, float64(s.Sessions))
	w.put(w.localLimit, float64(s.SessionLimit))
	w.count(w.localAccepted, s.Accepted)
	w.count(w.localRefused, s.Refused)
	w.count(w.localDown, s.Unreachable)
}

func (w *writer) workers(list []control.WorkerStatus) {
	for i := range list {
		k := &list[i]
		id := strconv.Itoa(k.ID)
		w.put(w.workerInfo, 1, id, strconv.Itoa(k.CPU), k.IO)
		w.count(w.workerFrames, k.Frames, id)
		w.count(w.workerBatches, k.Batches, id)
		w.put(w.workerIdle, k.IdleSeconds, id)
		w.count(w.workerGeneration, k.Generation, id)
	}
}

func (w *writer) port(p *control.PortStatus) {
	w.put(w.ifInfo, 1, p.Name, p.MAC, p.XDPMode, p.CopyMode)
	w.flag(w.ifCopies, p.ZeroCopyFailure != "", p.Name)
	w.flag(w.ifUp, p.LinkUp, p.Name)
	w.put(w.ifMTU, float64(p.MTU), p.Name)
	w.count(w.ifReceived, p.RXFrames, p.Name)
	w.count(w.ifSent, p.TXFrames, p.Name)
	w.count(w.ifSendDrops, p.TXFull, p.Name, "ring_full")
	w.count(w.ifSendDrops, p.TXErrors, p.Name, "error")
	w.count(w.ifKernelDrops, p.RXDropped, p.Name, "dropped")
	w.count(w.ifKernelDrops, p.RXRingFull, p.Name, "ring_full")
	w.count(w.ifKernelDrops, p.InvalidDescs, p.Name, "invalid")
	w.count(w.ifSteered, p.SteeredFrames, p.Name)
	w.count(w.ifPassed, p.PassedFrames, p.Name)
	w.count(w.ifFillEmpty, p.FillEmpty, p.Name)
	w.count(w.ifSendEmpty, p.TXRingEmpty, p.Name)
}

// balancing emits all services, and the real servers of the first ones until limit is used up.
func (w *writer) balancing(list []control.Service, limit int) {
	hidden := 0
	for i := range list {
		s := &list[i]
		name := s.Name()
		w.aService(s, name)
		if len(s.RealServers) > limit {
			hidden += len(s.RealServers)
			continue
		}
		limit -= len(s.RealServers)
		for k := range s.RealServers {
			w.realServer(&s.RealServers[k], name)
		}
	}
	w.put(w.services, float64(len(list)))
	w.put(w.hidden, float64(hidden))
}

func (w *writer) aService(s *control.Service, name string) {
	var weight, active, inactive int64
	up := 0
	for i := range s.RealServers {
		r := &s.RealServers[i]
		weight += int64(r.Weight)
		active += int64(r.Active)
		inactive += int64(r.Inactive)
		if r.TakesClients() {
			up++
		}
	}
	w.put(w.serviceInfo, 1, name, s.Scheduler)
	w.put(w.serviceServers, float64(len(s.RealServers)), name)
	w.put(w.serviceUp, float64(up), name)
	w.put(w.serviceWeight, float64(weight), name)
	w.put(w.serviceSessions, float64(active), name, "active")
	w.put(w.serviceSessions, float64(inactive), name, "inactive")
	w.traffic(&w.service, &s.Stats, name)
}

func (w *writer) realServer(r *control.RealServer, service string) {
	address := r.Address.String()
	w.put(w.serverInfo, 1, service, address, r.Method)
	w.flag(w.serverUp, r.TakesClients(), service, address)
	w.put(w.serverWeight, float64(r.Weight), service, address)
	w.flag(w.serverOverloaded, r.Overloaded, service, address)
	w.flag(w.serverHop, r.NextHop != nil && r.NextHop.State == "resolved", service, address)
	w.put(w.serverSessions, float64(r.Active), service, address, "active")
	w.put(w.serverSessions, float64(r.Inactive), service, address, "inactive")
	w.put(w.serverSessions, float64(r.Persistent), service, address, "persistent")
	w.traffic(&w.server, &r.Stats, service, address)
}

func (w *writer) traffic(t *traffic, s *control.Stats, labels ...string) {
	w.count(t.conns, s.Conns, labels...)
	w.count(t.inPackets, s.InPackets, labels...)
	w.count(t.outPackets, s.OutPackets, labels...)
	w.count(t.inBytes, s.InBytes, labels...)
	w.count(t.outBytes, s.OutBytes, labels...)
}

func (w *writer) journal(st events.Stats) {
	for _, kind := range events.Infos { // also those that did not happen: a rate needs a 0 to start from
		w.count(w.events, st.Counts[kind.Kind], string(kind.Kind))
	}
	w.count(w.reloads, st.Counts[events.ConfigReloaded], "applied")
	w.count(w.reloads, st.Counts[events.ConfigRefused], "refused")
	w.count(w.eventsLost, st.Lost)
	w.put(w.eventReaders, float64(st.Subscribers))
}

func (w *writer) notifications(list []notify.Stats) {
	for i, n := range list {
		id := strconv.Itoa(i) // two targets may have one name
		w.count(w.notified, n.Delivered, id, n.Name, "delivered")
		w.count(w.notified, n.Failed, id, n.Name, "failed")
		w.count(w.notified, n.Lost, id, n.Name, "lost")
		w.count(w.notifyRetries, n.Retried, id, n.Name)
		w.put(w.notifyBacklog, float64(n.Backlog), id, n.Name)
	}
}
