package restart

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"ulvs/control"
	"ulvs/lvs"
)

// allFlows are TCP and UDP flows through both methods.
func allFlows(t *testing.T, b *bed, n int) (flows []*flow) {
	t.Helper()
	for _, m := range []lvs.Method{lvs.MethodDR, lvs.MethodNAT} {
		for _, network := range []string{"tcp", "udp"} {
			flows = append(flows, open(t, b.lab, network, m, n)...)
		}
	}
	return flows
}

// conns are the sessions of a director as lines without what changes by itself.
func (b *bed) conns() (lines []string) {
	b.t.Helper()
	err := b.client.Conns(context.Background(), control.ConnFilter{}, func(c control.Conn) bool {
		lines = append(lines, fmt.Sprint(c.Protocol, c.Client, c.VIP, c.RealServer, c.State, c.Flags))
		return true
	})
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func TestSessionsOutliveAKilledDirector(t *testing.T) {
	b := newBed(t, "t-rst-kill")
	b.start()
	flows := allFlows(t, b, 8)
	for round := range 2 {
		before, load := b.conns(), b.status().Sessions
		p := startProbe(t, b.lab, lvs.MethodDR)
		goOn(t, flows)
		b.end(syscall.SIGKILL)
		b.start()
		r := b.status().Restart
		goOn(t, flows)
		sent, lost, gap := p.end()
		t.Logf("round %d: %d sessions recovered in %.1f ms, gap %.0f ms; probe: %d of %d lost, %v without an answer",
			round, r.Sessions, r.Seconds*1000, r.GapSeconds*1000, lost, sent, gap)
		if want := len(before) + 1; r.Sessions != want || r.Dropped != 0 || r.Generation != uint64(round)+2 {
			t.Errorf("%+v, want %d sessions with the probe's", r, want)
		}
		for _, line := range before {
			if !slices.Contains(b.conns(), line) {
				t.Errorf("session is gone or another: %s", line)
			}
		}
		if now := b.status().Sessions; now.Active < load.Active || now.Active+now.Inactive < load.Active+load.Inactive {
			t.Errorf("%+v counted before, and %+v after", load, now)
		}
	}
}

func TestAnOrderlyRestartKeepsSessionsAsLongAsWanted(t *testing.T) {
	b := newBed(t, "t-rst-term")
	b.start()
	flows := allFlows(t, b, 2)
	b.end(syscall.SIGTERM)
	b.configure("[restart]\nkeep = \"keeper\"\nafter_stop = \"0s\"")
	b.start()
	goOn(t, flows)
	if r := b.status().Restart; r.Sessions != len(flows) || r.Keeper != "keeper" {
		t.Errorf("%+v, want %d sessions", r, len(flows))
	}
	b.end(syscall.SIGTERM)
	b.start()
	if r := b.status().Restart; r.Sessions != 0 || r.Generation != 1 {
		t.Errorf("sessions that nobody wanted came back: %+v", r)
	}
}
