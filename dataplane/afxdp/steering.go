package afxdp

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/cilium/ebpf"
)

// Limits of a Steering; SteeringOptions overrides them.
const (
	// DefaultMaxServices is how many rules (services and NAT real servers
	// together, per address, protocol and port) the maps hold. Entries are
	// allocated as used, so a high limit costs nothing.
	DefaultMaxServices = 65536
	// DefaultMaxQueues is the highest number of RX queues of an interface.
	DefaultMaxQueues = 256
)

// SteeringOptions sizes a Steering; zero fields take the defaults above.
type SteeringOptions struct {
	MaxServices int // rules
	MaxQueues   int // RX queues of one interface
	// ProbePorts are the first and last port that health checks down the real path come from; 0, 0: there are none.
	ProbePorts [2]uint16
}

// Steering holds the rules, and the program attached to each interface. All
// methods may be called from any goroutine.
type Steering struct {
	mu       sync.Mutex
	opts     SteeringOptions
	addrs    *ebpf.Map
	rules    *ebpf.Map
	applied  ruleMaps            // what the kernel's maps hold now
	attached map[int]*Attachment // by interface index
}

// LoadSteering makes the rule maps. Nothing is attached and no rule is set yet.
// It needs CAP_BPF and CAP_NET_ADMIN.
func LoadSteering(o SteeringOptions) (*Steering, error) {
	if o.MaxServices <= 0 {
		o.MaxServices = DefaultMaxServices
	}
	if o.MaxQueues <= 0 {
		o.MaxQueues = DefaultMaxQueues
	}
	s := &Steering{opts: o, applied: newRuleMaps(), attached: map[int]*Attachment{}}
	spec, err := s.spec()
	if err != nil {
		return nil, err
	}
	if s.addrs, err = ebpf.NewMap(spec.Maps[steerMapAddrs]); err != nil {
		return nil, fmt.Errorf("create the steering map of addresses: %w", err)
	}
	if s.rules, err = ebpf.NewMap(spec.Maps[steerMapRules]); err != nil {
		s.addrs.Close()
		return nil, fmt.Errorf("create the steering map of rules: %w", err)
	}
	return s, nil
}

// spec is the committed object with its maps sized by the options.
func (s *Steering) spec() (*ebpf.CollectionSpec, error) {
	spec, err := loadSteer()
	if err != nil {
		return nil, fmt.Errorf("read the steering program: %w", err)
	}
	// Twice the room, because Set adds before it deletes; rules have a key for
	// their fragments besides their own.
	spec.Maps[steerMapAddrs].MaxEntries = uint32(2 * s.opts.MaxServices)
	spec.Maps[steerMapRules].MaxEntries = uint32(4 * s.opts.MaxServices)
	spec.Maps[steerMapXsks].MaxEntries = uint32(s.opts.MaxQueues)
	if p := s.opts.ProbePorts; p != [2]uint16{} {
		if err := errors.Join(spec.Variables[steerVarProbeFirst].Set(p[0]),
			spec.Variables[steerVarProbeLast].Set(p[1])); err != nil {
			return nil, fmt.Errorf("set the ports of health checks: %w", err)
		}
	}
	return spec, nil
}

// program loads an instance for one interface: own sockets and counters, or those in own, and shared rules.
func (s *Steering) program(own map[string]*ebpf.Map) (*steerObjects, error) {
	spec, err := s.spec()
	if err != nil {
		return nil, err
	}
	var objs steerObjects
	replace := map[string]*ebpf.Map{steerMapAddrs: s.addrs, steerMapRules: s.rules}
	maps.Copy(replace, own)
	err = spec.LoadAndAssign(&objs, &ebpf.CollectionOptions{MapReplacements: replace})
	if err != nil {
		return nil, fmt.Errorf("load the steering program: %w", err)
	}
	return &objs, nil
}

// Set makes r the rules, changing only what differs and adding before it takes
// away, so that traffic named by the old and the new rules is steered all the
// while. On an error some of r may be in force; a later Set puts it right.
func (s *Steering) Set(r Rules) error {
	want, err := compile(r)
	if err != nil {
		return fmt.Errorf("steering rules: %w", err)
	}
	if n := max(len(want.addrs), len(r.Services)+len(r.Replies)); n > s.opts.MaxServices {
		return fmt.Errorf("steering rules: %d do not fit, the limit is %d (MaxServices)", n, s.opts.MaxServices)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := put(s.rules, s.applied.rules, want.rules); err != nil {
		return fmt.Errorf("steering rules: %w", err)
	}
	if err := put(s.addrs, s.applied.addrs, want.addrs); err != nil {
		return fmt.Errorf("steering addresses: %w", err)
	}
	return errors.Join(
		drop(s.addrs, s.applied.addrs, want.addrs),
		drop(s.rules, s.applied.rules, want.rules))
}

// put writes what is new or other in want and notes it in have.
func put[K comparable](m *ebpf.Map, have, want map[K]uint32) error {
	for k, v := range want {
		if old, ok := have[k]; ok && old == v {
			continue
		}
		if err := m.Put(&k, v); err != nil {
			return fmt.Errorf("add: %w", err)
		}
		have[k] = v
	}
	return nil
}

// drop deletes what is in have and not in want.
func drop[K comparable](m *ebpf.Map, have, want map[K]uint32) error {
	for k := range have {
		if _, ok := want[k]; ok {
			continue
		}
		if err := m.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete: %w", err)
		}
		delete(have, k)
	}
	return nil
}

// Close detaches every interface and frees the maps.
func (s *Steering) Close() error {
	s.mu.Lock()
	open := make([]*Attachment, 0, len(s.attached))
	for _, a := range s.attached {
		open = append(open, a)
	}
	s.mu.Unlock()
	var errs []error
	for _, a := range open {
		errs = append(errs, a.Close())
	}
	return errors.Join(append(errs, s.addrs.Close(), s.rules.Close())...) // nil ones, too
}
