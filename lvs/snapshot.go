package lvs

import (
	"errors"
	"fmt"
	"net/netip"
)

// Snapshot is an immutable view of all services. After Build nothing in it is
// written, but for the counts behind Destination.Load.
type Snapshot struct {
	Generation uint64
	Services   []*Service // by ServiceID; nil where unused, [0] always nil
	// Destinations are by DestID; nil where unused, [0] always nil. Removed ones
	// stay while sessions refer to them (the kernel's trash list).
	Destinations []*Destination
	byKey        map[ServiceKey]*Service
}

// Service returns the service with that key, nil if there is none.
func (s *Snapshot) Service(k ServiceKey) *Service {
	if s == nil {
		return nil
	}
	return s.byKey[k]
}

// Dest returns the destination with that id, nil if there is none.
func (s *Snapshot) Dest(id DestID) *Destination {
	if s == nil || int(id) >= len(s.Destinations) {
		return nil
	}
	return s.Destinations[id]
}

// slot reports whether a service has, or had for its sessions' sake, the id.
func (s *Snapshot) slot(id int) bool {
	return s != nil && id < len(s.Services) && s.Services[id] != nil
}

// Build validates services and freezes them as the generation after prev (nil: the
// first). A service or destination that prev knows keeps its id and Load;
// a removed destination with sessions keeps its slot and is revived, counts
// and all, when it comes back. Every error is reported, joined.
func Build(prev *Snapshot, services []Service) (*Snapshot, error) {
	if err := validate(services); err != nil {
		return nil, err
	}
	b := newBuilder(prev)
	for i := range services {
		b.addService(services[i])
	}
	b.keepRemoved(prev)
	b.placeNew()
	return b.next, nil
}

type destKey struct {
	service ServiceKey
	addr    netip.AddrPort
}

// builder places services and destinations: known ones in their old slots at
// once, new ones in what is free when all known ones have theirs.
type builder struct {
	next     *Snapshot
	oldDests map[destKey]*Destination
	prev     *Snapshot
	newSvcs  []*Service
	newDests []*Destination
}

func newBuilder(prev *Snapshot) *builder {
	b := &builder{prev: prev, oldDests: map[destKey]*Destination{}, next: &Snapshot{
		Generation: 1, Services: []*Service{nil}, Destinations: []*Destination{nil}, byKey: map[ServiceKey]*Service{},
	}}
	if prev == nil {
		return b
	}
	b.next.Generation = prev.Generation + 1
	b.next.Services = make([]*Service, len(prev.Services))
	b.next.Destinations = make([]*Destination, len(prev.Destinations))
	keys := make([]ServiceKey, len(prev.Services))
	for _, d := range prev.Destinations {
		if d == nil {
			continue
		}
		if s := prev.Services[d.Service]; s != nil {
			keys[d.Service] = s.Key
			b.oldDests[destKey{s.Key, d.AddrPort()}] = d
		}
	}
	return b
}

func (b *builder) addService(s Service) {
	svc := &s
	s.Destinations = append([]Destination(nil), s.Destinations...)
	svc.Destinations = s.Destinations
	svc.ID = 0
	if old := b.prev.Service(s.Key); old != nil {
		svc.ID = old.ID
		b.next.Services[old.ID] = svc
	} else {
		b.newSvcs = append(b.newSvcs, svc)
	}
	b.next.byKey[s.Key] = svc
	for i := range svc.Destinations {
		b.addDest(svc, &svc.Destinations[i])
	}
}

func (b *builder) addDest(svc *Service, d *Destination) {
	d.ID, d.Service, d.Removed = 0, svc.ID, false
	if old := b.oldDests[destKey{svc.Key, d.AddrPort()}]; old != nil {
		d.ID, d.Load = old.ID, old.Load
		b.next.Destinations[d.ID] = d
	} else {
		d.Load = new(Load)
		b.newDests = append(b.newDests, d)
	}
	d.Load.SetThresholds(d.Upper, d.Lower)
}

// keepRemoved keeps the slots that sessions still refer to. The service slot of such a
// destination stays too, as a service nobody can find, so that the id is not
// given to another service while its sessions live.
func (b *builder) keepRemoved(prev *Snapshot) {
	if prev == nil {
		return
	}
	for id, old := range prev.Destinations {
		if old == nil || b.next.Destinations[id] != nil || !old.Load.InUse() {
			continue
		}
		d := *old
		d.Removed = true
		d.Load.WatchBy(nil, 0)
		b.next.Destinations[id] = &d
		if b.next.Services[d.Service] == nil {
			gone := *prev.Services[d.Service]
			gone.Destinations = nil
			b.next.Services[d.Service] = &gone
		}
	}
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
		b.next.Services[at] = s
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

func validate(services []Service) error {
	var errs []error
	if len(services) > MaxServices {
		errs = append(errs, fmt.Errorf("%d services, the limit is %d", len(services), MaxServices))
	}
	seen := make(map[ServiceKey]bool, len(services))
	dests := 0
	for i := range services {
		s := &services[i]
		if seen[s.Key] {
			errs = append(errs, fmt.Errorf("service %s is given twice", s.Key))
		}
		seen[s.Key] = true
		dests += len(s.Destinations)
		errs = append(errs, validateService(s)...)
	}
	if dests > MaxDestinations {
		errs = append(errs, fmt.Errorf("%d real servers, the limit is %d", dests, MaxDestinations))
	}
	return errors.Join(errs...)
}

func validateService(s *Service) (errs []error) {
	if !s.Key.Addr.IsValid() || s.Key.Addr.Is4In6() || s.Key.Addr.Zone() != "" {
		errs = append(errs, fmt.Errorf("service %s: the VIP is not a plain IPv4 or IPv6 address", s.Key))
	}
	if s.Key.Port == 0 && s.Key.Mark == 0 && s.Persistence == 0 {
		errs = append(errs, fmt.Errorf("service %s: zero port needs persistence", s.Key))
	}
	seen := make(map[netip.AddrPort]bool, len(s.Destinations))
	for i := range s.Destinations {
		d := &s.Destinations[i]
		if seen[d.AddrPort()] {
			errs = append(errs, fmt.Errorf("service %s: real server %s is given twice", s.Key, d.AddrPort()))
		}
		seen[d.AddrPort()] = true
		if err := validateDest(s, d); err != nil {
			errs = append(errs, fmt.Errorf("service %s: real server %s: %w", s.Key, d.AddrPort(), err))
		}
	}
	return errs
}

func validateDest(s *Service, d *Destination) error {
	switch {
	case !d.Addr.IsValid() || d.Addr.Is4In6() || d.Addr.Zone() != "":
		return errors.New("not a plain IPv4 or IPv6 address")
	case d.Weight < 0:
		return fmt.Errorf("weight %d is negative", d.Weight)
	case d.Lower > d.Upper && d.Upper != 0:
		return fmt.Errorf("lower threshold %d is above the upper one %d", d.Lower, d.Upper)
	case d.Method != MethodTUN && d.Addr.Is4() != s.Key.Addr.Is4():
		return errors.New("only tun may cross address families")
	case d.Method != MethodNAT && s.Key.Mark == 0 && d.Port != s.Key.Port:
		return fmt.Errorf("%s cannot map port %d to %d; only nat can", d.Method, s.Key.Port, d.Port)
	}
	return nil
}
