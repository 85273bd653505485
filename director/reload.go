package director

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"ulvs/config"
	"ulvs/control"
	"ulvs/events"
)

// Load makes what a file says the running state: services, timeouts, settings and marks. Only
// differences have an effect: ids, counters, scheduler positions and sessions of what stays are
// kept. The answer says what changed, and how many edits made by hand are lost. On error nothing has changed.
func (n *Node) Load(c *config.Config) (control.Reloaded, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now, next := n.state(), c.State()
	out := control.Reloaded{
		Changes:        config.Words(config.Diff(now, next)),
		DiscardedEdits: config.Lost(n.loaded, now, next), NeedsRestart: []string{},
	}
	if marks := c.Marks(); !slices.Equal(marks, n.fileMarks) {
		out.Changes = append(out.Changes, fmt.Sprintf("marks: %d rules -> %d rules", len(n.fileMarks), len(marks)))
	}
	if len(out.Changes) > 0 || !now.Equal(next) {
		if err := n.load(next, c.Marks()); err != nil {
			return control.Reloaded{}, err
		}
	}
	n.setLoaded(next)
	return out, nil
}

// ApplyEdits implements control.ConfigEditor: what runs changes as edits in the file's words say, all of them with
// one snapshot, or none.
func (n *Node) ApplyEdits(edits []config.Edit) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.state()
	next, err := config.ApplyEdits(now, edits)
	if err != nil {
		return nil, err
	}
	changes := config.Words(config.Diff(now, next))
	care := n.care
	n.care = next.Care
	if err := n.replace(next.Services); err != nil {
		n.care = care
		return nil, err
	}
	for _, words := range changes[:min(len(changes), maxEditEvents)] {
		n.journal.Add(events.Event{Kind: events.ConfigEdited, Reason: words})
	}
	return changes, nil
}

// maxEditEvents bounds the events of one list of edits: the journal has room for other things, too.
const maxEditEvents = 100

// load changes everything with one snapshot, or nothing.
func (n *Node) load(next config.State, marks []config.Mark) error {
	timeouts, seconds, settings, oldMarks, care := n.timeouts, n.setSeconds, n.settings, n.fileMarks, n.care
	n.setTimeouts(wholeSeconds(next.Timeouts))
	n.settings, n.fileMarks, n.care = next.Settings, marks, next.Care
	err := n.apply(next.Services, !slices.Equal(marks, oldMarks))
	if err != nil {
		n.timeouts, n.setSeconds, n.settings, n.fileMarks, n.care = timeouts, seconds, settings, oldMarks, care
		return err
	}
	if n.opt.Configured != nil {
		n.opt.Configured(nil)
	}
	return nil
}

func wholeSeconds(t config.Timeouts) (seconds [3]int) {
	for i, d := range []time.Duration{t.TCP, t.TCPFin, t.UDP} {
		seconds[i] = int(d / time.Second)
	}
	return seconds
}

// setLoaded remembers what the file says.
func (n *Node) setLoaded(s config.State) {
	n.loaded = s
	n.version++
}

// state returns what runs; its services belong to the node.
func (n *Node) state() config.State {
	s := func(i int) time.Duration { return time.Duration(n.setSeconds[i]) * time.Second }
	return config.State{
		Services: n.services, Care: config.CareFor(n.care, n.services), Settings: n.settings,
		Timeouts: config.Timeouts{TCP: s(0), TCPFin: s(1), UDP: s(2)},
	}
}

// States returns what runs and what the file said when it was last read or written. Both are
// not to be changed.
func (n *Node) States() (running, loaded config.State) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.state(), n.loaded
}

// comparison is how far the running state is from the file. Comparing takes a while with many
// services, so it is done once per version.
type comparison struct {
	mu                 sync.Mutex
	version            uint64
	services, settings int // that differ
	timeouts           bool
}

// compare returns the comparison of now. The node is locked for reading at least.
func (n *Node) compare() *comparison {
	c := &n.compared
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version == n.version {
		return c
	}
	c.version, c.services, c.settings, c.timeouts = n.version, 0, 0, false
	last := ""
	for _, change := range config.Diff(n.loaded, n.state()) {
		switch {
		case change.Service != "" && change.Service != last:
			c.services++
		case change.Service != "":
		case strings.HasPrefix(change.Object, "setting "):
			c.settings++
		default:
			c.timeouts = true
		}
		last = change.Service
	}
	return c
}

// tell puts the comparison into a status.
func (c *comparison) tell(s *control.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.ModifiedServices, s.ModifiedSettings, s.ModifiedTimeouts = c.services, c.settings, c.timeouts
	s.Modified = c.services+c.settings > 0 || c.timeouts
}

var errNoFile = errors.New("this director runs without a file that it could read again")

// Reload implements control.Reloader: it reads the file again and applies what differs.
func (d *director) Reload() (control.Reloaded, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	out, err := d.reload()
	journalReload(d.journal, out, err)
	return out, err
}

func (d *director) reload() (control.Reloaded, error) {
	if d.opt.Load == nil {
		return control.Reloaded{}, errNoFile
	}
	c, err := d.opt.Load()
	if err != nil {
		return control.Reloaded{}, err
	}
	out, err := d.loadAll(c)
	if err != nil {
		return control.Reloaded{}, err
	}
	out.NeedsRestart = append(nodeChanges(d.opt.Config.Node, c.Node), d.syncRefused(&c.Sync)...)
	return out, nil
}

// loadAll loads what runs and what shows it, both or neither.
func (d *director) loadAll(c *config.Config) (control.Reloaded, error) {
	change, err := d.prepareSight(c)
	if err != nil {
		return control.Reloaded{}, err
	}
	takeover, err := d.prepareTakeover(c)
	if err != nil {
		change.cancel()
		return control.Reloaded{}, err
	}
	out, err := d.Load(c)
	if err != nil {
		change.cancel()
		takeover.cancel()
		return control.Reloaded{}, err
	}
	d.applySight(change)
	out.Changes = append(out.Changes, d.replication.reload(&c.Sync)...)
	out.Changes = append(out.Changes, takeover.apply()...)
	out.Changes = append(out.Changes, d.kernels.reload(&c.IPVSSync)...)
	return out, nil
}

// reloadBySignal is Reload for one who reads the log.
func (d *director) reloadBySignal() {
	out, err := d.Reload()
	if err != nil {
		d.log.Error("the configuration cannot be reloaded, nothing was changed", "err", err)
		return
	}
	for _, change := range out.Changes {
		d.log.Info("reloaded", "change", change)
	}
}

// nodeChanges names what of [node] differs: it is read at the start only.
func nodeChanges(runs, file config.Node) []string { return keyChanges("node", runs, file) }

// keyChanges names the keys of a section that differ.
func keyChanges(section string, runs, file any) []string {
	words := []string{}
	a, b := reflect.ValueOf(runs), reflect.ValueOf(file)
	for i := range a.NumField() {
		key := a.Type().Field(i).Tag.Get("json")
		if key == "" || reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			continue
		}
		words = append(words, fmt.Sprintf("%s.%s: %v -> %v", section, key, a.Field(i).Interface(), b.Field(i).Interface()))
	}
	return words
}

// Running implements control.Reloader.
func (d *director) Running() control.Running {
	running, loaded := d.States()
	return control.Running{ConfigPath: d.opt.ConfigPath, Running: running, Loaded: loaded}
}

// Saved implements control.Reloader: the file was written, and is what edits are compared with
// from now on. What runs does not change.
func (d *director) Saved() error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.opt.Load == nil {
		return errNoFile
	}
	c, err := d.opt.Load()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setLoaded(c.State())
	return nil
}

var (
	_ control.Reloader     = (*director)(nil)
	_ control.ConfigEditor = (*director)(nil)
)
