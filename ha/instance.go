package ha

import "net/netip"

// instance is a vrrp_instance at work.
type instance struct {
	Instance
	unit   int
	tracks map[string]track
	addrs  map[netip.Addr]bool // the VIPs, for comparing

	interval   Time // between the master's adverts; ours in MASTER, and until one is heard
	heard      Time // when an advert was accepted, or listening began
	downAt     Time // the master is dead then
	asked      bool // the owner was asked whether it serves, since the timer was armed
	wants      bool // the timer ran out: master, as soon as the whole unit wants it
	preempting bool // a lower master's advert was let pass since the timer was armed
	gaveUp     bool // the master's last advert was heard since then

	preemptAt Time // lower masters are accepted until then; Never: until one is heard
	advertAt  Time
	announce  []Time // when VIPs are announced once, ascending
	secondAt  Time   // second burst
	refreshAt Time
	answerAt  Time // another master's adverts are answered with none before
	lowerAt   Time // a lower master's adverts cause no announcement before

	senders map[netip.Addr]sender // masters heard, but for this director
}

// sender is a master that was heard.
type sender struct {
	at, every Time // when last, and how often it says it sends
}

// sendersMax bounds them: two are a fault, more somebody's joke.
const sendersMax = 8

// note remembers who sent an advert, and forgets who gave up.
func (in *instance) note(a *Advert, from netip.Addr, now Time) {
	if a.Priority == PriorityGiveUp {
		delete(in.senders, from)
		return
	}
	for other, s := range in.senders {
		if s.silent(in, now) {
			delete(in.senders, other)
		}
	}
	if len(in.senders) < sendersMax {
		in.senders[from] = sender{now, a.Interval}
	}
}

// silent reports whether a backup would hold it for dead.
func (s sender) silent(in *instance, now Time) bool {
	return now-s.at > Time(in.DownAdverts)*max(s.every, in.AdvertInt)
}

// track is something that the priority depends on.
type track struct {
	weight int
	up     bool
}

func newInstance(i Instance, unit int) instance {
	in := instance{Instance: i, unit: unit, tracks: map[string]track{}, addrs: map[netip.Addr]bool{},
		senders: map[netip.Addr]sender{}, preemptAt: Never,
		interval: i.AdvertInt, secondAt: Never, refreshAt: Never}
	for _, a := range i.VIPs {
		in.addrs[a] = true
	}
	return in
}

// fault reports whether something of weight 0 is down.
func (in *instance) fault() bool {
	for _, t := range in.tracks {
		if t.weight == 0 && !t.up {
			return true
		}
	}
	return false
}

// priority is the configured one and what is tracked, within 1 to 254; an owner's never changes.
func (in *instance) priority() uint8 {
	if in.Priority == PriorityOwner {
		return PriorityOwner
	}
	p := int(in.Priority)
	for _, t := range in.tracks {
		if (t.weight > 0) == t.up {
			p += t.weight
		}
	}
	return uint8(min(max(p, 1), PriorityOwner-1))
}

// skew is how much later than the best backup this one acts: (256-priority)/256 of a second in version 2, of the
// master's interval in version 3 (RFC 9568 section 6.1).
func (in *instance) skew() Time {
	unit := Time(second)
	if in.Version == 3 {
		unit = in.interval
	}
	return unit * Time(256-int(in.priority())) / 256
}

// downTime is RFC 9568's Active_Down_Interval.
func (in *instance) downTime() Time { return Time(in.DownAdverts)*in.interval + in.skew() }

// listen arms the down timer for a master not heard yet.
func (in *instance) listen(now Time) {
	in.interval = in.AdvertInt
	in.announce, in.secondAt, in.refreshAt = nil, Never, Never
	if in.preemptAt <= now {
		in.preemptAt = now
		if in.PreemptDelay > 0 {
			in.preemptAt = Never
		}
	}
	in.arm(now, in.downTime())
}

// arm starts the down timer anew.
func (in *instance) arm(now, wait Time) {
	in.heard, in.downAt = now, now+wait
	in.asked, in.wants, in.preempting, in.gaveUp = false, false, false, false
}

// setTrack changes what is tracked. The down timer moves by what the priority's change means for it.
func (in *instance) setTrack(name string, t track) {
	before := in.skew()
	in.tracks[name] = t
	in.downAt += in.skew() - before
}

// advert is what is sent with that priority.
func (in *instance) advert(priority uint8) Advert {
	return Advert{Version: in.Version, VRID: in.VRID, Priority: priority, Interval: in.AdvertInt, Auth: in.Auth,
		Password: in.Password, Addrs: in.VIPs}
}

// announceTakeover plans the first burst: often at first, since a lost one costs the most, then less.
func (in *instance) announceTakeover(now Time) {
	in.announce = in.announce[:0]
	for _, after := range [...]Time{0, 40 * millisecond, 120 * millisecond, second, 2 * second, 3 * second} {
		in.announce = append(in.announce, now+after)
	}
	in.secondAt, in.refreshAt = Never, Never
	if in.GARPDelay > 0 {
		in.secondAt = now + in.GARPDelay
	}
	if in.GARPRefresh > 0 {
		in.refreshAt = now + in.GARPRefresh
	}
	in.lowerAt = now
}

// sameAddrs reports whether an advert names our VIPs, in any order.
func (in *instance) sameAddrs(addrs []netip.Addr) bool {
	if len(addrs) != len(in.VIPs) {
		return false
	}
	for _, a := range addrs {
		if !in.addrs[a] {
			return false
		}
	}
	return true
}
