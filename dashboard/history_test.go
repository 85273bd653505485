package dashboard

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"ulvs/control"
)

// deadContext ends streams at once.
func deadContext() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}

func oneService(i int, stats control.Stats) control.Service {
	return control.Service{Protocol: "tcp", VIP: ap(fmt.Sprintf("192.0.2.1:%d", i+1)), Stats: stats,
		RealServers: []control.RealServer{{Active: 3}}}
}

func plotOf(t *testing.T, p Plots, name string) []float32 {
	t.Helper()
	for _, one := range p.Plots {
		if one.Name == name {
			return one.Values
		}
	}
	t.Fatalf("no plot %s in %+v", name, p)
	return nil
}

func wantValues(t *testing.T, what string, got []float32, want ...float32) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestCountersBecomeRates(t *testing.T) {
	h, now := newHistory(), noon
	for i, conns := range []uint64{1000, 1010, 1060, 5} { // the last: ipvsadm -Z
		st := control.Status{Verdicts: []control.Verdict{{Name: "tx_dr", Frames: 100}, {Name: "drop_x", Drop: true,
			Frames: uint64(i * 20)},
			{Name: "drop_y", Drop: true}}, Sessions: control.Sessions{Active: int64(i), Inactive: 7},
			Workers: []control.WorkerStatus{{IdleSeconds: float64(i) * 4}, {IdleSeconds: float64(i)}}}
		h.sample(now, &st, []control.Service{oneService(0, control.Stats{Conns: conns, InBytes: conns * 10})})
		now = now.Add(Step)
	}
	total := h.totals()
	wantValues(t, "conns", plotOf(t, total, "conns"), 2, 10, 1)
	wantValues(t, "in_bytes", plotOf(t, total, "in_bytes"), 20, 100, 10)
	wantValues(t, "drops", plotOf(t, total, "drops"), 4, 4, 4)
	wantValues(t, "sessions", plotOf(t, total, "sessions"), 1, 2, 3)
	wantValues(t, "inactive", plotOf(t, total, "inactive"), 7, 7, 7)
	wantValues(t, "busy", plotOf(t, total, "busy"), 0.5, 0.5, 0.5)
	wantValues(t, "a service's sessions", plotOf(t, h.service("tcp 192.0.2.1:1"), "sessions"), 3, 3, 3)
	drops := h.drops(func(string) bool { return true }, 9)
	if len(drops.Plots) != 1 || drops.Plots[0].Name != "drop_x" {
		t.Errorf("drops: got %+v", drops)
	}
	if got := h.service("none"); len(got.Plots) != 0 || !got.End.Equal(now.Add(-Step)) {
		t.Errorf("no service: got %+v", got)
	}
}

func TestAServiceThatComesLaterBeginsAtItsCounters(t *testing.T) {
	h := newHistory()
	st := control.Status{}
	h.sample(noon, &st, nil)
	h.sample(noon.Add(Step), &st, []control.Service{oneService(0, control.Stats{Conns: 5000})})
	h.sample(noon.Add(2*Step), &st, []control.Service{oneService(0, control.Stats{Conns: 5050})})
	wantValues(t, "conns", plotOf(t, h.totals(), "conns"), 0, 10)
	h.sample(noon.Add(3*Step), &st, nil)
	if len(h.services) != 0 {
		t.Error("a removed service is remembered")
	}
}

func TestTheHistoryIsAnHour(t *testing.T) {
	h, st := newHistory(), control.Status{}
	for i := range 2*Points + 10 {
		st.Sessions.Active = int64(i)
		h.sample(noon.Add(time.Duration(i)*Step), &st, nil)
	}
	got := plotOf(t, h.totals(), "sessions")
	if len(got) != Points || got[0] != float32(Points+10) || got[Points-1] != float32(2*Points+9) {
		t.Errorf("%d points from %v to %v", len(got), got[0], got[len(got)-1])
	}
}

func TestTheHistoryTakesFixedMemory(t *testing.T) {
	h, st := newHistory(), control.Status{}
	var list []control.Service
	for i := range 4 * maxServices {
		list = append(list, oneService(i, control.Stats{}))
	}
	h.sample(noon, &st, list)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 2 * Points {
		h.sample(noon.Add(time.Duration(i+1)*Step), &st, list)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if len(h.services) != maxServices {
		t.Errorf("%d services have a history", len(h.services))
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("two hours took %d bytes more", grown)
	}
	runtime.KeepAlive(h)
}
