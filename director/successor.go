package director

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"ulvs/conntrack"
	"ulvs/dataplane/afxdp"
	"ulvs/events"
	"ulvs/keep"
	"ulvs/sandbox"
	"ulvs/tuning"
)

// successor is this process's part of an upgrade: it goes on in another one's place. Nil: it starts on its own.
type successor struct {
	ch     *keep.Channel
	hello  hello
	table  *os.File
	estate estate
	files  []*os.File // of the estate

	programs []*os.File
	serves   bool // the other process has let go
	rules    bool // what is steered is ours to say
}

// helloLimit is for a process that has started this one and says so.
const helloLimit = 10 * time.Second

func openSuccessor(f *os.File) (*successor, error) {
	if f == nil {
		return nil, nil
	}
	ch, err := keep.OpenChannel(f)
	if err != nil {
		return nil, err
	}
	s := &successor{ch: ch}
	files, err := ch.Hear(sayHello, helloLimit, &s.hello)
	if err == nil && len(files) == 0 {
		err = errors.New("no table came")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take over from another process: %w", err), ch.Close())
	}
	s.table, s.programs = files[0], files[1:]
	if err := s.hello.Limits.Lacks(); err != nil {
		closeFiles(files)
		s.refuse(err)
		return nil, err
	}
	return s, nil
}

// confine gives up privileges that are needed no more. Workers that are started later, here or after an upgrade, go
// before others all the same.
func (d *director) confine() {
	if d.opt.Confine == nil {
		return
	}
	if err := tuning.AllowPreference(); err != nil {
		d.log.Info("workers that start later have no priority over other threads", "err", err)
	}
	var before sandbox.Limits
	if d.successor != nil {
		before = d.successor.hello.Limits
	}
	now := d.opt.Confine(before)
	d.limits.Store(&now)
}

// RefuseHandover tells the process that this one should have gone on for, by the channel f, why it cannot. A nil f is
// nobody.
func RefuseHandover(f *os.File, why error) {
	s, err := openSuccessor(f) // what is not heard before is an error at the other end
	if err != nil || s == nil {
		return
	}
	s.table.Close()
	s.refuse(why)
}

// refuse tells the other process why this one fails, so that it goes on and says so.
func (s *successor) refuse(err error) {
	if s == nil {
		return
	}
	if err != nil && !s.serves {
		_ = s.ch.Refuse(err)
	}
	s.ch.Close()
}

// inherit says that this process is prepared, and waits until the other one stands still.
func (d *director) inherit() (err error) {
	s := d.successor
	if s == nil {
		return nil
	}
	if err := s.ch.Say(sayPrepared, nil); err != nil {
		return err
	}
	if s.files, err = s.ch.Hear(sayFrozen, prepareLimit, &s.estate); err != nil {
		return fmt.Errorf("take over from another process: %w", err)
	}
	if t := d.takeover.Load(); t != nil {
		for u := range t.units {
			if _, master := s.estate.Masters[t.units[u].Name]; master {
				t.listen(u, true)
				d.SetHold(u, HoldAnswers)
			}
		}
	}
	d.checks.engine.Remember(s.hello.Health)
	d.checks.engine.Remember(s.estate.Health)
	d.resume(s.estate.Servers)
	return d.memory.reopen(s.table)
}

// adoptIO goes on with the sockets, programs and maps of the other process.
func (d *director) adoptIO() (err error) {
	d.ioMu.Lock()
	defer d.ioMu.Unlock()
	s := d.successor
	state := d.routes.State()
	ports := present(d.opt.Config.Node.Interfaces, state)
	if err := s.fits(ports, len(d.workers)); err != nil {
		return err
	}
	d.network = newKernelNetwork(ports, state)
	d.SetNetwork(d.network, true, true)
	for _, key := range s.estate.Hops {
		d.addHop(key)
	}
	d.refresh()
	for i, w := range d.workers {
		set, err := s.adoptSet(&s.estate.Sets[i], ports, d.log)
		if err != nil {
			return err
		}
		w.swap(set)
	}
	for _, w := range d.workers {
		d.startWorker(w)
	}
	d.forwarding = conntrack.BootTime()
	err = d.adoptSteering(ports)
	d.askHops()
	return err
}

// adoptSteering has this program's steering in the place of the other one's, which leads to the same sockets: the
// kernel takes its time with that, some ten milliseconds for an interface, and frames are forwarded meanwhile.
func (d *director) adoptSteering(ports []port) error {
	attached, err := d.steering.TakeOver()
	if err != nil {
		return err
	}
	for _, i := range allBelow(ports) {
		at := slices.IndexFunc(attached, func(a *afxdp.Attachment) bool { return a.Interface.Index == i.Index })
		d.attach = append(d.attach, attached[at])
	}
	d.successor.rules = true
	return d.steering.Set(d.rules())
}

// adoptSet takes the next worker's sockets.
func (s *successor) adoptSet(h *afxdp.Handed, ports []port, log *slog.Logger) (ioSet, error) {
	files := s.take(1 + len(h.Below()))
	if hasBond(ports) {
		return asSet(afxdp.AdoptTrunk(*h, files, trunkPorts(ports), log))
	}
	return asSet(afxdp.Adopt(*h, files, log))
}

// take returns the next n files of the estate.
func (s *successor) take(n int) []*os.File {
	n = min(n, len(s.files))
	files := s.files[:n]
	s.files = s.files[n:]
	return files
}

// fits refuses sockets of other interfaces or queues than the file has now.
func (s *successor) fits(ports []port, workers int) error {
	if len(s.estate.Sets) != workers {
		return fmt.Errorf("%d workers run and %d are wanted: restart instead", len(s.estate.Sets), workers)
	}
	for i := range s.estate.Sets {
		if h := &s.estate.Sets[i]; h.Options.Queue != i || !sameBelow(ports, h.Below()) {
			return errors.New("the interfaces are not those that the running process has: restart instead")
		}
	}
	for _, i := range allBelow(ports) {
		on := func(h afxdp.HandedPort) bool { return h.Interface.Index == i.Index }
		if !slices.ContainsFunc(s.hello.Steering.Ports, on) {
			return fmt.Errorf("no program came for %s: restart instead", i.Name)
		}
	}
	return nil
}

// sameBelow reports whether sockets are those of ports: in their order, which is that of Frame.Port, or those of bonds
// in any, since members come and go.
func sameBelow(ports []port, sockets []afxdp.Interface) bool {
	want := allBelow(ports)
	if hasBond(ports) {
		byIndex := func(a, b afxdp.Interface) int { return a.Index - b.Index }
		slices.SortFunc(want, byIndex)
		slices.SortFunc(sockets, byIndex)
	}
	return slices.Equal(want, sockets)
}

// succeed tells the other process that this one serves, and waits until it has let go of what only one can have.
func (d *director) succeed() error {
	s := d.successor
	if s == nil {
		return nil
	}
	if err := s.ch.Say(sayServing, serving{d.forwarding}); err != nil {
		return err
	}
	s.serves = true
	var last released
	if _, err := s.ch.Hear(sayReleased, helloLimit, &last); err != nil {
		d.log.Warn("the process before went away without a word", "err", err)
	}
	d.goOnCounting(last.Counters)
	d.memory.keepFile()
	for _, v := range s.estate.VIPs {
		if link, err := netlink.LinkByName(v.Link); err == nil {
			d.added = append(d.added, addedVIP{link, v.VIP})
		}
	}
	d.journal.Add(events.Event{Kind: events.Upgraded, From: s.hello.Version, To: d.opt.Version})
	return d.addVIPs()
}

// terms are those of earlier lives and the other process's, and the units that it was MASTER of.
func (s *successor) terms(earlier map[string]uint32) (terms map[string]uint32, resume map[string]bool) {
	terms, resume = maps.Clone(earlier), map[string]bool{}
	if terms == nil {
		terms = map[string]uint32{}
	}
	for unit, term := range s.estate.Masters {
		terms[unit], resume[unit] = max(terms[unit], term), true
	}
	return terms, resume
}

// freeLimit bounds how long addresses of the process before are waited for.
const (
	freeLimit = 5 * time.Second
	freePause = 10 * time.Millisecond
)

// retried tries something again that the process before may still hold up.
func (s *successor) retried(do func() error) error {
	err := do()
	if s == nil {
		return err
	}
	for end := time.Now().Add(freeLimit); err != nil && time.Now().Before(end); err = do() {
		time.Sleep(freePause)
	}
	return err
}
