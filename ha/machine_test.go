package ha

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// desk drives one machine and writes down what it does.
type desk struct {
	t   *testing.T
	m   *Machine
	now Time
}

func one(i Instance) Config {
	i.Name, i.VRID, i.Source, i.VIPs = "VI_1", 51, lvs1, []netip.Addr{vip4}
	return Config{Node: "lvs1", Directors: 1, Units: []Unit{{Name: "VI_1", Instances: []Instance{i}}}}
}

func newDesk(t *testing.T, cfg Config) *desk { return &desk{t: t, m: New(cfg)} }

// do hands over an event and returns the actions in words.
func (d *desk) do(ev Event) string { return words(d.m.Step(d.now, ev, nil)) }

// at lets the machine's timers run until now and returns what it did, with the times.
func (d *desk) at(now Time) string {
	var out []string
	for d.m.Deadline() <= now {
		d.now = d.m.Deadline()
		if w := d.do(Event{}); w != "" {
			out = append(out, fmt.Sprintf("%v %s", d.now, w))
		}
	}
	d.now = now
	return strings.Join(out, "; ")
}

func words(acts []Action) string {
	var out []string
	for _, a := range acts {
		switch a.Kind {
		case ActionSend:
			out = append(out, fmt.Sprintf("send %d", a.Advert.Priority))
		case ActionBecome:
			out = append(out, fmt.Sprintf("%s (%s)", a.State, a.Reason))
		case ActionAnnounce:
			out = append(out, fmt.Sprintf("announce %d", a.Count))
		case ActionClaim:
			out = append(out, fmt.Sprintf("claim %d %q", a.Claim.Term, a.Claim.Owner))
		case ActionQuery:
			out = append(out, "query "+a.Name)
		case ActionAnswer:
			out = append(out, fmt.Sprintf("answer %s %v", a.Name, a.Up))
		case ActionVoteAsk:
			out = append(out, fmt.Sprintf("ask votes %d", a.Claim.Term))
		case ActionVote:
			out = append(out, fmt.Sprintf("vote %s %d %v", a.Name, a.Claim.Term, a.Up))
		case ActionHandoverAsk:
			out = append(out, "ask handover "+a.Name)
		case ActionFlush:
			out = append(out, "flush "+a.Name)
		case ActionTerm, ActionSettle:
			continue // beside each claim, and announcement
		case ActionAlarm:
			out = append(out, "alarm: "+string(a.Reason))
		}
	}
	return strings.Join(out, ", ")
}

func (d *desk) want(got, want string) {
	d.t.Helper()
	if got != want {
		d.t.Errorf("at %v\n got %s\nwant %s", d.now, got, want)
	}
}

func advertOf(priority uint8, every Time) *Advert {
	return &Advert{Version: 3, VRID: 51, Priority: priority, Interval: every, Addrs: []netip.Addr{vip4}}
}

func (d *desk) hear(priority uint8, every Time) string {
	return d.do(Event{Kind: EventAdvert, Advert: advertOf(priority, every), From: lvs2})
}

func v3(priority uint8) Instance {
	return Instance{Version: 3, Priority: priority, AdvertInt: 100 * millisecond}
}

func TestABackupTakesOverWhenTheMasterDownTimeIsOver(t *testing.T) {
	for _, c := range []struct {
		i    Instance
		down Time
	}{
		{Instance{Version: 2, Priority: 100}, 3609375 * second / 1000000},
		{Instance{Version: 2, Priority: 254}, 3*second + second*2/256},
		{v3(100), 360937500},
		{Instance{Version: 3, Priority: 200, AdvertInt: 30 * millisecond}, 90*millisecond + 30*millisecond*56/256},
	} {
		d := newDesk(t, one(c.i))
		d.want(d.do(Event{Kind: EventStart}), "BACKUP (started)")
		d.want(d.at(c.down-1), "")
		d.want(d.at(c.down), fmt.Sprintf("%v send %d, MASTER (%s), claim 1 \"lvs1\", announce 1",
			c.down, c.i.Priority, ReasonMasterSilent))
	}
}

func TestTheOwnerOfTheAddressesIsMasterAtOnce(t *testing.T) {
	d := newDesk(t, one(v3(255)))
	d.want(d.do(Event{Kind: EventStart}),
		`send 255, MASTER (owns the addresses (priority 255)), claim 1 "lvs1", announce 1`)
}

func TestStateMasterWaitsForOneAdvertOnly(t *testing.T) {
	i := v3(200)
	i.InitialMaster = true
	d := newDesk(t, one(i))
	d.do(Event{Kind: EventStart})
	d.want(d.at(100*millisecond+100*millisecond*56/256-1), "")
	if got := d.at(122 * millisecond); !strings.Contains(got, "MASTER") {
		t.Errorf("got %q", got)
	}
}

func TestAMasterAdvertisesAndAnnounces(t *testing.T) {
	i := v3(100)
	i.GARPDelay, i.GARPRefresh = 5*second, 60*second
	d := newDesk(t, one(i))
	d.do(Event{Kind: EventStart})
	d.at(360937500)
	sends, announced := 0, []string{}
	begin := d.now
	for d.now < begin+10*second {
		d.now = d.m.Deadline()
		for _, a := range d.m.Step(d.now, Event{}, nil) {
			switch a.Kind {
			case ActionSend:
				sends++
			case ActionAnnounce:
				announced = append(announced, fmt.Sprintf("%dx%v", a.Count, d.now-begin))
			default:
				t.Errorf("did %s", words([]Action{a}))
			}
		}
	}
	if sends != 100 {
		t.Errorf("%d adverts in 10 s at 100 ms", sends)
	}
	if got, want := strings.Join(announced, " "), "1x40ms 1x120ms 1x1s 1x2s 1x3s 5x5s"; got != want {
		t.Errorf("announced %s, want %s", got, want)
	}
}

func TestAdvertsKeepABackupQuiet(t *testing.T) {
	d := newDesk(t, one(v3(100)))
	d.do(Event{Kind: EventStart})
	for range 20 {
		d.want(d.at(d.now+300*millisecond), "")
		d.want(d.hear(150, 200*millisecond), "")
	}
	// The master's interval counts in version 3, for the skew, too.
	down := 600*millisecond + 200*millisecond*156/256
	d.want(d.at(d.now+down-1), "")
	if got := d.at(d.now + 1); !strings.Contains(got, "MASTER") {
		t.Errorf("got %q", got)
	}
}

func TestALastAdvertShortensTheWaitToTheSkew(t *testing.T) {
	d := newDesk(t, one(v3(100)))
	d.do(Event{Kind: EventStart})
	d.hear(150, 100*millisecond)
	d.hear(0, 100*millisecond)
	skew := 100 * millisecond * 156 / 256
	d.want(d.at(d.now+skew-1), "")
	if got := d.at(d.now + 1); !strings.Contains(got, "MASTER (the master gave up)") {
		t.Errorf("got %q", got)
	}
}

func TestPreemption(t *testing.T) {
	heard := func(i Instance, events ...Event) (took Time) {
		d := newDesk(t, one(i))
		d.do(Event{Kind: EventStart})
		for _, ev := range events {
			d.do(ev)
		}
		for d.now < 20*second {
			d.hear(90, 100*millisecond)
			if got := d.at(d.now + 100*millisecond); strings.Contains(got, "MASTER") {
				if !strings.Contains(got, string(ReasonPreempt)) {
					t.Errorf("took over for another reason: %s", got)
				}
				return d.now
			}
		}
		return Never
	}
	no, delayed := v3(100), v3(100)
	no.NoPreempt, delayed.PreemptDelay = true, 5*second
	for _, c := range []struct {
		name     string
		got      Time
		min, max Time
	}{
		{"preempt", heard(v3(100)), 300 * millisecond, 500 * millisecond},
		{"nopreempt", heard(no), Never, Never},
		{"preempt_delay", heard(delayed), 5*second + 300*millisecond, 5*second + 600*millisecond},
		{"not ready", heard(v3(100), Event{Kind: EventReady}), Never, Never},
		{"released", heard(v3(100), Event{Kind: EventRelease}), Never, Never},
		{"released and resumed", heard(v3(100), Event{Kind: EventRelease}, Event{Kind: EventResume}), 0, 500 * millisecond},
	} {
		if c.got < c.min || c.got > c.max {
			t.Errorf("%s: took over after %v, want %v to %v", c.name, c.got, c.min, c.max)
		}
	}
}

func TestADirectorThatIsNotReadyTakesOverWhenNobodyServes(t *testing.T) {
	d := newDesk(t, one(v3(100)))
	d.do(Event{Kind: EventReady})
	d.do(Event{Kind: EventStart})
	if got := d.at(second); !strings.Contains(got, "alarm: "+string(AlarmNotReady)) || !strings.Contains(got, "MASTER") {
		t.Errorf("got %q", got)
	}
}

// master makes a desk whose machine is master since a while.
func master(t *testing.T, cfg Config) *desk {
	d := newDesk(t, cfg)
	d.do(Event{Kind: EventStart})
	d.at(10 * second)
	if s := d.m.View(0).State; s != StateMaster {
		t.Fatalf("state %s", s)
	}
	return d
}

func TestAMasterHearsOthers(t *testing.T) {
	low := func(d *desk) {
		d.m.Step(d.now, Event{Kind: EventSource, From: netip.MustParseAddr("198.18.0.99")}, nil)
	}
	for _, c := range []struct {
		name   string
		prio   uint8
		before func(*desk)
		want   string
	}{
		{"lower", 90, nil, "alarm: another master was heard, send 100, announce 5"},
		{"higher", 110, nil, `claim 1 "", BACKUP (a better advert was heard)`},
		{"equal, higher address", 100, nil, `claim 1 "", BACKUP (a better advert was heard)`},
		{"equal, lower address", 100, low, "alarm: another master was heard, send 100, announce 5"},
		{"gives up", 0, nil, "send 100"},
	} {
		d := master(t, one(v3(100)))
		if c.before != nil {
			c.before(d)
		}
		if got := d.hear(c.prio, 100*millisecond); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestAFloodOfLowerAdvertsDoesNotBecomeAFloodOfAnnouncements(t *testing.T) {
	d := master(t, one(v3(100)))
	announced := 0
	for range 1000 {
		announced += strings.Count(d.hear(90, 100*millisecond), "announce")
	}
	if announced != 1 {
		t.Errorf("announced %d times within a moment", announced)
	}
}

func TestAFaultGivesUpAndRecoveryListens(t *testing.T) {
	for _, c := range []struct {
		name     string
		down, up Event
		reason   Reason
	}{
		{"interface", Event{Kind: EventTrack, Name: "eth0"}, Event{Kind: EventTrack, Name: "eth0", Up: true}, ReasonFault},
		{"data plane", Event{Kind: EventDataplane}, Event{Kind: EventDataplane, Up: true}, ReasonDataplane},
	} {
		d := master(t, one(v3(100)))
		d.want(d.do(c.down), `send 0, claim 1 "", FAULT (`+string(c.reason)+")")
		d.want(d.at(d.now+10*second), "")
		d.want(d.hear(50, 100*millisecond), "")
		d.want(d.do(c.up), "BACKUP ("+string(ReasonRecovered)+")")
		if got := d.at(d.now + second); !strings.Contains(got, "claim 2") {
			t.Errorf("%s: after recovery: %q", c.name, got)
		}
	}
}

func TestWeightsMoveThePriority(t *testing.T) {
	d := master(t, one(v3(100)))
	for _, c := range []struct {
		ev   Event
		want uint8
	}{
		{Event{Kind: EventTrack, Name: "a", Weight: -20}, 80},
		{Event{Kind: EventTrack, Name: "b", Weight: 30}, 80},
		{Event{Kind: EventTrack, Name: "b", Weight: 30, Up: true}, 110},
		{Event{Kind: EventTrack, Name: "a", Weight: -20, Up: true}, 130},
		{Event{Kind: EventTrack, Name: "c", Weight: 253, Up: true}, 254},
		{Event{Kind: EventTrack, Name: "d", Weight: -253}, 130},
		{Event{Kind: EventTrack, Name: "e", Weight: -253}, 1},
	} {
		d.do(c.ev)
		if got := d.m.ViewInstance(0).Priority; got != c.want {
			t.Errorf("after %+v: priority %d, want %d", c.ev, got, c.want)
		}
	}
	owner := newDesk(t, one(v3(255)))
	owner.do(Event{Kind: EventTrack, Name: "a", Weight: -20})
	if got := owner.m.ViewInstance(0).Priority; got != 255 {
		t.Errorf("an owner's priority became %d", got)
	}
}

func TestAPriorityThatChangesMovesTheDownTimer(t *testing.T) {
	d := newDesk(t, one(v3(100)))
	d.do(Event{Kind: EventStart})
	before := d.m.ViewInstance(0).DownAt
	d.do(Event{Kind: EventTrack, Name: "a", Weight: -50})
	if got, want := d.m.ViewInstance(0).DownAt-before, 100*millisecond*50/256; got != want {
		t.Errorf("moved by %v, want %v", got, want)
	}
}

func TestAGroupMovesAsOne(t *testing.T) {
	cfg := one(v3(100))
	second := cfg.Units[0].Instances[0]
	second.Name, second.VRID = "VI_2", 52
	cfg.Units[0].Instances = append(cfg.Units[0].Instances, second)
	d := newDesk(t, cfg)
	d.do(Event{Kind: EventStart})
	for d.now < 2*1000*millisecond { // the second instance's master is alive
		d.do(Event{Kind: EventAdvert, Instance: 1, Advert: advertOf(150, 100*millisecond), From: lvs2})
		d.want(d.at(d.now+100*millisecond), "")
	}
	got := d.at(d.now + 1000*millisecond)
	if strings.Count(got, "MASTER") != 1 || !strings.Contains(got, "send 100, send 100, MASTER") {
		t.Errorf("when both are silent: %q", got)
	}
	d.want(d.do(Event{Kind: EventTrack, Instance: 1, Name: "eth1"}),
		`send 0, send 0, claim 1 "", FAULT (`+string(ReasonFault)+")")
}

func TestAMasterThatStoodStillListensFirst(t *testing.T) {
	d := master(t, one(v3(100)))
	d.now += 5 * second
	d.want(d.do(Event{}), `claim 1 "", BACKUP (`+string(ReasonPaused)+")")
	d.want(d.hear(150, 100*millisecond), "")
	d.want(d.at(d.now+300*millisecond), "")

	alone := master(t, one(v3(100)))
	alone.now += 5 * second
	alone.do(Event{})
	if got := alone.at(alone.now + 200*millisecond); !strings.Contains(got, "MASTER") {
		t.Errorf("alone: %q", got)
	}
}

// A backup counts from the last advert that it heard, not from when the next was due.
func TestAMasterThatStoodStillCountsFromItsLastAdvert(t *testing.T) {
	const down = Time(360937500)
	slower := one(v3(100))
	other := slower.Units[0].Instances[0]
	other.Name, other.VRID, other.AdvertInt = "VI_2", 52, 200*millisecond
	slower.Units[0].Instances = append(slower.Units[0].Instances, other)
	for _, c := range []struct {
		name string
		cfg  Config
		stop Time // after the last advert
		is   State
	}{
		{"as long as backups wait", one(v3(100)), down, StateMaster},
		{"a moment longer", one(v3(100)), down + 1, StateBackup},
		{"in version 2", one(Instance{Version: 2, Priority: 100}), 3609375*second/1000000 + 1, StateBackup},
		{"while a slower member of its group is not missed", slower, down + 1, StateMaster},
		{"as long as all of its group are missed", slower, 2*down + 1, StateBackup},
	} {
		d := newDesk(t, c.cfg)
		d.do(Event{Kind: EventStart})
		d.hear(150, second) // a master before; backups of this one do not wait for adverts that slow
		d.at(10 * second)
		d.do(Event{})
		for i := range d.m.inst {
			d.m.send(i, 100)
		}
		d.now += c.stop
		d.do(Event{})
		if got := d.m.View(0).State; got != c.is {
			t.Errorf("%s: %s, want %s", c.name, got, c.is)
		}
	}
}

func TestABackupThatStoodStillListensFirst(t *testing.T) {
	d := newDesk(t, one(v3(100)))
	d.do(Event{Kind: EventStart})
	d.now = 5 * second
	d.want(d.do(Event{}), "")
	d.want(d.hear(150, 100*millisecond), "")
	d.want(d.at(d.now+300*millisecond), "")
}

func TestTheEndGivesUp(t *testing.T) {
	d := master(t, one(v3(100)))
	d.want(d.do(Event{Kind: EventStop}), `send 0, claim 1 "", STOP (stopped)`)
	d.want(d.hear(50, 100*millisecond), "")
	d.want(d.at(d.now+100*second), "")
}

func TestAForeignRouterWithOurIDIsNamed(t *testing.T) {
	d := newDesk(t, one(v3(100)))
	d.do(Event{Kind: EventStart})
	a := advertOf(150, 100*millisecond)
	a.Addrs = []netip.Addr{lvs2}
	d.want(d.do(Event{Kind: EventAdvert, Advert: a, From: lvs2}), "alarm: "+string(AlarmVRIDUsed))
	d.want(d.do(Event{Kind: EventAdvert, Advert: a, From: lvs2}), "")
	d.now += alarmPause
	d.want(d.do(Event{Kind: EventAdvert, Advert: a, From: lvs2}), "alarm: "+string(AlarmVRIDUsed))
}

// That gossip is silent while adverts arrive is told once, and once that it is back.
func TestSilentGossipIsToldOnce(t *testing.T) {
	c := one(v3(100))
	c.Gossip, c.Directors = true, 2
	d := newDesk(t, c)
	d.do(Event{Kind: EventStart})
	alarms := ""
	hear := func(d *desk, seconds int, members int) {
		d.do(Event{Kind: EventMembers, Members: members})
		for range seconds * 10 {
			d.now += 100 * millisecond
			if said := d.hear(200, 100*millisecond); strings.Contains(said, "alarm") {
				alarms += said + "; "
			}
		}
	}
	hear(d, 30, 1)
	d.want(alarms, "alarm: "+string(AlarmSyncLost)+"; ")
	d.want(d.do(Event{Kind: EventMembers, Members: 2}), "alarm: "+string(AlarmSyncBack))
	alarms = ""
	hear(d, 30, 2)
	d.want(alarms, "")
	hear(d, 30, 1)
	d.want(alarms, "alarm: "+string(AlarmSyncLost)+"; ")
}

func TestAnOwnerThatGoesOnInAnotherProcessIsMasterAtOnce(t *testing.T) {
	c := one(v3(100))
	c.Terms, c.Resume = map[string]uint32{"VI_1": 7}, map[string]bool{"VI_1": true}
	d := newDesk(t, c)
	d.want(d.do(Event{Kind: EventStart}),
		fmt.Sprintf(`send 100, MASTER (%s), claim 8 "lvs1", announce 1`, ReasonResumed))
	c.Resume = map[string]bool{"VI_2": true}
	d = newDesk(t, c)
	d.want(d.do(Event{Kind: EventStart}), "BACKUP (started)")
}
