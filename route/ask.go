package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Limits of asking.
const (
	// askGap is the least time between two requests for one neighbour: as often as the kernel
	// itself repeats an ARP request.
	askGap = time.Second
	// maxAsked is how many neighbours' last requests are remembered, so how many can be asked for
	// within askGap: well above the kernel's own default of 1024 neighbours.
	maxAsked = 4096
	// refreshPerRound bounds the requests of one Refresh round.
	refreshPerRound = 256
)

// ErrTooMany is returned when more than 4096 different neighbours were asked for within a
// second.
var ErrTooMany = errors.New("too many neighbours asked for within a second")

// ErrNotNeighbour is returned by Learn for what cannot be a neighbour's address.
var ErrNotNeighbour = errors.New("not a neighbour's address")

// limiter remembers when each neighbour was asked for last.
type limiter struct {
	mu   sync.Mutex
	last map[NeighKey]time.Time
}

// allow tells whether k may be asked for now, and counts it as done if so.
func (l *limiter) allow(k NeighKey, now time.Time) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.last[k]; ok && now.Sub(t) < askGap {
		return false, nil
	}
	if len(l.last) >= maxAsked {
		for key, t := range l.last {
			if now.Sub(t) >= askGap {
				delete(l.last, key)
			}
		}
	}
	if len(l.last) >= maxAsked {
		return false, ErrTooMany
	}
	l.last[k] = now
	return true, nil
}

// Ask makes the kernel resolve a neighbour now, as if it had a packet to send. The answer comes as a
// Change. The first request for a neighbour is made at once, further ones at
// most once a second; those in between do nothing and return nil.
func (w *Watcher) Ask(link int, addr netip.Addr) error {
	k := NeighKey{link, addr.Unmap().WithZone("")}
	ok, err := w.limit.allow(k, time.Now())
	if err == nil && ok {
		err = w.setNeigh(k, 0, unix.NTF_USE, nil)
	}
	if err != nil {
		return fmt.Errorf("ask for neighbour %s on link %d: %w", addr, link, err)
	}
	return nil
}

// Learn tells the kernel what an ARP request or a neighbour solicitation that it did not
// see has shown: addr, on that link, has this MAC. As the kernel would, it makes a STALE entry or
// moves one to the new MAC, and leaves alone what the administrator fixed and what is known
// already. An address that is not on-link there is refused with ErrNotNeighbour, as is a
// MAC that is zero or a group's.
func (w *Watcher) Learn(link int, addr netip.Addr, mac [6]byte) error {
	k := NeighKey{link, addr.Unmap().WithZone("")}
	s := w.State()
	if mac == [6]byte{} || mac[0]&1 != 0 || !s.onLink(k) {
		return fmt.Errorf("learn %s on link %d: %w", addr, link, ErrNotNeighbour)
	}
	if n, known := s.neighs.get(k); known && (n.State&neighFixed != 0 || n.Resolved && n.MAC == mac) {
		return nil
	}
	if err := w.setNeigh(k, NeighStale, 0, mac[:]); err != nil {
		return fmt.Errorf("learn %s on link %d: %w", addr, link, err)
	}
	return nil
}

// onLink tells whether the kernel would send to the address directly, on that link. Link-local
// addresses are on every link.
func (s *State) onLink(k NeighKey) bool {
	if !k.Addr.IsValid() || k.Addr.IsMulticast() || k.Addr.IsUnspecified() || s.Local(k.Addr) {
		return false
	}
	if k.Addr.Is6() && k.Addr.IsLinkLocalUnicast() {
		_, known := s.links[k.Link]
		return known
	}
	r, ok := s.Route(k.Addr)
	return ok && r.Kind == KindUnicast && r.Link == k.Link && !r.Gateway.IsValid()
}

// Refresh replaces the set of neighbours in use. The watcher keeps them fresh: those not known
// to be reachable are asked for again every Options.Refresh, so that a real server that died or changed
// its MAC is noticed though the kernel sends it nothing (STALE, then a probe, then
// FAILED: about ten seconds), and one that returns is found. The watcher takes the slice.
func (w *Watcher) Refresh(used []NeighKey) { w.used.Store(&used) }

// refreshDue does a round of Refresh if it is time for one. run calls it.
func (w *Watcher) refreshDue() {
	used := w.used.Load()
	if used == nil || time.Since(w.refreshed) < w.opt.Refresh {
		return
	}
	w.refreshed = time.Now()
	s, asked, keys := w.State(), 0, *used
	for range keys {
		w.refreshAt = (w.refreshAt + 1) % len(keys)
		k := keys[w.refreshAt]
		if !s.wantsAsking(k) {
			continue
		}
		if err := w.Ask(k.Link, k.Addr); err != nil {
			w.opt.Log.Debug("cannot refresh a neighbour", "err", err)
		}
		if asked++; asked == refreshPerRound {
			return
		}
	}
}

// wantsAsking tells whether asking could change anything: not while the kernel is sure, or
// is asking already.
func (s *State) wantsAsking(k NeighKey) bool {
	if l, ok := s.links[k.Link]; !ok || !l.Up {
		return false
	}
	n, known := s.neighs.get(k)
	busy := NeighReachable | NeighDelay | NeighProbe | NeighIncomplete | neighFixed
	return !known || n.State&busy == 0
}

// setNeigh sends RTM_NEWNEIGH.
func (w *Watcher) setNeigh(k NeighKey, state NeighState, flags byte, mac []byte) error {
	if !k.Addr.IsValid() {
		return ErrNotNeighbour
	}
	family := byte(unix.AF_INET6)
	if k.Addr.Is4() {
		family = unix.AF_INET
	}
	parts := []nl.NetlinkRequestData{
		ndmsg(family, k.Link, state, flags),
		nl.NewRtAttr(unix.NDA_DST, slices.Clone(k.Addr.AsSlice())),
	}
	how := unix.NLM_F_CREATE
	if mac != nil {
		parts = append(parts, nl.NewRtAttr(unix.NDA_LLADDR, mac))
		how |= unix.NLM_F_REPLACE
	}
	return w.asks.do(unix.RTM_NEWNEIGH, how, parts...)
}
