package ha

// UnitView is what operators see of a unit.
type UnitView struct {
	Name     string
	State    State
	Since    Time
	Claim    Claim
	Released bool
	Quorum   bool
	Gateway  bool // it answers, or is not asked
	Members  int  // directors that gossip sees, this one included
}

// View returns unit i as it is now.
func (m *Machine) View(i int) UnitView {
	u := &m.units[i]
	return UnitView{Name: u.name, State: u.state, Since: u.since, Claim: u.claim, Released: u.released,
		Quorum: u.quorum, Gateway: u.gateway, Members: m.members}
}

// Masters returns how many directors hold unit i at time now, as far as this one hears their adverts: the most that
// any of its instances hears.
func (m *Machine) Masters(i int, now Time) (most int) {
	u := &m.units[i]
	for k := range m.of(u) {
		in, n := &m.inst[u.first+k], 0
		for _, s := range in.senders {
			if !s.silent(in, now) {
				n++
			}
		}
		most = max(most, n)
	}
	if u.state == StateMaster {
		most++
	}
	return most
}

// TakeoverTime returns how long the VIPs of unit i are without a master when one dies: a backup's wait.
func (m *Machine) TakeoverTime(i int) (longest Time) {
	u := &m.units[i]
	for k := range m.of(u) {
		longest = max(longest, m.inst[u.first+k].downTime())
	}
	return longest
}

// InstanceView is what operators see of an instance.
type InstanceView struct {
	Priority  uint8 // with what is tracked
	Fault     bool
	Interval  Time // of the master's adverts
	DownAt    Time // valid in BACKUP
	Preempt   bool // false while preempt_delay runs, or with nopreempt
	PreemptAt Time // Never: no lower master was heard yet
}

// ViewInstance returns instance i as it is now.
func (m *Machine) ViewInstance(i int) InstanceView {
	in := &m.inst[i]
	return InstanceView{Priority: in.priority(), Fault: in.fault(), Interval: in.interval, DownAt: in.downAt,
		Preempt: !in.NoPreempt && m.now >= in.preemptAt, PreemptAt: in.preemptAt}
}

// UnitOf returns the unit of instance i.
func (m *Machine) UnitOf(i int) int { return m.inst[i].unit }
