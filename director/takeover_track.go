package director

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ulvs/config"
	"ulvs/ha"
	"ulvs/internal/runner"
	"ulvs/route"
)

// hearts watches whether workers move.
type hearts struct {
	d      *director
	seen   []uint64        // batches
	still  []time.Duration // since they last changed, as far as somebody looked
	looked time.Time
	alive  bool
}

func (d *director) newHearts() *hearts {
	h := &hearts{d: d, alive: true, looked: time.Now(), still: make([]time.Duration, len(d.workers))}
	for _, w := range d.workers {
		h.seen = append(h.seen, w.dp.Stats().Batches())
	}
	return h
}

// look wakes the workers, which sleep while nothing comes, and reports whether all of them moved lately. Whoever comes
// late to look was held up, most likely with the whole machine: then nobody knows of the workers, and a second look
// tells.
func (h *hearts) look(now time.Time) (changed, alive bool) {
	alive = true
	passed := min(now.Sub(h.looked), heartbeatLimit/2)
	h.looked = now
	for i, w := range h.d.workers {
		h.still[i] += passed
		if n := w.dp.Stats().Batches(); n != h.seen[i] {
			h.seen[i], h.still[i] = n, 0
		}
		alive = alive && h.still[i] < heartbeatLimit
		w.wake()
	}
	alive = alive || h.d.handing.Load()
	changed = alive != h.alive
	h.alive = alive
	return changed, alive
}

// startTracking begins to watch what priorities depend on.
func (t *takeover) startTracking() {
	t.links(t.d.routes.State())
	for i := range t.conf.Scripts {
		if s := &t.conf.Scripts[i]; t.used(s.Name, func(v *config.VRRP) []config.Track { return v.Scripts }) {
			go t.runScript(s)
		}
	}
	if len(t.conf.Files)+len(t.conf.Processes) > 0 {
		go t.runPolls()
	}
}

func (t *takeover) used(name string, of func(*config.VRRP) []config.Track) bool {
	return slices.ContainsFunc(t.instances, func(in *takeoverInstance) bool {
		return slices.ContainsFunc(of(&in.VRRP), func(tr config.Track) bool { return tr.Name == name })
	})
}

// track tells the machine of something that instances refer to by name. prefix keeps kinds apart.
func (t *takeover) track(prefix, name string, up bool, of func(*config.VRRP) []config.Track) {
	for i, in := range t.instances {
		for _, tr := range of(&in.VRRP) {
			if tr.Name == name {
				t.tell(ha.Event{Kind: ha.EventTrack, Instance: i, Name: prefix + name, Weight: tr.Weight, Up: up})
			}
		}
	}
}

// links tells the machine which interfaces are up.
func (t *takeover) links(state *route.State) {
	if t == nil {
		return
	}
	for i, in := range t.instances {
		l, ok := state.LinkByName(in.Interface)
		t.tell(ha.Event{Kind: ha.EventTrack, Instance: i, Name: "interface " + in.Interface, Up: ok && l.Up})
		for _, tr := range in.Interfaces {
			l, ok := state.LinkByName(tr.Name)
			t.tell(ha.Event{Kind: ha.EventTrack, Instance: i, Name: "track_interface " + tr.Name, Weight: tr.Weight,
				Up: ok && l.Up})
		}
	}
}

// runScript runs a script again and again. As in keepalived an instance is in FAULT until the first result, unless
// the script has a weight.
func (t *takeover) runScript(s *config.TrackScript) {
	counter := ha.NewScript(s.Rise, s.Fall, s.InitFail)
	scripts := func(v *config.VRRP) []config.Track { return v.Scripts }
	if s.Weight == 0 || s.InitFail {
		t.track("script ", s.Name, false, scripts)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-t.done
		cancel()
	}()
	tick := time.NewTicker(s.Interval)
	defer tick.Stop()
	for {
		out, err := t.runner.Run(ctx, runner.Command{Args: s.Command, Timeout: s.Timeout})
		if ctx.Err() != nil {
			return
		}
		if counter.Result(err == nil && out.Code == 0 && !out.TimedOut) {
			t.d.log.Info("tracked script", "script", s.Name, "up", counter.Up(), "code", out.Code, "err", err)
			t.track("script ", s.Name, counter.Up(), scripts)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

const pollPeriod = time.Second // of files and processes

// runPolls looks at tracked files and processes.
func (t *takeover) runPolls() {
	tick := time.NewTicker(pollPeriod)
	defer tick.Stop()
	for {
		for i := range t.conf.Files {
			t.pollFile(&t.conf.Files[i])
		}
		t.pollProcesses()
		select {
		case <-tick.C:
		case <-t.done:
			return
		}
	}
}

// fileFault is what keepalived takes for a fault, whatever the weight.
const fileFault = -254

// pollFile adds the file's number times weight to the priority; without a weight any number but 0 is a fault.
func (t *takeover) pollFile(f *config.TrackFile) {
	value, err := readNumber(f.Path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.failed(fmt.Errorf("track_file %s: %w", f.Name, err))
	}
	for i, in := range t.instances {
		for _, tr := range in.Files {
			if tr.Name != f.Name {
				continue
			}
			ev := ha.Event{Kind: ha.EventTrack, Instance: i, Name: "file " + f.Name, Weight: value * tr.Weight, Up: true}
			if ev.Weight <= fileFault || tr.Weight == 0 && value != 0 {
				ev.Weight, ev.Up = 0, false
			} else if ev.Weight < 0 {
				ev.Up = false // a negative weight counts while what is tracked is down
			}
			t.tell(ev)
		}
	}
}

func readNumber(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return 0, nil
	}
	n, err := strconv.Atoi(string(text[:min(len(text), 32)]))
	return min(max(n, -1000), 1000), err
}

// pollProcesses counts the processes of each tracked name.
func (t *takeover) pollProcesses() {
	if len(t.conf.Processes) == 0 {
		return
	}
	running := map[string]int{}
	names, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is right: no error
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err == nil { // else it has just ended
			running[strings.TrimSpace(string(comm))]++
		}
	}
	for _, p := range t.conf.Processes {
		comm := p.Process[:min(len(p.Process), 15)] // the kernel cuts it (TASK_COMM_LEN)
		t.track("process ", p.Name, running[comm] >= p.Quorum, func(v *config.VRRP) []config.Track { return v.Processes })
	}
}
