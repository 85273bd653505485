// Package sched chooses the real server of a new session: the fourteen IPVS
// schedulers, each with the kernel's order, ties, weights, thresholds and flags.
//
// It owns what a scheduler remembers between sessions: cursors, levels, hash
// tables and the destination caches of lblc and lblcr. It does not count sessions
// (lvs.Load does), look up services, apply persistence, or know a frame. One file
// holds one scheduler; the table of names is in names.go.
//
// Update belongs to the control path and may allocate and fail. Pick belongs to
// the workers: many call it at once, also during an Update, and it allocates
// nothing. Between the two stands one atomic pointer to an immutable list; what
// must move from one list to the next (a cursor, a level) is carried by Update.
package sched

import (
	"errors"
	"fmt"
	"net/netip"

	"ulvs/lvs"
	"ulvs/packet"
)

// ErrUnknown is wrapped by New's error for a name that is not in Names.
var ErrUnknown = errors.New("unknown scheduler")

// Scheduler is the scheduling state of one service, shared by all workers.
type Scheduler struct {
	name   string
	flags  lvs.SchedFlags
	policy policy
	list   []lvs.Destination // of the last Update; control path only
}

// policy is what each scheduler implements. update either succeeds or changes
// nothing; pick is called concurrently with itself and with update.
type policy interface {
	update(c *change) error
	pick(t *packet.Tuple, now int64) (lvs.DestID, bool)
}

// Options are what a Scheduler takes from outside. The zero Options are IPVS's defaults.
type Options struct {
	// Rand returns a number uniform in [0, n), from any goroutine; twos draws
	// two of them per Pick. nil: math/rand/v2.
	Rand func(n uint64) uint64
	// Expiration is how long lblc and lblcr keep an unused cache entry, in
	// seconds (sysctl lblc_expiration, lblcr_expiration). 0: 86400.
	Expiration int64
	// TableIndex sets mh's table size (kernel option IP_VS_MH_TAB_INDEX), 8 to
	// 17. 0: 12, that is 4093 slots.
	TableIndex int
	// IPv4 says that the service's VIP is IPv4: of an IPv6 real server in a tunnel
	// mh then hashes the first 32 bits only, as ip_vs_mh.c does.
	IPv4 bool
}

// New makes the scheduler of that name without destinations: until Update it
// picks none. The error wraps ErrUnknown and suggests the nearest name, or says
// which option is out of range.
func New(name string, flags lvs.SchedFlags, opt Options) (*Scheduler, error) {
	build := builder(name)
	if build == nil {
		return nil, unknown(name)
	}
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("scheduler %s: %w", name, err)
	}
	return &Scheduler{name: name, flags: flags, policy: build(flags, opt)}, nil
}

// Name returns the name given to New.
func (s *Scheduler) Name() string { return s.name }

// Flags returns the flags given to New.
func (s *Scheduler) Flags() lvs.SchedFlags { return s.flags }

// Update makes dests, newest first as the kernel keeps them, the service's list.
// It leaves the scheduler as IPVS would after the edits that lead there: first
// deletions, then changes to destinations that stay, then additions, oldest
// first. A destination that moved inside the list counts as deleted and added.
// On error nothing changes. It takes over the Watch of every Load in dests, so
// the last Scheduler updated with a Load is the one that follows it.
// One goroutine at a time calls Update; workers keep calling Pick meanwhile.
func (s *Scheduler) Update(dests []lvs.Destination) error { return s.set(dests, false) }

// Bind is the first Update of a scheduler that replaces another one on a service
// that already has destinations (ipvsadm -E -s): the kernel initialises it over
// the whole list instead of adding one by one. wrr then starts its first round at
// the top level; for all others Bind is Update.
func (s *Scheduler) Bind(dests []lvs.Destination) error { return s.set(dests, true) }

// Remembers reports whether a pick may still name a destination that is no longer in the list: lblc and lblcr have
// the same one again when it comes back.
func (s *Scheduler) Remembers(a netip.AddrPort) bool {
	c, ok := s.policy.(interface{ remembers(netip.AddrPort) bool })
	return ok && c.remembers(a)
}

// Pick returns the destination for a new session of flow t at the time now, in
// monotonic seconds. false: no destination is available.
func (s *Scheduler) Pick(t *packet.Tuple, now int64) (lvs.DestID, bool) {
	return s.policy.pick(t, now)
}

func (s *Scheduler) set(dests []lvs.Destination, bind bool) error {
	if err := check(dests); err != nil {
		return fmt.Errorf("scheduler %s: %w", s.name, err)
	}
	list := append([]lvs.Destination(nil), dests...)
	c := diff(s.list, list)
	c.bind = bind
	if err := s.policy.update(c); err != nil {
		return fmt.Errorf("scheduler %s: %w", s.name, err)
	}
	s.list = list
	return nil
}

// check refuses what no Snapshot contains, so that policies need not.
func check(dests []lvs.Destination) error {
	if len(dests) > lvs.MaxDestinations {
		return fmt.Errorf("%d real servers, the limit is %d", len(dests), lvs.MaxDestinations)
	}
	seen := make(map[lvs.DestID]bool, len(dests))
	for i := range dests {
		d := &dests[i]
		switch {
		case d.Load == nil:
			return fmt.Errorf("real server %s has no session counts", d.AddrPort())
		case d.Weight < 0:
			return fmt.Errorf("real server %s: weight %d is negative", d.AddrPort(), d.Weight)
		case seen[d.ID]:
			return fmt.Errorf("real server %s: id %d is given twice", d.AddrPort(), d.ID)
		}
		seen[d.ID] = true
	}
	return nil
}

func (o Options) withDefaults() (Options, error) {
	if o.Rand == nil {
		o.Rand = defaultRand
	}
	if o.Expiration == 0 {
		o.Expiration = defaultExpiration
	}
	if o.TableIndex == 0 {
		o.TableIndex = defaultTableIndex
	}
	if o.Expiration < 0 {
		return o, fmt.Errorf("expiration of %d s is negative", o.Expiration)
	}
	if o.TableIndex < minTableIndex || o.TableIndex > maxTableIndex {
		return o, fmt.Errorf("table index %d is not in %d..%d", o.TableIndex, minTableIndex, maxTableIndex)
	}
	return o, nil
}
