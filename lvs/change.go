package lvs

import (
	"maps"
	"net/netip"
	"slices"
)

// Changes are what makes a Snapshot of another one. No service is in both lists.
type Changes struct {
	Set    []Service    // new ones, and those that there are with all that they have from now on
	Remove []ServiceKey // unknown ones are ignored
	// Fate says what becomes of the sessions of a destination that goes; nil: FailDefault, IPVS's way.
	Fate func(s *Service, d *Destination) OnFailure
}

// With validates the services of a change and returns the generation after s, nil being the one before the
// first. What the change does not name is shared with s: it costs a copy of the lists of pointers, and
// what changed. The rules of Build hold.
func (s *Snapshot) With(c Changes) (*Snapshot, error) {
	if err := s.validate(&c); err != nil {
		return nil, err
	}
	b := newBuilder(s, &c)
	for _, key := range c.Remove {
		b.removeService(key)
	}
	for i := range c.Set {
		b.setService(c.Set[i])
	}
	b.emptyTrash()
	b.placeNew()
	return b.next, nil
}

// builder places services and destinations: known ones in their old slots at
// once, new ones in what is free when all known ones have theirs.
type builder struct {
	next     *Snapshot
	prev     *Snapshot
	changes  *Changes
	newSvcs  []*Service
	newDests []*Destination
}

func newBuilder(prev *Snapshot, c *Changes) *builder {
	b := &builder{prev: prev, changes: c, next: &Snapshot{
		Generation: 1, Services: []*Service{nil}, Destinations: []*Destination{nil},
		byKey: make(map[ServiceKey]ServiceID, len(c.Set)), trash: map[destKey]DestID{},
	}}
	if prev == nil {
		return b
	}
	n := b.next
	n.Generation, n.dests, n.gone = prev.Generation+1, prev.dests, slices.Clone(prev.gone)
	n.Services, n.Destinations = slices.Clone(prev.Services), slices.Clone(prev.Destinations)
	n.trash, n.byKey = maps.Clone(prev.trash), prev.byKey
	if b.moves() {
		n.byKey = maps.Clone(prev.byKey)
	}
	return b
}

// moves reports whether services come or go.
func (b *builder) moves() bool {
	isNew := func(s Service) bool { return b.prev.Service(s.Key) == nil }
	return len(b.changes.Remove) > 0 || slices.ContainsFunc(b.changes.Set, isNew)
}

// removeService takes a service away. Its slot stays for a while, as a service nobody can find: the id is not
// given to another service while sessions live that have it.
func (b *builder) removeService(key ServiceKey) {
	old := b.prev.Service(key)
	if old == nil {
		return
	}
	delete(b.next.byKey, key)
	gone := *old
	gone.Destinations = nil
	b.next.Services[old.ID] = &gone
	b.next.gone = append(b.next.gone, old.ID)
	for i := range old.Destinations {
		b.remove(old, &old.Destinations[i])
	}
}

func (b *builder) setService(s Service) {
	svc := &s
	s.Destinations = append([]Destination(nil), s.Destinations...)
	svc.ID = 0
	old := b.prev.Service(s.Key)
	if old != nil {
		svc.ID, svc.Born = old.ID, old.Born
		b.next.Services[old.ID] = svc
	} else {
		svc.Born = b.next.Generation
		b.newSvcs = append(b.newSvcs, svc)
	}
	known := destsOf(old)
	for i := range svc.Destinations {
		b.setDest(svc, &svc.Destinations[i], known)
	}
	for _, d := range known {
		b.remove(old, d)
	}
}

// destsOf returns the destinations of a service that may be nil.
func destsOf(s *Service) map[netip.AddrPort]*Destination {
	if s == nil {
		return nil
	}
	m := make(map[netip.AddrPort]*Destination, len(s.Destinations))
	for i := range s.Destinations {
		m[s.Destinations[i].AddrPort()] = &s.Destinations[i]
	}
	return m
}

// setDest gives d the id and counts that it had, as one of the service's or as a removed one, and takes it out
// of known.
func (b *builder) setDest(svc *Service, d *Destination, known map[netip.AddrPort]*Destination) {
	d.ID, d.Service, d.Removed = 0, svc.ID, false
	old := known[d.AddrPort()]
	delete(known, d.AddrPort())
	added := old == nil
	if added {
		b.next.dests++
		key := destKey{svc.Key, d.AddrPort()}
		if old = b.next.Dest(b.next.trash[key]); old != nil && old.Load.lives() {
			delete(b.next.trash, key)
		} else {
			old = nil
		}
	}
	if old != nil {
		d.ID, d.Load = old.ID, old.Load
		b.next.Destinations[d.ID] = d
	} else {
		d.Load = new(Load)
		b.newDests = append(b.newDests, d)
	}
	if added || d.Weight != 0 {
		d.Load.lastWeight.Store(d.Weight)
	}
	d.Load.SetThresholds(d.Upper, d.Lower)
}

// remove takes a destination out of its service. It stays in the trash while sessions refer to it, and as long as
// Load.Keep says.
func (b *builder) remove(s *Service, old *Destination) {
	b.next.dests--
	d := *old
	d.Removed, d.Fate = true, FailDefault
	if b.changes.Fate != nil {
		d.Fate = b.changes.Fate(s, old)
	}
	d.Load.WatchBy(nil, 0)
	b.next.Destinations[d.ID] = &d
	b.next.trash[destKey{s.Key, d.AddrPort()}] = d.ID
}

// emptyTrash frees the slots that nothing refers to, and those of services that were kept for them.
func (b *builder) emptyTrash() {
	n := b.next
	used := make(map[ServiceID]bool, len(n.gone))
	for key, id := range n.trash {
		d := n.Destinations[id]
		if d.Load.lives() {
			used[d.Service] = true
			continue
		}
		n.Destinations[id] = nil
		delete(n.trash, key)
	}
	n.gone = slices.DeleteFunc(n.gone, func(id ServiceID) bool {
		if !used[id] {
			n.Services[id] = nil
		}
		return !used[id]
	})
}

func (b *builder) placeNew() {
	at := 1
	for _, s := range b.newSvcs {
		for at < len(b.next.Services) && (b.next.Services[at] != nil || b.prev.slot(at)) {
			at++
		}
		if at == len(b.next.Services) {
			b.next.Services = append(b.next.Services, nil)
		}
		s.ID = ServiceID(at)
		b.next.Services[at], b.next.byKey[s.Key] = s, s.ID
		for i := range s.Destinations {
			s.Destinations[i].Service = s.ID
		}
	}
	at = 1
	for _, d := range b.newDests {
		for at < len(b.next.Destinations) && (b.next.Destinations[at] != nil || b.prev.Dest(DestID(at)) != nil) {
			at++ // in use, or just freed: a worker may still run the snapshot before
		}
		if at == len(b.next.Destinations) {
			b.next.Destinations = append(b.next.Destinations, nil)
		}
		d.ID = DestID(at)
		b.next.Destinations[at] = d
	}
}

// slot reports whether a service has, or had for its sessions' sake, the id.
func (s *Snapshot) slot(id int) bool {
	return s != nil && id < len(s.Services) && s.Services[id] != nil
}
