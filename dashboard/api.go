package dashboard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ulvs/control"
)

// Limits of the API.
const (
	maxPage       = 500
	defaultPage   = 100
	maxOffset     = 1 << 20
	maxProblems   = 100
	maxDropPlots  = 8
	maxWalks      = 2 // of the connection table at once
	maxWalkTime   = 3 * time.Second
	maxFilterText = 200
)

func answer(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the answer cannot be encoded")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the client has gone: nobody to tell
}

func refuse(w http.ResponseWriter, status int, words string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": words}) // as above
}

// page is which part of a list is asked for.
type page struct{ offset, limit int }

func pageOf(q url.Values) (p page, err error) {
	number := func(key string, def, limit int) int {
		text := q.Get(key)
		if text == "" || err != nil {
			return def
		}
		n, e := strconv.Atoi(text)
		if e != nil || n < 0 || n > limit {
			err = fmt.Errorf("%s: give 0 to %d", key, limit)
		}
		return n
	}
	p = page{number("offset", 0, maxOffset), number("limit", defaultPage, maxPage)}
	if text := q.Get("q"); err == nil && len(text) > maxFilterText {
		err = fmt.Errorf("q: give up to %d bytes", maxFilterText)
	}
	return p, err
}

// cut returns the page of a list.
func cut[T any](list []T, p page) []T {
	from := min(p.offset, len(list))
	return list[from:min(from+p.limit, len(list))]
}

// Overview is the director at a glance.
type Overview struct {
	control.Status
	Time     time.Time `json:"time"`
	Services struct {
		Total int `json:"total"`
		Bad   int `json:"bad"` // without a real server that takes clients
	} `json:"services"`
	RealServers map[string]int `json:"real_servers"` // by state
	Rates       control.Rates  `json:"rates"`
	Takeover    []Role         `json:"takeover"`
	Problems    []Problem      `json:"problems"`
	More        int            `json:"more_problems"`
}

// Role is a VRRP instance's state.
type Role struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// Problem is something that somebody should look at.
type Problem struct {
	Level   string `json:"level"`             // error: clients notice; warning
	Service string `json:"service,omitempty"` // to look at
	Text    string `json:"text"`
}

func (d *Dashboard) overview(w http.ResponseWriter, _ *http.Request) {
	now := d.now()
	out := Overview{Status: now.status, Time: now.at.UTC(), RealServers: map[string]int{}, Problems: []Problem{}}
	out.Takeover = d.roles()
	out.Services.Total = len(now.services)
	for i := range now.services {
		s := &now.services[i]
		up := 0
		for k := range s.RealServers {
			out.RealServers[s.RealServers[k].State]++
			if s.RealServers[k].TakesClients() {
				up++
			}
		}
		if up == 0 {
			out.Services.Bad++
		}
		addRates(&out.Rates, &s.Rates)
		out.Problems = append(out.Problems, serviceProblems(s, up)...)
	}
	out.Problems = append(machineProblems(&now.status), out.Problems...)
	slices.SortStableFunc(out.Problems, func(a, b Problem) int { return cmp.Compare(a.Level, b.Level) })
	if n := len(out.Problems); n > maxProblems {
		out.Problems, out.More = out.Problems[:maxProblems], n-maxProblems
	}
	answer(w, out)
}

func (d *Dashboard) roles() []Role {
	list := []Role{}
	for _, i := range d.vrrp().Instances {
		list = append(list, Role{i.Name, i.State})
	}
	return list
}

func addRates(sum, r *control.Rates) {
	sum.Conns += r.Conns
	sum.InPackets += r.InPackets
	sum.OutPackets += r.OutPackets
	sum.InBytes += r.InBytes
	sum.OutBytes += r.OutBytes
}

// Summary is a service in a list.
type Summary struct {
	Name               string        `json:"name"`
	Scheduler          string        `json:"scheduler"`
	Flags              []string      `json:"flags"`
	PersistenceSeconds int64         `json:"persistence_seconds"`
	OnePacket          bool          `json:"one_packet"`
	State              string        `json:"state"`
	Methods            []string      `json:"methods"`
	RealServers        int           `json:"real_servers"`
	Up                 int           `json:"up"`
	Weight             int64         `json:"weight"`
	Active             int64         `json:"active"`
	Inactive           int64         `json:"inactive"`
	Rates              control.Rates `json:"rates"`
	Stats              control.Stats `json:"stats"`
}

func summaryOf(s *control.Service) Summary {
	out := Summary{
		Name: s.Name(), Scheduler: s.Scheduler, Flags: s.Flags, PersistenceSeconds: s.PersistenceSeconds,
		OnePacket: s.OnePacket, State: s.State, RealServers: len(s.RealServers), Rates: s.Rates, Stats: s.Stats,
		Methods: []string{},
	}
	for i := range s.RealServers {
		r := &s.RealServers[i]
		out.Weight += int64(r.Weight)
		out.Active += int64(r.Active)
		out.Inactive += int64(r.Inactive)
		if r.TakesClients() {
			out.Up++
		}
		if !slices.Contains(out.Methods, r.Method) {
			out.Methods = append(out.Methods, r.Method)
		}
	}
	return out
}

// services lists those whose name or a real server's address contains q.
func (d *Dashboard) services(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p, err := pageOf(q)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	now, text := d.now(), q.Get("q")
	list := []Summary{}
	for i := range now.services {
		if s := &now.services[i]; mentions(s, text) {
			list = append(list, summaryOf(s))
		}
	}
	sortSummaries(list, q.Get("sort"))
	answer(w, map[string]any{"total": len(list), "services": cut(list, p)})
}

func mentions(s *control.Service, text string) bool {
	if text == "" || strings.Contains(s.Name(), text) || s.Scheduler == text {
		return true
	}
	return slices.ContainsFunc(s.RealServers, func(r control.RealServer) bool {
		return strings.Contains(r.Address.String(), text)
	})
}

// sortSummaries orders by a column, the largest first; by name without one.
func sortSummaries(list []Summary, by string) {
	value := map[string]func(s *Summary) int64{
		"conns":   func(s *Summary) int64 { return int64(s.Rates.Conns) },
		"packets": func(s *Summary) int64 { return int64(s.Rates.InPackets) },
		"bytes":   func(s *Summary) int64 { return int64(s.Rates.InBytes) },
		"active":  func(s *Summary) int64 { return s.Active },
		"down":    func(s *Summary) int64 { return int64(s.RealServers - s.Up) },
	}[by]
	slices.SortStableFunc(list, func(a, b Summary) int {
		if value != nil {
			if c := cmp.Compare(value(&b), value(&a)); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.Name, b.Name)
	})
}

// service returns one with a page of its real servers.
func (d *Dashboard) service(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p, err := pageOf(q)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	now := d.now()
	i := slices.IndexFunc(now.services, func(s control.Service) bool { return s.Name() == q.Get("name") })
	if i < 0 {
		refuse(w, http.StatusNotFound, "there is no such service (any more)")
		return
	}
	s := &now.services[i]
	servers := slices.Clone(s.RealServers)
	slices.SortStableFunc(servers, func(a, b control.RealServer) int { return a.Address.Compare(b.Address) })
	shown := cut(servers, p)
	answer(w, map[string]any{"service": summaryOf(s), "total": len(servers), "real_servers": shown,
		"checks": d.checks(s.Name(), shown)})
}

// Check is one check of a real server.
type Check struct {
	RealServer string `json:"real_server"`
	control.CheckHealth
}

// checks returns what is known of the checks of real servers.
func (d *Dashboard) checks(service string, servers []control.RealServer) []Check {
	list := []Check{}
	teller, ok := d.opt.Backend.(control.HealthTeller)
	if !ok {
		return list
	}
	all := teller.Health()
	i := slices.IndexFunc(all, func(h control.ServiceHealth) bool { return h.Service == service })
	if i < 0 {
		return list
	}
	known := map[netip.AddrPort][]control.CheckHealth{}
	for _, r := range all[i].RealServers {
		known[r.Address] = r.Checks
	}
	for k := range servers {
		for _, c := range known[servers[k].Address] {
			list = append(list, Check{servers[k].Address.String(), c})
		}
	}
	return list
}

// sessions returns a page of those that a filter takes, in the table's order.
func (d *Dashboard) sessions(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p, err := pageOf(q)
	var f control.ConnFilter
	if err == nil {
		f, err = connFilterOf(q)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if d.walks.Add(1) > maxWalks {
		d.walks.Add(-1)
		refuse(w, http.StatusServiceUnavailable, "others look at the sessions; try again")
		return
	}
	defer d.walks.Add(-1)
	list, more, cutOff := d.walk(r, &f, p)
	answer(w, map[string]any{"sessions": list, "more": more, "cut_off": cutOff})
}

// walk returns a page, whether there is more, and whether time was up before the page was full.
func (d *Dashboard) walk(r *http.Request, f *control.ConnFilter, p page) (list []control.Conn, more, cutOff bool) {
	list = []control.Conn{}
	end, seen, matched := time.Now().Add(maxWalkTime), 0, 0
	d.opt.Backend.Conns(*f, func(c control.Conn) bool {
		if seen++; seen%1024 == 0 && (r.Context().Err() != nil || time.Now().After(end)) {
			cutOff = true
			return false
		}
		if !f.Takes(&c) {
			return true
		}
		if matched++; matched <= p.offset {
			return true
		}
		if len(list) == p.limit {
			more = true
			return false
		}
		list = append(list, c)
		return true
	})
	return list, more, cutOff
}

func connFilterOf(q url.Values) (f control.ConnFilter, err error) {
	f.Protocol, f.State = q.Get("protocol"), q.Get("state")
	for _, m := range []struct {
		key string
		out *control.Match
	}{{"client", &f.Client}, {"vip", &f.VIP}, {"real_server", &f.RealServer}} {
		if *m.out, err = control.ParseMatch(q.Get(m.key)); err != nil {
			return f, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	return f, nil
}

// plots returns the last hour: of everything, of a service, or of drops by verdict.
func (d *Dashboard) plots(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	var out Plots
	switch q := r.URL.Query(); {
	case q.Has("service"):
		out = d.history.service(q.Get("service"))
	case q.Has("drops"):
		drops := map[string]bool{}
		for _, v := range d.cache.status.Verdicts {
			drops[v.Name] = v.Drop
		}
		out = d.history.drops(func(name string) bool { return drops[name] }, maxDropPlots)
	default:
		out = d.history.totals()
	}
	d.mu.Unlock()
	answer(w, out)
}

// Takeover is what the director knows of other directors.
type Takeover struct {
	control.VRRP
	Sync *control.Sync `json:"sync"` // nil: sessions are not replicated
}

func (d *Dashboard) takeover(w http.ResponseWriter, _ *http.Request) {
	out := Takeover{VRRP: d.vrrp()}
	if r, ok := d.opt.Backend.(control.Replicator); ok {
		if v, on := r.Sync(); on {
			out.Sync = &v
		}
	}
	answer(w, out)
}

// vrrp returns the instances; none without any.
func (d *Dashboard) vrrp() (v control.VRRP) {
	if t, ok := d.opt.Backend.(takeoverView); ok {
		v = t.VRRP()
	}
	if v.Instances == nil {
		v.Instances = []control.VRRPInstance{}
	}
	return v
}
