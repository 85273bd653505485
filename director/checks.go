package director

import (
	"context"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"

	"ulvs/config"
	"ulvs/events"
	"ulvs/health"
	"ulvs/internal/runner"
	"ulvs/lvs"
)

// maxCheckScripts is how many script checks run at once: a process each.
const maxCheckScripts = 32

// checks keeps a Node's real servers watched: it tells the health engine what is configured, and the Node,
// the journal and the operator's scripts what the engine finds.
//
//	config, edits -> Node -> Configured -> follow -> Engine.Change
//	                  ^                                    |
//	                  +-- SetServerHealth, SetQuorum <- changed -> journal, scripts
type checks struct {
	node    *Node
	journal *events.Journal
	log     *slog.Logger
	engine  *health.Engine
	scripts *scripts
	handed  atomic.Bool // another process goes on checking: nothing ends

	following sync.Mutex // one follow at a time; guards the next two
	care      map[lvs.ServiceKey]*config.Care
	suspended map[lvs.ServiceKey]bool // of services with ha_suspend, then or now

	mu      sync.Mutex // guards what follows; nothing else is locked under it
	touched map[lvs.ServiceKey]bool
	watched map[lvs.ServiceKey]*config.Checks
	wake    chan struct{}
}

// newChecks makes one that watches nothing yet. Its node is set before follow.
func newChecks(journal *events.Journal, log *slog.Logger, dialer health.Dialer) *checks {
	c := &checks{
		journal: journal, log: log, scripts: newScripts(log),
		touched: map[lvs.ServiceKey]bool{}, watched: map[lvs.ServiceKey]*config.Checks{}, wake: make(chan struct{}, 1),
	}
	prober := &health.Prober{Dialer: dialer, Runner: runner.New(maxCheckScripts)}
	c.engine = health.NewEngine(health.EngineOptions{Ask: prober.Ask, Changed: c.changed, Failed: c.failed})
	return c
}

// startChecks begins to check; stop ends it when no script runs any more.
func (d *director) startChecks() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.checks.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// configured implements NodeOptions.Configured.
func (c *checks) configured(keys []lvs.ServiceKey) {
	c.mu.Lock()
	for _, key := range keys {
		c.touched[key] = true
	}
	c.mu.Unlock()
	wakeUp(c.wake)
}

// run checks until ctx ends, and follows the configuration.
func (c *checks) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { _ = c.engine.Run(ctx) })
	all.Go(func() { c.runFollow(ctx) })
	all.Wait()
	if !c.handed.Load() {
		c.engine.Stop()
	}
	c.scripts.close()
}

func (c *checks) runFollow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			c.follow()
		}
	}
}

// follow has the engine watch what is configured now.
func (c *checks) follow() {
	c.following.Lock()
	defer c.following.Unlock()
	c.mu.Lock()
	touched := c.touched
	c.touched = map[lvs.ServiceKey]bool{}
	c.mu.Unlock()
	services, care, own := c.node.watchable()
	c.touchCare(care, touched)
	var set []health.Service
	var keys, removed []lvs.ServiceKey
	for i := range services {
		key := services[i].Key
		if !touched[key] {
			continue
		}
		delete(touched, key)
		if s, ok := c.watch(&services[i]); ok {
			set, keys = append(set, s), append(keys, key)
		}
	}
	for key := range touched {
		removed = append(removed, key)
		c.forget(key)
	}
	c.engine.Change(set, removed)
	c.engine.Retell(keys) // the node forgets a real server that was away for a moment, the engine does not
	c.suspend(&own)
}

// suspend stops the checks of services with ha_suspend whose VIP is with another director.
func (c *checks) suspend(own *ownership) {
	states := map[lvs.ServiceKey]bool{}
	c.mu.Lock()
	for key, said := range c.watched {
		if said.HASuspend || c.suspended[key] {
			states[key] = said.HASuspend && own.of(key.Addr) == HoldNone
		}
	}
	c.mu.Unlock()
	c.suspended = states
	c.engine.Suspend(states)
}

// touchCare adds the services to touched of whose health the file says something else now.
func (c *checks) touchCare(care []config.Care, touched map[lvs.ServiceKey]bool) {
	if len(care) == len(c.care) && (len(care) == 0 || c.care[care[0].Service] == &care[0]) {
		return // no other file was read
	}
	next := make(map[lvs.ServiceKey]*config.Care, len(care))
	for i := range care {
		key := care[i].Service
		next[key] = &care[i]
		if old := c.care[key]; old == nil || old != next[key] && !reflect.DeepEqual(old, next[key]) {
			touched[key] = true
		}
	}
	for key := range c.care {
		if next[key] == nil {
			touched[key] = true
		}
	}
	c.care = next
}

// watch turns what is configured of a service into what the engine watches; ok is false if there is nothing to
// watch, and never was.
func (c *checks) watch(s *lvs.Service) (out health.Service, ok bool) {
	said := config.ChecksOf(s, c.care[s.Key])
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched[s.Key] == nil && !worthWatching(s, &said) {
		return out, false
	}
	c.watched[s.Key] = &said
	out = health.Service{Key: s.Key, Quorum: said.Quorum, Hysteresis: said.Hysteresis, Omega: said.Omega}
	var last []*health.Check
	var specs []health.Spec // what last was made of
	for i := range said.Servers {
		from := &said.Servers[i]
		if !sameSlice(specs, from.Specs) {
			last, specs = c.checksOf(s.Key, from, last), from.Specs
		}
		out.Servers = append(out.Servers, health.Server{
			Address: from.Address, Method: from.Method, Weight: from.Weight, Checks: last,
		})
		from.Specs = nil // the engine has them
	}
	return out, true
}

// worthWatching reports whether anything depends on the service's health.
func worthWatching(s *lvs.Service, said *config.Checks) bool {
	if s.Policy.Sorry.Server.IsValid() || len(said.QuorumUp)+len(said.QuorumDown) > 0 {
		return true
	}
	for i := range said.Servers {
		if len(said.Servers[i].Specs) > 0 {
			return true
		}
	}
	return false
}

func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
}

// checksOf returns the checks of a real server: last, those of the one before, if they are the same, which
// saves most of the memory.
func (c *checks) checksOf(key lvs.ServiceKey, s *config.ServerChecks, last []*health.Check) []*health.Check {
	same := len(last) == len(s.Specs)
	for i := 0; same && i < len(last); i++ {
		same = last[i].Spec.Equal(&s.Specs[i])
	}
	if same {
		return last
	}
	list := make([]*health.Check, 0, len(s.Specs))
	for _, spec := range s.Specs {
		check, err := health.NewCheck(spec, health.Common{}, key)
		if err != nil { // config has validated it: a defect
			c.log.Error("check left out", "service", key, "real_server", s.Address, "err", err)
			continue
		}
		list = append(list, check)
	}
	return list
}

func (c *checks) forget(key lvs.ServiceKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watched, key)
}

// said returns what the configuration says of a service that is watched, and of a real server of it; nil
// where there is none.
func (c *checks) said(key lvs.ServiceKey, server netip.AddrPort) (*config.Checks, *config.ServerChecks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.watched[key]
	if s == nil {
		return nil, nil
	}
	for i := range s.Servers {
		if s.Servers[i].Address == server {
			return s, &s.Servers[i]
		}
	}
	return s, nil
}

// watchable returns what checks follow. None of it is to be changed.
func (n *Node) watchable() ([]lvs.Service, []config.Care, ownership) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.services, n.care, n.own
}

// changed takes in what the engine found.
func (c *checks) changed(list []health.Change) {
	for i := range list {
		ch := &list[i]
		if ch.Reason != health.ReasonStopping {
			c.apply(ch)
		}
		if !ch.Initial && !ch.Again && ch.Reason != health.ReasonStopping {
			c.tell(ch)
		}
		if argv := c.scriptOf(ch); argv != nil && !ch.Again {
			c.scripts.run(ch, argv)
		}
	}
}

// apply has the node act upon a change.
func (c *checks) apply(ch *health.Change) {
	switch ch.Kind {
	case health.ServerUp, health.ServerDown:
		c.node.SetServerHealth(ch.Service, ch.Server, ch.Kind == health.ServerUp, ch.Words())
	case health.QuorumUp, health.QuorumDown:
		c.node.SetQuorum(ch.Service, ch.Kind == health.QuorumUp)
	case health.WeightChanged:
		weight := int64(-1)
		if ch.Dynamic {
			weight = int64(ch.Weight)
		}
		c.node.SetDynamicWeight(ch.Service, ch.Server, weight)
	}
}

// tell writes a change into the journal.
func (c *checks) tell(ch *health.Change) {
	e := events.Event{Kind: events.Kind(ch.Kind), Service: ch.Service.String(), Reason: ch.Words()}
	if ch.Server.IsValid() {
		e.RealServer = ch.Server.String()
	}
	switch ch.Kind {
	case health.ServerUp, health.QuorumUp:
		e.From, e.To = "down", "up"
	case health.ServerDown, health.QuorumDown:
		e.From, e.To = "up", "down"
	case health.WeightChanged:
		c.log.Info("weight by check", "service", ch.Service, "real_server", ch.Server, "weight", ch.Weight)
		return
	}
	c.journal.Add(e)
}

// failed logs a failure that changed nothing, for a check with log_all_failures.
func (c *checks) failed(ch health.Change) {
	c.log.Info("check failed", "service", ch.Service, "real_server", ch.Server, "check", ch.Check,
		"reason", string(ch.Reason), "detail", ch.Detail)
}

// scriptOf returns the script that has to hear of a change. keepalived's quorum scripts hear of the state at
// the start, too, if it is known.
func (c *checks) scriptOf(ch *health.Change) []string {
	service, server := c.said(ch.Service, ch.Server)
	switch {
	case service == nil:
		return nil
	case ch.Kind == health.QuorumUp && ch.Reason == "":
		return service.QuorumUp
	case ch.Kind == health.QuorumDown && ch.Reason != health.ReasonUnchecked:
		return service.QuorumDown
	case server == nil || ch.Initial:
		return nil
	case ch.Kind == health.ServerUp:
		return server.NotifyUp
	case ch.Kind == health.ServerDown:
		return server.NotifyDown
	}
	return nil
}
