package director

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"ulvs/config"
	"ulvs/events"
	"ulvs/ha"
	"ulvs/ha/vrrp"
	"ulvs/internal/runner"
)

// openTakeover prepares VRRP where the file has instances; else the director holds every VIP.
func (d *director) openTakeover() error {
	conf := &d.opt.Config.Takeover
	if len(conf.Instances) == 0 {
		return nil
	}
	t, err := d.newTakeover(conf, nil)
	if err != nil {
		return err
	}
	d.setMACs(t.macs())
	d.SetUnits(t.vips, nil)
	d.takeover.Store(t)
	if d.successor != nil {
		return nil // VIPs on interfaces are ours
	}
	return d.dropStaleVIPs()
}

// newTakeover opens what conf needs and starts nothing. terms are those that are kept already, nil: the file is read
// if there is need.
func (d *director) newTakeover(conf *config.Takeover, terms *termStore) (*takeover, error) {
	t := &takeover{
		d: d, conf: conf, terms: terms, pause: make(chan struct{}), begin: d.started,
		events:  make(chan ha.Event, takeoverQueue),
		adverts: make(chan heardAdvert, takeoverQueue), ask: make(chan func(*ha.Machine)),
		stop: make(chan struct{}), done: make(chan struct{}), told: make(chan struct{}),
		sockets: map[socketKey]*vrrp.Socket{}, forgotten: map[int]bool{},
		announcer: map[string]*vrrp.Announcer{}, runner: runner.New(notifyScripts), notifies: make(chan func(), 256),
	}
	if err := t.open(); err != nil {
		return nil, errors.Join(err, t.closeSockets())
	}
	return t, nil
}

// startTakeover begins to listen and to send. first: the process has just begun, and may go on where another one
// stopped.
func (d *director) startTakeover(first bool) {
	t := d.takeover.Load()
	if t == nil {
		return
	}
	conf, going := t.machine(), false
	if s := d.successor; s != nil && first {
		conf.Terms, conf.Resume = s.terms(conf.Terms)
		going = len(conf.Resume) > 0
	}
	t.launch(ha.New(conf), nil)
	if r := d.replication; r != nil && !going { // until it has its peers' sessions
		t.tell(ha.Event{Kind: ha.EventReady, Up: r.isReady.Load()})
		t.tell(ha.Event{Kind: ha.EventMembers, Members: int(r.members.Load()) + 1})
	}
	t.tell(ha.Event{Kind: ha.EventStart})
}

// launch starts everything that goes on beside the caller.
func (t *takeover) launch(m *ha.Machine, first []ha.Action) {
	t.started.Store(true)
	go t.run(m, first)
	go t.runNotifies()
	t.startTracking()
	t.startGateways()
}

// machine is what the machine is made of.
func (t *takeover) machine() ha.Config {
	c := ha.Config{Node: t.d.opt.Config.Node.Name, Units: t.units, Directors: t.d.directors(),
		Gossip: t.d.replication != nil, Start: t.now()}
	if t.terms != nil {
		c.Terms = t.terms.file.Terms
	}
	if t.abstain > 0 {
		c.Abstain = c.Start + t.abstain
	}
	return c
}

// openVotes reads the terms of earlier lives where a unit is in mode quorum.
func (t *takeover) openVotes() error {
	if t.terms != nil || !slices.ContainsFunc(t.units, func(u ha.Unit) bool { return u.Quorum }) {
		return nil
	}
	node := &t.d.opt.Config.Node
	terms, lost, err := openTerms(node.StateDir, node.Name)
	if err != nil {
		return err
	}
	t.terms = terms
	if lost != nil {
		t.abstain = abstainFor
		t.d.log.Error("the terms of earlier votes are lost: no votes for a while, so that none is given twice",
			"err", lost, "abstains", abstainFor)
		t.d.journal.Add(events.Event{Kind: events.VRRPAlarm, Reason: "the terms of earlier votes are lost: " + lost.Error()})
	}
	return nil
}

// open opens sockets, and finds out which VIPs move together.
func (t *takeover) open() error {
	byName := map[string]*config.VRRP{}
	for i := range t.conf.Instances {
		byName[t.conf.Instances[i].Name] = &t.conf.Instances[i]
	}
	t.units = t.conf.Units()
	t.vips = make([][]netip.Addr, len(t.units))
	for u := range t.units {
		for k := range t.units[u].Instances {
			i := &t.units[u].Instances[k]
			if err := t.openInstance(u, i, byName[i.Name]); err != nil {
				return err
			}
			t.vips[u] = append(append(t.vips[u], i.VIPs...), i.Excluded...)
		}
		if err := t.openGateways(u); err != nil {
			return err
		}
	}
	if err := t.openVotes(); err != nil {
		return err
	}
	t.lingers, t.states = make([]time.Time, len(t.units)), make([]ha.State, len(t.units))
	return nil
}

func (t *takeover) openInstance(unit int, i *ha.Instance, conf *config.VRRP) (err error) {
	v6 := i.Family6()
	if !i.Source.IsValid() {
		if i.Source, err = vrrp.Source(i.Interface, v6, append(slices.Clone(i.VIPs), i.Excluded...)); err != nil {
			return fmt.Errorf("vrrp %s: %w", i.Name, err)
		}
	}
	key := socketKey{i.Interface, v6}
	if t.sockets[key] == nil {
		if t.sockets[key], err = vrrp.Open(i.Interface, v6); err != nil {
			return fmt.Errorf("vrrp %s: %w", i.Name, err)
		}
		t.readers.Add(1)
		go t.receive(t.sockets[key])
	}
	if t.announcer[i.Interface] == nil {
		if t.announcer[i.Interface], err = vrrp.OpenAnnouncer(i.Interface); err != nil {
			return fmt.Errorf("vrrp %s: %w", i.Name, err)
		}
	}
	ti := &takeoverInstance{VRRP: *conf, unit: unit, sock: t.sockets[key]}
	ti.Instance = *i
	t.instances = append(t.instances, ti)
	return nil
}

// close gives everything up and says so to the other directors.
func (t *takeover) close() error {
	if t == nil {
		return nil
	}
	if t.started.Load() {
		if !t.silent.Load() {
			close(t.stop)
		}
		<-t.done
		<-t.told
	}
	return t.closeSockets()
}

func (t *takeover) closeSockets() error {
	var errs []error
	for _, s := range t.sockets {
		errs = append(errs, s.Close())
	}
	for _, p := range t.probers {
		errs = append(errs, p.Close())
	}
	t.readers.Wait()
	for _, a := range t.announcer {
		errs = append(errs, a.Close())
	}
	return errors.Join(errs...)
}
