package director

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"ulvs/dataplane"
	"ulvs/lvs"
	"ulvs/sched"
)

// difference is what a new configuration changes.
type difference struct {
	changed []int            // places in the new one: new services, and those that are not as they were
	removed []lvs.ServiceKey // in the old one only
	twice   bool             // the new one has a service twice
}

// differenceOf compares two configurations, of which dirty services differ in any case.
func differenceOf(old, next []lvs.Service, dirty map[lvs.ServiceKey]bool) (d difference) {
	var where map[lvs.ServiceKey]int // of the old ones; made when the places do not agree
	same := 0
	for i := range next {
		at := i
		if i >= len(old) || old[i].Key != next[i].Key {
			if where == nil {
				where = placesOf(old)
			}
			var known bool
			if at, known = where[next[i].Key]; !known {
				d.changed = append(d.changed, i)
				continue
			}
		}
		same++
		if dirty[next[i].Key] || !old[at].Equal(&next[i]) {
			d.changed = append(d.changed, i)
		}
	}
	if where == nil && same == len(old) {
		return d
	}
	kept := placesOf(next)
	d.twice = len(kept) != len(next)
	for i := range old {
		if _, known := kept[old[i].Key]; !known {
			d.removed = append(d.removed, old[i].Key)
		}
	}
	return d
}

func placesOf(services []lvs.Service) map[lvs.ServiceKey]int {
	m := make(map[lvs.ServiceKey]int, len(services))
	for i := range services {
		m[services[i].Key] = i
	}
	return m
}

// replace makes services the configured ones. On error nothing has changed.
func (n *Node) replace(services []lvs.Service) error { return n.apply(services, false) }

// apply builds what differs from what there is, and publishes it: alone, or with everything assembled anew.
func (n *Node) apply(services []lvs.Service, all bool) error {
	d := differenceOf(n.services, services, n.dirty)
	if d.twice {
		_, err := lvs.Build(nil, services) // names them
		return fmt.Errorf("build services: %w", err)
	}
	changes := lvs.Changes{Remove: d.removed, Fate: n.fate}
	for _, i := range d.changed {
		changes.Set = append(changes.Set, effective(&services[i], n.conditions[services[i].Key]))
	}
	built, err := n.built.With(changes)
	if err != nil {
		return fmt.Errorf("build services: %w", err)
	}
	if err := n.reschedule(built, &d, services); err != nil {
		return err
	}
	before := n.built
	n.tellConfigured(&d, services)
	n.services, n.built = services, built
	n.prune(&d)
	clear(n.dirty)
	n.counters.follow(before, built)
	n.trash.keep(before, built)
	n.expire(before)
	if all {
		n.publish()
	} else {
		n.publishChange(before)
	}
	return nil
}

// tellConfigured tells which services are configured in another way, and not only in another condition.
func (n *Node) tellConfigured(d *difference, services []lvs.Service) {
	if n.opt.Configured == nil || sameSlice(services, n.services) || len(d.changed)+len(d.removed) == 0 {
		return
	}
	keys := slices.Clone(d.removed)
	for _, i := range d.changed {
		keys = append(keys, services[i].Key)
	}
	n.opt.Configured(keys)
}

// announce shows workers the real servers that schedulers which they use already are about to learn of: a worker
// must know a real server before it is picked. undo takes that back.
func (n *Node) announce(built *lvs.Snapshot, services []*lvs.Service) (undo func()) {
	var added []int
	for _, svc := range services {
		for k := range svc.Destinations {
			id := svc.Destinations[k].ID
			if old := n.built.Dest(id); old == nil || old.Removed {
				added = append(added, int(id))
			}
		}
	}
	if len(added) == 0 {
		return func() {}
	}
	last := n.snapshots.Load()
	s := *last
	added = n.setDests(&s, built, added, max(len(last.Dests), len(built.Destinations)))
	n.steer = s.Reindex(last, nil, added).Replies || n.steer
	s.Name(n.opt.Table, nil, added)
	n.store(&s, false)
	return func() {
		back := *last
		n.store(&back, false)
	}
}

// setDests gives a snapshot room for size destinations and puts those of built into it, with their next hops. It
// returns the ids of those that differ. If none does, as after a change of weights, which are the scheduler's, the
// list is left as it is: a copy of 100 000 costs as much as all the rest.
func (n *Node) setDests(s *dataplane.Snapshot, built *lvs.Snapshot, ids []int, size int) (differ []int) {
	list, shared := s.Dests, true
	if size != len(list) {
		list, shared = resized(list, size), false
	}
	for _, id := range ids {
		var d dataplane.Dest
		if built.Destinations[id] != nil {
			d = n.dest(built.Destinations[id])
		}
		if d == list[id] {
			continue
		}
		if shared {
			list, shared = resized(list, size), false
		}
		list[id], differ = d, append(differ, id)
	}
	s.Dests = list
	if len(n.hops.keys) != len(s.Hops) {
		n.hops.extend(s, n.network)
		n.steer = true
	}
	return differ
}

// fate is what becomes of the sessions of a real server that goes: what the kernel does about it when somebody
// took it away with ipvsadm, else what the service wants.
func (n *Node) fate(s *lvs.Service, _ *lvs.Destination) lvs.OnFailure {
	if n.byHand {
		return lvs.FailDefault
	}
	if f := s.Policy.OnFailure.For(s.Key.Proto); f != lvs.FailKeep {
		return f
	}
	return lvs.FailDefault
}

// reschedule brings the schedulers of changed services up to date. Those of services that keep theirs go on
// where they are; if one refuses its destinations all are as they were.
func (n *Node) reschedule(built *lvs.Snapshot, d *difference, services []lvs.Service) error {
	next := make(map[lvs.ServiceKey]*sched.Scheduler, len(d.changed))
	var errs []error
	bring := func(s *lvs.Service) {
		sc, err := n.nextScheduler(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("service %s: scheduler %s: %w", s.Key, s.Scheduler, err))
		}
		next[s.Key] = sc
	}
	var kept []*lvs.Service
	for _, i := range d.changed {
		if s := built.Service(services[i].Key); n.keepsScheduler(s) {
			kept = append(kept, s)
		} else {
			bring(s)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...) // no worker has seen any of them
	}
	undo := n.announce(built, kept)
	for _, s := range kept {
		bring(s)
	}
	if len(errs) == 0 {
		maps.Copy(n.schedulers, next)
		for _, key := range d.removed {
			delete(n.schedulers, key)
		}
		return nil
	}
	for _, s := range kept {
		errs = append(errs, n.schedulers[s.Key].Update(n.built.Service(s.Key).Destinations))
	}
	undo()
	return errors.Join(errs...)
}

// publishChange publishes what differs from the services before; the rest of the snapshot is the last one's.
func (n *Node) publishChange(before *lvs.Snapshot) {
	last := n.snapshots.Load()
	s := *last
	timeouts := n.timeouts
	s.Timeouts, s.Settings = &timeouts, n.settings
	n.version++
	services := changedAt(before.Services, n.built.Services)
	dests := changedAt(before.Destinations, n.built.Destinations)
	if len(services) == 0 && len(dests) == 0 {
		n.store(&s, false)
		return
	}
	s.Services = resized(last.Services, len(n.built.Services))
	for _, id := range services {
		s.Services[id] = n.service(n.built.Services[id])
	}
	dests = n.setDests(&s, n.built, dests, len(n.built.Destinations))
	moved := s.Reindex(last, services, dests)
	s.Name(n.opt.Table, services, dests)
	if moved.Services {
		s.Locals = n.network.Locals()
		n.setVIPs(&s)
		s.IndexAddresses()
	}
	steer := moved.Services || moved.Replies || n.steer
	n.steer = false
	n.store(&s, steer)
}

// keepsScheduler reports whether workers use the scheduler already that s will have.
func (n *Node) keepsScheduler(s *lvs.Service) bool {
	old := n.schedulers[s.Key]
	return old != nil && old.Name() == s.Scheduler && old.Flags() == s.SchedFlags
}

// changedAt returns where two lists of pointers differ.
func changedAt[T any](before, now []*T) (at []int) {
	for i := range now {
		if i >= len(before) || before[i] != now[i] {
			at = append(at, i)
		}
	}
	return at
}

// resized returns a copy of list with n elements, n being no less than there are.
func resized[T any](list []T, n int) []T {
	out := make([]T, n)
	copy(out, list)
	return slices.Clip(out)
}
