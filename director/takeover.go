package director

import (
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
	pause     chan struct{} // closed: end without giving anything up
	left      *ha.Machine   // the machine, when it was paused and has ended
	done      chan struct{} // closed when the machine has ended
	told      chan struct{} // closed when the last program that is told of a state has ended
	started   atomic.Bool
	silent    atomic.Bool // it ends without a word: another process goes on
	readers   sync.WaitGroup
	sockets   map[socketKey]*vrrp.Socket
	announcer map[string]*vrrp.Announcer
	runner    *runner.Runner
	notifies  chan func()
	complain  time.Time
	lingers   []time.Time // when a unit's lingering ends; zero: it does not linger
	settled   time.Time   // when all sessions of others should be here; zero: they are
	states    []ha.State
	vips      [][]netip.Addr // of the units
	owners    *owners        // of the goroutine's
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

// run is the takeover's goroutine. Its thread runs nothing else, so that adverts are sent in time. first is what the
// machine wants to begin with.
func (t *takeover) run(m *ha.Machine, first []ha.Action) {
	defer close(t.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer func() { t.endSettling(t.settled) }()
	beat := time.NewTicker(heartbeatPeriod)
	defer beat.Stop()
	hearts := t.d.newHearts()
	t.owners = newOwners(len(t.units), t.now())
	t.do(m, first)
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
			t.endSettling(time.Now())
		case now := <-beat.C:
			if changed, alive := hearts.look(now); changed {
				t.step(m, ha.Event{Kind: ha.EventDataplane, Up: alive})
			}
			t.owners.look(t, m)
		case <-t.stop:
			if !t.silent.Load() {
				t.step(m, ha.Event{Kind: ha.EventStop})
			}
			return
		case <-t.pause: // another one goes on with the machine's state
			t.left = m
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
	for _, at := range append(t.lingers[:len(t.lingers):len(t.lingers)], t.settled) {
		if !at.IsZero() {
			until = min(until, time.Until(at))
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
	t.do(m, m.Step(t.now(), ev, nil))
}

func (t *takeover) do(m *ha.Machine, actions []ha.Action) {
	clear(t.forgotten)
	for i := range actions {
		t.act(m, &actions[i])
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
		t.failed(in.send(t, &a.Advert))
	case ha.ActionBecome:
		t.become(m, a)
	case ha.ActionAnnounce:
		t.announce(a)
	case ha.ActionAlarm:
		t.alarm(a)
	case ha.ActionSettle:
		t.settle(time.Now().Add(a.Linger))
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
	t.listen(a.Unit, hold == HoldAnswers)
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

// settle has workers wait for what peers may be about to tell, until then at least.
func (t *takeover) settle(until time.Time) {
	if until.After(t.settled) {
		t.settled = until
	}
	t.d.Settle(true)
}

// endSettling has them wait no more, if it is time.
func (t *takeover) endSettling(now time.Time) {
	if !t.settled.IsZero() && !now.Before(t.settled) {
		t.settled = time.Time{}
		t.d.Settle(false)
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
		t.failed(t.announcer[in.Interface].Announce(vips, in.mac()))
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
