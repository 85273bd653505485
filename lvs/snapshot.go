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
	byKey        map[ServiceKey]ServiceID
	trash        map[destKey]DestID // the removed ones
	gone         []ServiceID        // services that are there for the trash's sake only
	dests        int                // that are configured
}

type destKey struct {
	service ServiceKey
	addr    netip.AddrPort
}

// Service returns the service with that key, nil if there is none.
func (s *Snapshot) Service(k ServiceKey) *Service {
	if s == nil {
		return nil
	}
	return s.Services[s.byKey[k]]
}

// Dest returns the destination with that id, nil if there is none.
func (s *Snapshot) Dest(id DestID) *Destination {
	if s == nil || int(id) >= len(s.Destinations) {
		return nil
	}
	return s.Destinations[id]
}

// Removed returns the destination that sessions still refer to although its service does not have it any more,
// nil if there is none.
func (s *Snapshot) Removed(k ServiceKey, addr netip.AddrPort) *Destination {
	if s == nil {
		return nil
	}
	return s.Destinations[s.trash[destKey{k, addr}]]
}

// Trash calls fn for all those.
func (s *Snapshot) Trash(fn func(*Destination)) {
	for _, id := range s.trash {
		fn(s.Destinations[id])
	}
}

// Build validates services and freezes them as the generation after prev (nil: the
// first). A service or destination that prev knows keeps its id and Load;
// a removed destination with sessions keeps its slot and is revived, counts
// and all, when it comes back. Every error is reported, joined.
func Build(prev *Snapshot, services []Service) (*Snapshot, error) {
	kept := make(map[ServiceKey]bool, len(services))
	for i := range services {
		kept[services[i].Key] = true
	}
	c := Changes{Set: services}
	if prev != nil {
		for key := range prev.byKey {
			if !kept[key] {
				c.Remove = append(c.Remove, key)
			}
		}
	}
	return prev.With(c)
}

// validate judges the services of a change, and what there would be in all.
func (s *Snapshot) validate(c *Changes) error {
	var errs []error
	services, dests := s.counts()
	for _, key := range c.Remove {
		if old := s.Service(key); old != nil {
			services, dests = services-1, dests-len(old.Destinations)
		}
	}
	seen := make(map[ServiceKey]bool, len(c.Set))
	for i := range c.Set {
		svc := &c.Set[i]
		if seen[svc.Key] {
			errs = append(errs, fmt.Errorf("service %s is given twice", svc.Key))
		}
		seen[svc.Key] = true
		dests += len(svc.Destinations)
		if old := s.Service(svc.Key); old != nil {
			dests -= len(old.Destinations)
		} else {
			services++
		}
		errs = append(errs, validateService(svc)...)
	}
	if services > MaxServices {
		errs = append(errs, fmt.Errorf("%d services, the limit is %d", services, MaxServices))
	}
	if dests > MaxDestinations {
		errs = append(errs, fmt.Errorf("%d real servers, the limit is %d", dests, MaxDestinations))
	}
	return errors.Join(errs...)
}

func (s *Snapshot) counts() (services, dests int) {
	if s == nil {
		return 0, 0
	}
	return len(s.byKey), s.dests
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
