package director

import (
	"maps"
	"net/netip"
	"slices"
)

// Hold is what a director does for the VIPs of a unit of the takeover.
type Hold uint8

// The holds.
const (
	HoldNone    Hold = iota // another director has them: neither answered for nor steered here
	HoldLinger              // handed over a moment ago: forwarded if it still comes here, not answered for
	HoldAnswers             // answered for, and forwarded
)

// ownership tells which VIPs are whose business. The zero value holds all of them.
type ownership struct {
	units []Hold
	owner map[netip.Addr]int // the unit of a VIP; one that is in none belongs to the first
	extra []netip.Addr       // addresses that units name
}

func (o *ownership) of(vip netip.Addr) Hold {
	if len(o.units) == 0 {
		return HoldAnswers
	}
	return o.units[o.owner[vip]]
}

// SetUnits tells which VIPs move together between directors, each list a unit's, and what is done for each; where that
// is left out, nothing. Without units, as when it was never called, the node holds every VIP that it has.
func (n *Node) SetUnits(units [][]netip.Addr, holds []Hold) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.own = ownership{units: make([]Hold, len(units)), owner: map[netip.Addr]int{}}
	copy(n.own.units, holds)
	for i, vips := range units {
		for _, vip := range vips {
			n.own.owner[vip] = i
			n.own.extra = append(n.own.extra, vip)
		}
	}
	n.publishVIPs()
}

// SetHold changes what is done for a unit's VIPs.
func (n *Node) SetHold(unit int, h Hold) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.own.units[unit] == h {
		return
	}
	n.own.units = slices.Clone(n.own.units)
	n.own.units[unit] = h
	n.publishVIPs()
}

// Settle tells workers whether peers may be about to tell of sessions: what belongs to none is not reset meanwhile.
func (n *Node) Settle(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.settling == on {
		return
	}
	n.settling = on
	s := *n.snapshots.Load()
	s.Settling = on
	n.store(&s, false)
}

// publishVIPs publishes the snapshot with other VIPs and nothing else changed.
func (n *Node) publishVIPs() {
	s := *n.snapshots.Load()
	n.setVIPs(&s)
	n.version++
	n.store(&s, true)
	if n.opt.Configured != nil {
		n.opt.Configured(nil)
	}
}

// heldVIPs returns the VIPs, of services and of units, for which at least that much is done, each once.
func (n *Node) heldVIPs(least Hold) (list []netip.Addr) {
	seen := map[netip.Addr]bool{}
	for _, vips := range [][]netip.Addr{n.vips(), n.own.extra} {
		for _, vip := range vips {
			if !seen[vip] && n.own.of(vip) >= least {
				seen[vip] = true
				list = append(list, vip)
			}
		}
	}
	return list
}

// VIPsOf returns the VIPs of a unit, those of services that no unit names included where it is the first, sorted.
func (n *Node) VIPsOf(unit int) []netip.Addr {
	n.mu.RLock()
	defer n.mu.RUnlock()
	set := map[netip.Addr]bool{}
	for _, vips := range [][]netip.Addr{n.vips(), n.own.extra} {
		for _, vip := range vips {
			if n.own.owner[vip] == unit {
				set[vip] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(set), netip.Addr.Compare)
}
