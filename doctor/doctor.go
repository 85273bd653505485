// Package doctor finds what is wrong with a director, its real servers and its network, names it by a code that stays,
// explains it and says what to do.
//
// It owns the codes (docs/doctor.md has the same), what each means, and the probes: frames of its own to real servers,
// other directors and the LAN, each bounded in time, all at once. It changes nothing: it reads the machine (package
// tuning) and asks the running director (package control), if there is one. It does not judge real servers
// continuously; that is package health.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ulvs/config"
	"ulvs/control"
	"ulvs/tuning"
)

// Severity is how much a finding matters.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // clients get no answer, or will not after the next failure
	Warning Severity = "warning" // it costs speed, or will hurt later
)

// Finding is one thing that is wrong.
type Finding struct {
	Code     string   `json:"code"` // UD203; never given to anything else
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"` // whom it is about: a real server, an interface, a peer
	What     string   `json:"what"`    // what was seen
	Remedy   string   `json:"remedy"`
}

// Report is an examination's result.
type Report struct {
	Healthy  bool      `json:"healthy"` // no findings
	Running  bool      `json:"running"` // a director answered
	Findings []Finding `json:"findings"`
	// Unknown is what could not be examined, with the reason.
	Unknown []string `json:"unknown"`
	Probes  []Probe  `json:"probes"`
}

// Probe is one part of an examination.
type Probe struct {
	Name     string  `json:"name"`
	Seconds  float64 `json:"seconds"`
	Findings int     `json:"findings"`
}

// Facts are what a running director says of itself. Nil: it was not asked, or has no such part.
type Facts struct {
	Status *control.Status
	Health []control.ServiceHealth
	VRRP   *control.VRRP
	Sync   *control.Sync
}

// Patient is what is examined.
type Patient struct {
	Machine *tuning.Machine
	Config  *config.Config // nil: only the machine and what a director says
	Facts   Facts
	// Network is where probes go; nil: nowhere.
	Network *Network
	// Rules returns the host's packet filter as nft -j list ruleset prints it. May be nil.
	Rules func(ctx context.Context) ([]byte, error)
	Now   func() time.Time
}

// Limit bounds one probe; one that does not end is left behind and reported as unknown.
const Limit = 10 * time.Second

// probe is a part of an examination that runs beside the others.
type probe struct {
	name string
	run  func(ctx context.Context, p *Patient) ([]Finding, error)
}

// probes are all of them.
var probes = []probe{
	{"kernel", func(_ context.Context, p *Patient) ([]Finding, error) { return kernel(p), nil }},
	{"queues and cores", func(_ context.Context, p *Patient) ([]Finding, error) { return queues(p), nil }},
	{"interrupts", func(_ context.Context, p *Patient) ([]Finding, error) { return interrupts(p), nil }},
	{"drops", func(_ context.Context, p *Patient) ([]Finding, error) { return drops(p), nil }},
	{"zero-copy", func(_ context.Context, p *Patient) ([]Finding, error) { return copies(p), nil }},
	{"time", func(_ context.Context, p *Patient) ([]Finding, error) { return jumps(p), nil }},
	{"packet filter", firewall},
	{"session sync", func(_ context.Context, p *Patient) ([]Finding, error) { return syncing(p), nil }},
	{"checks", func(_ context.Context, p *Patient) ([]Finding, error) { return checks(p), nil }},
	{"tunnel MTU", tunnelMTU},
	{"real servers", realServers},
	{"VIPs on the LAN", duplicates},
	{"VRRP on the LAN", adverts},
	{"clocks of directors", clocks},
}

// Examine runs every probe at once and waits for the last, at most Limit. done is called as each ends, one at a
// time; it may be nil.
func Examine(ctx context.Context, p *Patient, done func(Probe)) *Report {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	r := &Report{Running: p.Facts.Status != nil, Findings: []Finding{}, Unknown: []string{}}
	type result struct {
		i        int
		findings []Finding
		err      error
		took     time.Duration
	}
	results := make(chan result, len(probes)) // one that is late finds room, and ends
	for i := range probes {
		go func() {
			begin := time.Now()
			findings, err := probes[i].run(ctx, p)
			results <- result{i, findings, err, time.Since(begin)}
		}()
	}
	left := map[int]bool{}
	for i := range probes {
		left[i] = true
	}
	grace := time.After(Limit + time.Second)
	for len(left) > 0 {
		select {
		case got := <-results:
			delete(left, got.i)
			probe := Probe{probes[got.i].name, got.took.Seconds(), len(got.findings)}
			r.Probes = append(r.Probes, probe)
			r.Findings = append(r.Findings, got.findings...)
			if got.err != nil {
				r.Unknown = append(r.Unknown, fmt.Sprintf("%s: %v", probe.Name, got.err))
			}
			if done != nil {
				done(probe)
			}
		case <-grace:
			for i := range left {
				r.Unknown = append(r.Unknown, probes[i].name+": did not end in time")
			}
			clear(left)
		}
	}
	r.sort()
	return r
}

// sort orders findings by severity and code, each once.
func (r *Report) sort() {
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return strings.Compare(string(a.Severity)+a.Code+a.Subject, string(b.Severity)+b.Code+b.Subject)
	})
	r.Findings = slices.CompactFunc(r.Findings, func(a, b Finding) bool {
		return a.Code == b.Code && a.Subject == b.Subject
	})
	slices.Sort(r.Unknown)
	r.Healthy = len(r.Findings) == 0
}

// find makes a finding of a code.
func find(code, subject, format string, args ...any) Finding {
	for _, c := range Codes {
		if c.Code == code {
			return Finding{code, c.Severity, subject, fmt.Sprintf(format, args...), c.Remedy}
		}
	}
	return Finding{code, Error, subject, fmt.Sprintf(format, args...), ""} // a test finds it
}

// Ask asks the director on a socket for its facts; they are empty if none answers.
func Ask(ctx context.Context, c *control.Client) Facts {
	var f Facts
	st, err := c.Status(ctx)
	if err != nil {
		return f
	}
	f.Status = &st
	var wait sync.WaitGroup
	wait.Go(func() { f.Health, _ = c.Health(ctx) })
	wait.Go(func() {
		if v, err := c.VRRP(ctx); err == nil {
			f.VRRP = &v
		}
	})
	wait.Go(func() {
		if s, err := c.Sync(ctx); err == nil {
			f.Sync = &s
		}
	})
	wait.Wait()
	return f
}
