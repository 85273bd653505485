package forward

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ulvs/config"
	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
)

// Clients and changes of the test below.
const (
	liveClients = 1000
	liveChanges = 100
	liveLimit   = 4 * time.Minute // a tenth of it is usual
)

// live is a director whose real servers' health the test decides about, by the files that its checks read.
type live struct {
	*director
	rnd    *rand.Rand
	plain  string   // the lab's configuration
	health []string // by real server: its file
	kicked int      // the one that is out, -1: none
}

func startLive(t *testing.T, l *lab.Lab) *live {
	t.Helper()
	x := &live{director: &director{tb: t}, rnd: testutil.Rand(t), kicked: -1}
	x.plain = l.Config(lab.ConfigOptions{Family: 4, Scheduler: "wrr"})
	dir := t.TempDir()
	for i := range l.Addresses().Reals {
		x.health = append(x.health, filepath.Join(dir, fmt.Sprintf("r%d", i+1)))
		x.set(i, 0)
	}
	x.director = startWith(t, l, x.config(func() int { return 1 }))
	return x
}

// config gives every service a policy that keeps its sessions, and every real server its file and a weight.
func (x *live) config(weight func() int) string {
	text, at := withService(x.plain, "on_failure = \"inhibit\"\nslow_start = \"2s\""), 0
	parts := strings.Split(text, "weight = 1\n")
	var b strings.Builder
	for i, part := range parts {
		b.WriteString(part)
		if i+1 < len(parts) {
			fmt.Fprintf(&b, "weight = %d\n  check = { type = \"file\", path = %q }\n", weight(), x.health[at])
			at = (at + 1) % len(x.health)
		}
	}
	return b.String()
}

// set writes what the check of a real server reads: 0 is good.
func (x *live) set(real, value int) {
	if err := os.WriteFile(x.health[real], []byte(fmt.Sprintf("%d\n", value)), 0o600); err != nil {
		x.tb.Fatal(err)
	}
}

// changes makes as many changes as are wanted, and more until half as many came to a snapshot: some change nothing, and
// by some seeds most.
func (x *live) changes(ctx context.Context) error {
	for n := 0; ; n++ {
		st, err := x.client.Status(ctx)
		if err != nil || n >= liveChanges && st.Generation >= liveChanges/2 {
			return err
		}
		if err := x.change(ctx); err != nil {
			return err
		}
	}
}

// change does one thing that operators and checks do. One real server at least stays in.
func (x *live) change(ctx context.Context) error {
	services, err := x.client.Services(ctx, control.ServiceFilter{})
	if err != nil {
		return err
	}
	s := &services[x.rnd.IntN(len(services))]
	r := &s.RealServers[x.rnd.IntN(len(s.RealServers))]
	switch x.rnd.IntN(5) {
	case 0:
		text := x.config(func() int { return 1 + x.rnd.IntN(5) })
		if err := os.WriteFile(x.file, []byte(text), 0o600); err != nil {
			return err
		}
		_, err := x.client.Reload(ctx)
		return err
	case 1:
		_, err := x.client.ApplyEdits(ctx, []config.Edit{{Op: config.EditSetServer, Service: s.Name(),
			Server: r.Address.String(), Keys: map[string]any{"weight": 1 + x.rnd.IntN(9)}}})
		return err
	case 2:
		if x.kicked >= 0 || takesClients(s) < 2 {
			return nil // a kick takes a second to be seen
		}
		_, err := x.client.Drain(ctx, control.DrainRequest{Service: s.Name(), RealServer: r.Address, TimeoutSeconds: 1})
		return err
	case 3:
		_, err := x.client.Enable(ctx, control.DrainRequest{Service: s.Name(), RealServer: r.Address})
		return err
	}
	return x.kick(ctx)
}

func takesClients(s *control.Service) (n int) {
	for i := range s.RealServers {
		if s.RealServers[i].TakesClients() {
			n++
		}
	}
	return n
}

// kick has the checks of one real server fail, and those of the last one pass again. Before, everybody is enabled:
// with the others drained nobody would be left.
func (x *live) kick(ctx context.Context) error {
	if x.kicked >= 0 {
		x.set(x.kicked, 0)
		x.kicked = -1
		return nil
	}
	drains, err := x.client.Drains(ctx)
	if err != nil {
		return err
	}
	for _, d := range drains {
		if _, err := x.client.Enable(ctx, control.DrainRequest{Service: d.Service, RealServer: d.RealServer}); err != nil {
			return err
		}
	}
	if err := x.recovered(ctx); err != nil {
		return err
	}
	x.kicked = x.rnd.IntN(len(x.health))
	x.set(x.kicked, 1)
	return nil
}

// recovered waits until every check passes. They look once a second: with one kicked before the last one is found good
// again, and another right after, nobody might be left.
func (x *live) recovered(ctx context.Context) error {
	for {
		services, err := x.client.Services(ctx, control.ServiceFilter{})
		if err != nil || !slices.ContainsFunc(services, failing) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func failing(s control.Service) bool {
	return slices.ContainsFunc(s.RealServers, func(r control.RealServer) bool { return r.State == "down" })
}

// A thousand clients in a loop fail no request during a hundred reloads, edits of weights, drains and kicks, with all
// three methods, of services that keep their sessions.
func TestNoRequestFailsDuringLiveChanges(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-live"})
	x := startLive(t, l)
	ctx, cancel := context.WithTimeout(context.Background(), liveLimit)
	defer cancel()
	changed := make(chan error, 1)
	go func() { changed <- x.changes(ctx) }()
	answered := 0
	for over := false; !over; {
		for _, m := range methods {
			answered += x.clients(ctx, t, l, m)
		}
		select {
		case err := <-changed:
			if err != nil {
				t.Error(err)
			}
			over = true
		default:
		}
	}
	st := x.status()
	t.Logf("%d requests were answered during %d snapshots", answered, st.Generation)
	if st.Generation < liveChanges/2 || answered < liveClients {
		t.Errorf("%d snapshots, %d answers: nothing was tested", st.Generation, answered)
	}
}

// clients has all clients send requests at once, each a few on a connection of its own.
func (x *live) clients(ctx context.Context, t *testing.T, l *lab.Lab, m lvs.Method) int {
	t.Helper()
	r, err := l.Load(ctx, "c1", lab.LoadOptions{
		Kind: lab.KindHTTP, Target: target(l, m, false, lab.PortHTTP), Connections: liveClients, Parallel: liveClients,
		Requests: 3, Download: 3000,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed != 0 {
		t.Errorf("%s: %d of %d requests failed: %v; verdicts %v", m, r.Failed, r.OK+r.Failed, r.Errors, x.status().Verdicts)
	}
	return r.OK
}
