package dashboard

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"ulvs/control"
)

// The history's size: an hour of steps, of the totals, of every verdict, and of so many services. With
// 256 services that is 5 MiB, whatever happens.
const (
	Step        = 5 * time.Second
	Points      = int(time.Hour / Step)
	maxServices = 256
)

// Series of the totals and of a service. Rates are per second.
const (
	sConns = iota
	sInPackets
	sOutPackets
	sInBytes
	sOutBytes
	sSessions // active ones; no rate
	serviceSeries
)

// Series of the totals besides.
const (
	sDrops = serviceSeries + iota
	sInactive
	sBusy // share of the workers' time, 0 to 1
	totalSeries
)

// seriesNames are the names in the API.
var seriesNames = [totalSeries]string{"conns", "in_packets", "out_packets", "in_bytes", "out_bytes", "sessions",
	"drops", "inactive", "busy"}

// ring is one series.
type ring [Points]float32

// track is the history of a service.
type track [serviceSeries]ring

// history is an hour of samples. Its owner locks it.
type history struct {
	steps    int // sampled so far
	at       time.Time
	total    [totalSeries]ring
	services map[string]*track
	last     map[string]control.Stats // of all services
	verdicts map[string]*ring
	frames   map[string]uint64 // by verdict, at the last step
	idle     float64           // seconds, of all workers
}

func newHistory() *history {
	return &history{
		services: map[string]*track{}, last: map[string]control.Stats{}, verdicts: map[string]*ring{},
		frames: map[string]uint64{},
	}
}

// sample adds a step: what was counted since the last sample becomes rates. The first sample is only what
// the second is compared with.
func (h *history) sample(now time.Time, st *control.Status, services []control.Service) {
	elapsed := now.Sub(h.at).Seconds()
	if h.at.IsZero() || elapsed <= 0 {
		elapsed = Step.Seconds()
	}
	at := h.steps % Points
	for i := range h.total {
		h.total[i][at] = 0
	}
	h.sampleServices(at, elapsed, services)
	h.sampleVerdicts(at, elapsed, st.Verdicts)
	h.total[sSessions][at] = float32(st.Sessions.Active)
	h.total[sInactive][at] = float32(st.Sessions.Inactive)
	idle := 0.0
	for i := range st.Workers {
		idle += st.Workers[i].IdleSeconds
	}
	if n := float64(len(st.Workers)); n > 0 {
		h.total[sBusy][at] = float32(min(max(1-(idle-h.idle)/elapsed/n, 0), 1))
	}
	if !h.at.IsZero() {
		h.steps++
	}
	h.idle, h.at = idle, now
}

func (h *history) sampleServices(at int, elapsed float64, services []control.Service) {
	next := make(map[string]control.Stats, len(services))
	for i := range services {
		s := &services[i]
		name := s.Name()
		next[name] = s.Stats
		old, known := h.last[name]
		if !known {
			old = s.Stats
		}
		values := ratesOf(&old, &s.Stats, elapsed)
		for k := range sSessions {
			h.total[k][at] += values[k]
		}
		for k := range s.RealServers {
			values[sSessions] += float32(s.RealServers[k].Active)
		}
		if t := h.track(name); t != nil {
			for k := range t {
				t[k][at] = values[k]
			}
		}
	}
	h.last = next
	maps.DeleteFunc(h.services, func(name string, _ *track) bool { _, there := next[name]; return !there })
}

// track returns the history of a service, nil for one too many.
func (h *history) track(name string) *track {
	t := h.services[name]
	if t == nil && len(h.services) < maxServices {
		t = new(track)
		h.services[name] = t
	}
	return t
}

// ratesOf returns what was counted per second. Counters that went back (ipvsadm -Z) begin at 0.
func ratesOf(old, now *control.Stats, elapsed float64) (out [serviceSeries]float32) {
	for i, c := range [...][2]uint64{
		sConns: {old.Conns, now.Conns}, sInPackets: {old.InPackets, now.InPackets},
		sOutPackets: {old.OutPackets, now.OutPackets}, sInBytes: {old.InBytes, now.InBytes},
		sOutBytes: {old.OutBytes, now.OutBytes},
	} {
		if c[1] < c[0] {
			c[0] = 0
		}
		out[i] = float32(float64(c[1]-c[0]) / elapsed)
	}
	return out
}

func (h *history) sampleVerdicts(at int, elapsed float64, list []control.Verdict) {
	for _, v := range list {
		old, known := h.frames[v.Name]
		h.frames[v.Name] = v.Frames
		if !known || v.Frames < old {
			old = v.Frames
		}
		rate := float32(float64(v.Frames-old) / elapsed)
		if v.Drop {
			h.total[sDrops][at] += rate
		}
		if h.verdicts[v.Name] == nil {
			if v.Frames == 0 {
				continue // nothing of it yet: no memory for it
			}
			h.verdicts[v.Name] = new(ring)
		}
		h.verdicts[v.Name][at] = rate
	}
}

// Plot is a series of the API: oldest point first.
type Plot struct {
	Name   string    `json:"name"`
	Values []float32 `json:"values"`
}

// Plots are series over the same time. The last point is of End.
type Plots struct {
	StepSeconds float64   `json:"step_seconds"`
	End         time.Time `json:"end"`
	Plots       []Plot    `json:"plots"`
}

// values returns a series in order.
func (h *history) values(r *ring) []float32 {
	n := min(h.steps, Points)
	out := make([]float32, 0, n)
	for i := h.steps - n; i < h.steps; i++ {
		out = append(out, r[i%Points])
	}
	return out
}

func (h *history) plots() Plots {
	return Plots{StepSeconds: Step.Seconds(), End: h.at.UTC(), Plots: []Plot{}}
}

// totals returns the series of everything.
func (h *history) totals() Plots {
	p := h.plots()
	for i := range h.total {
		p.Plots = append(p.Plots, Plot{seriesNames[i], h.values(&h.total[i])})
	}
	return p
}

// service returns the series of a service; none if there is no history of it.
func (h *history) service(name string) Plots {
	p := h.plots()
	if t := h.services[name]; t != nil {
		for i := range t {
			p.Plots = append(p.Plots, Plot{seriesNames[i], h.values(&t[i])})
		}
	}
	return p
}

// drops returns the verdicts that dropped frames within the hour, the most first, at most limit.
func (h *history) drops(isDrop func(name string) bool, limit int) Plots {
	p := h.plots()
	sums := map[string]float64{}
	for name, r := range h.verdicts {
		if !isDrop(name) {
			continue
		}
		for _, v := range h.values(r) {
			sums[name] += float64(v)
		}
	}
	names := slices.SortedFunc(maps.Keys(sums), func(a, b string) int {
		return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b))
	})
	for _, name := range names[:min(len(names), limit)] {
		if sums[name] > 0 {
			p.Plots = append(p.Plots, Plot{name, h.values(h.verdicts[name])})
		}
	}
	return p
}
