package director

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ulvs/config"
	"ulvs/events"
	"ulvs/ha"
	"ulvs/ha/vrrp"
	"ulvs/internal/runner"
)

const (
	// takeoverQueue bounds what waits for the takeover's goroutine: adverts of a second of a flood.
	takeoverQueue = 1024
	// heartbeatPeriod is how often workers are looked at, and heartbeatLimit how long one may stand still.
	heartbeatPeriod = 50 * time.Millisecond
	heartbeatLimit  = 500 * time.Millisecond
	// notifyScripts run at once, in order of the state changes where one instance has several.
	notifyScripts = 8
	// sendComplaints is how often a failing send is logged.
	sendComplaints = 10 * time.Second
)

// takeover is VRRP at work: one goroutine owns the machine, all others send it events.
type takeover struct {
	d         *director
	conf      *config.Takeover
	instances []*takeoverInstance // in the machine's order
	units     []ha.Unit
	begin     time.Time
	events    chan ha.Event
	adverts   chan heardAdvert
	ask       chan func(*ha.Machine)
	stop      chan struct{}
	done      chan struct{} // closed when the machine has ended
	told      chan struct{} // closed when the last program that is told of a state has ended
	started   bool
	silent    atomic.Bool // it ends without a word: another process goes on
	readers   sync.WaitGroup
	sockets   map[socketKey]*vrrp.Socket
	announcer map[string]*vrrp.Announcer
	runner    *runner.Runner
	notifies  chan func()
	complain  time.Time
	lingers   []time.Time // when a unit's lingering ends; zero: it does not linger
	states    []ha.State
	gateways  []*gatewayWatch
	probers   []*vrrp.Prober
	terms     *termStore // nil: no unit is in mode quorum
	abstain   time.Duration
	forgotten map[int]bool // units whose term could not be kept in this step
}

// heardAdvert is what came on a socket: an advert, or why it is none.
type heardAdvert struct {
	vrrp.Received
	reject ha.Reject
}

type socketKey struct {
	link string
	v6   bool
}

type takeoverInstance struct {
	config.VRRP
	unit int
	sock *vrrp.Socket
}

// openTakeover prepares VRRP where the file has instances; else the director holds every VIP.
func (d *director) openTakeover() error {
	conf := &d.opt.Config.Takeover
	if len(conf.Instances) == 0 {
		return nil
	}
	t := &takeover{
		d: d, conf: conf, begin: d.started, events: make(chan ha.Event, takeoverQueue),
		adverts: make(chan heardAdvert, takeoverQueue), ask: make(chan func(*ha.Machine)),
		stop: make(chan struct{}), done: make(chan struct{}), told: make(chan struct{}),
		sockets: map[socketKey]*vrrp.Socket{}, forgotten: map[int]bool{},
		announcer: map[string]*vrrp.Announcer{}, runner: runner.New(notifyScripts), notifies: make(chan func(), 256),
	}
	if err := t.open(); err != nil {
		return errors.Join(err, t.closeSockets())
	}
	d.takeover = t
	if d.successor != nil {
		return nil // VIPs on interfaces are ours
	}
	return d.dropStaleVIPs()
}

// startTakeover begins to listen and to send.
func (d *director) startTakeover() {
	t := d.takeover
	if t == nil {
		return
	}
	t.started = true
	conf, going := t.machine(), false
	if s := d.successor; s != nil {
		conf.Terms, conf.Resume = s.terms(conf.Terms)
		going = len(conf.Resume) > 0
	}
	go t.run(ha.New(conf))
	go t.runNotifies()
	t.startTracking()
	t.startGateways()
	if d.replication != nil && !going { // until it has its peers' sessions
		t.tell(ha.Event{Kind: ha.EventReady})
	}
	t.tell(ha.Event{Kind: ha.EventStart})
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
	if !slices.ContainsFunc(t.units, func(u ha.Unit) bool { return u.Quorum }) {
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

// open opens sockets, and tells the node which VIPs move together.
func (t *takeover) open() error {
	byName := map[string]*config.VRRP{}
	for i := range t.conf.Instances {
		byName[t.conf.Instances[i].Name] = &t.conf.Instances[i]
	}
	t.units = t.conf.Units()
	vips := make([][]netip.Addr, len(t.units))
	for u := range t.units {
		for k := range t.units[u].Instances {
			i := &t.units[u].Instances[k]
			if err := t.openInstance(u, i, byName[i.Name]); err != nil {
				return err
			}
			vips[u] = append(append(vips[u], i.VIPs...), i.Excluded...)
		}
		if err := t.openGateways(u); err != nil {
			return err
		}
	}
	if err := t.openVotes(); err != nil {
		return err
	}
	t.lingers, t.states = make([]time.Time, len(t.units)), make([]ha.State, len(t.units))
	t.d.SetUnits(vips)
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

// receive hands over what arrives on a socket until it is closed. What does not fit is dropped: a flood must not
// cost memory, and of real adverts another comes.
func (t *takeover) receive(s *vrrp.Socket) {
	defer t.readers.Done()
	for {
		var r heardAdvert
		var err error
		r.reject, err = s.Receive(&r.Received)
		if err != nil {
			return
		}
		select {
		case t.adverts <- r:
		default:
		}
	}
}

// now is the machine's time.
func (t *takeover) now() ha.Time { return time.Since(t.begin) }

// tell gives the machine an event; it is never waited for while the machine has ended.
func (t *takeover) tell(ev ha.Event) {
	select {
	case t.events <- ev:
	case <-t.done:
	}
}

// inspect runs f on the machine's goroutine and returns when it has run.
func (t *takeover) inspect(f func(*ha.Machine)) {
	ran := make(chan struct{})
	select {
	case t.ask <- func(m *ha.Machine) { f(m); close(ran) }:
		<-ran
	case <-t.done:
	}
}

// run is the takeover's goroutine. Its thread runs nothing else, so that adverts are sent in time.
func (t *takeover) run(m *ha.Machine) {
	defer close(t.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	timer := time.NewTimer(0)
	defer timer.Stop()
	beat := time.NewTicker(heartbeatPeriod)
	defer beat.Stop()
	hearts := t.d.newHearts()
	for {
		timer.Reset(t.wait(m))
		select {
		case r := <-t.adverts:
			t.heard(m, &r)
		case ev := <-t.events:
			t.step(m, ev)
		case f := <-t.ask:
			f(m)
		case <-timer.C:
			t.drain(m)
			t.step(m, ha.Event{})
			t.endLingers()
		case now := <-beat.C:
			if changed, alive := hearts.look(now); changed {
				t.step(m, ha.Event{Kind: ha.EventDataplane, Up: alive})
			}
		case <-t.stop:
			if !t.silent.Load() {
				t.step(m, ha.Event{Kind: ha.EventStop})
			}
			return
		}
	}
}

// wait returns how long the machine has nothing to do.
func (t *takeover) wait(m *ha.Machine) time.Duration {
	until := time.Duration(1 << 62)
	if at := m.Deadline(); at != ha.Never {
		until = at - t.now()
	}
	for _, l := range t.lingers {
		if !l.IsZero() {
			until = min(until, time.Until(l))
		}
	}
	return max(until, 0)
}

// drain takes the adverts that wait before time is looked at: they came before it.
func (t *takeover) drain(m *ha.Machine) {
	for range takeoverQueue {
		select {
		case r := <-t.adverts:
			t.heard(m, &r)
		default:
			return
		}
	}
}

// heard finds the instance that an advert is for.
func (t *takeover) heard(m *ha.Machine, r *heardAdvert) {
	if r.reject != ha.RejectNone {
		m.Count(r.reject)
		return
	}
	for i, in := range t.instances {
		if in.Interface != r.Interface || in.VRID != r.Advert.VRID || in.Family6() != r.Src.Is6() {
			continue
		}
		if m.Check(i, &r.Advert, r.Arrival) == ha.RejectNone {
			t.step(m, ha.Event{Kind: ha.EventAdvert, Instance: i, Advert: &r.Advert, From: r.Src})
		}
		return
	}
	m.Count(ha.RejectVRID)
}

// step gives the machine an event and does what it wants.
func (t *takeover) step(m *ha.Machine, ev ha.Event) {
	clear(t.forgotten)
	for _, a := range m.Step(t.now(), ev, nil) {
		t.act(m, &a)
	}
}

// keepTerm writes a term down. What cannot be written must not be voted for in the same step.
func (t *takeover) keepTerm(a *ha.Action) {
	if t.terms == nil {
		return
	}
	if err := t.terms.keep(a.Claim.Unit, a.Claim.Term); err != nil && a.Up {
		t.forgotten[a.Unit] = true
		t.failed(err)
		t.d.journal.Add(events.Event{Kind: events.VRRPAlarm, Instance: t.units[a.Unit].Name,
			Reason: "no vote, since its term cannot be kept: " + err.Error()})
	}
}

func (t *takeover) act(m *ha.Machine, a *ha.Action) {
	if t.speak(a) {
		return
	}
	switch a.Kind {
	case ha.ActionSend:
		in := t.instances[a.Instance]
		t.failed(in.sock.Send(&a.Advert, in.Source, in.Peers))
	case ha.ActionBecome:
		t.become(m, a)
	case ha.ActionAnnounce:
		t.announce(a)
	case ha.ActionAlarm:
		t.alarm(a)
	case ha.ActionTerm:
		t.keepTerm(a)
	case ha.ActionFlush:
		t.step(m, ha.Event{Kind: ha.EventFlushed, Unit: a.Unit}) // nothing to send without peers
	}
}

// become has the VIPs of a unit follow its state.
func (t *takeover) become(m *ha.Machine, a *ha.Action) {
	before := t.states[a.Unit]
	t.states[a.Unit] = a.State
	hold := HoldNone
	switch {
	case a.State == ha.StateMaster:
		hold = HoldAnswers
		t.d.replication.takes(a.Claim.Term)
	case a.Linger > 0:
		hold = HoldLinger
		t.lingers[a.Unit] = time.Now().Add(a.Linger)
	}
	if hold != HoldLinger {
		t.lingers[a.Unit] = time.Time{}
	}
	t.d.SetHold(a.Unit, hold)
	for i, in := range t.instances {
		if in.unit != a.Unit {
			continue
		}
		t.d.journal.Add(events.Event{Kind: events.VRRPTransition, Instance: in.Name, From: before.String(),
			To: a.State.String(), Reason: string(a.Reason), Count: int64(m.ViewInstance(i).Priority)})
		t.notify(in, a.State, m.ViewInstance(i).Priority)
		t.d.kernels.follow(in.Name, a.State == ha.StateMaster)
	}
	t.notifyGroup(a)
}

// endLingers stops forwarding what was handed over.
func (t *takeover) endLingers() {
	for u, at := range t.lingers {
		if !at.IsZero() && !time.Now().Before(at) {
			t.lingers[u] = time.Time{}
			t.d.SetHold(u, HoldNone)
		}
	}
}

// announce tells the neighbours of an instance's interface where its VIPs are; the first instance of the first unit
// announces those of services that no instance names.
func (t *takeover) announce(a *ha.Action) {
	in := t.instances[a.Instance]
	vips := append(slices.Clone(in.VIPs), in.Excluded...)
	if a.Instance == 0 {
		named := map[netip.Addr]bool{}
		for _, other := range t.instances {
			for _, vip := range append(slices.Clone(other.VIPs), other.Excluded...) {
				named[vip] = true
			}
		}
		for _, vip := range t.d.VIPsOf(a.Unit) {
			if !named[vip] {
				vips = append(vips, vip)
			}
		}
	}
	for range a.Count {
		t.failed(t.announcer[in.Interface].Announce(vips))
	}
}

func (t *takeover) alarm(a *ha.Action) {
	kind := events.OwnerConflict
	if a.Reason != ha.AlarmTwoMasters && a.Reason != ha.AlarmVRIDUsed {
		kind = events.VRRPAlarm
	}
	ev := events.Event{Kind: kind, Instance: t.units[a.Unit].Name, Reason: string(a.Reason)}
	if a.From.IsValid() {
		ev.Reason += ": " + a.From.String()
	}
	t.d.journal.Add(ev)
}

// failed complains about what could not be sent, once in a while.
func (t *takeover) failed(err error) {
	if err == nil || time.Since(t.complain) < sendComplaints {
		return
	}
	t.complain = time.Now()
	t.d.log.Warn("cannot send", "err", err)
}

// close gives everything up and says so to the other directors.
func (t *takeover) close() error {
	if t == nil {
		return nil
	}
	if t.started {
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
