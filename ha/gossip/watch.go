package gossip

import (
	"net/netip"
	"time"
)

// watch looks now and then for what an operator should know.
func (n *Node) watch() {
	now := time.Now()
	if now.Sub(n.watched) < watchEvery {
		return
	}
	n.watched = now
	dropped, dirty := uint64(0), false
	for _, l := range n.opt.Logs {
		dropped += l.Dropped()
		dirty = l.TakeDirty(&n.dirty) || dirty
	}
	if dirty {
		n.step(&Event{Kind: EventDirty, Leaves: &n.dirty})
		clear(n.dirty[:])
	}
	if dropped > n.dropped {
		n.notify(NoticeDropped, n.opt.Name, int64(dropped-n.dropped))
		n.dropped = dropped
	}
	peers, _ := n.core.View()
	for i := range peers {
		v := &peers[i]
		p := n.peers[v.ID]
		if p == nil || p.lagging == (v.Lag > lagLimit) {
			continue
		}
		if p.lagging = !p.lagging; p.lagging {
			n.notify(NoticeLag, n.name(v.ID), v.Lag.Milliseconds())
		} else {
			n.notify(NoticeCaughtUp, n.name(v.ID), 0)
		}
	}
}

// runJoin looks for configured peers that are not there, until Close: memberlist gives dead ones up.
func (n *Node) runJoin() {
	for {
		if n.ml.NumMembers() <= len(*n.seeds.Load()) {
			for _, p := range n.missing() {
				_, _ = n.ml.Join([]string{p.String()}) // it is tried again
			}
		}
		select {
		case <-n.stop:
			return
		case <-time.After(rejoinEvery):
		}
	}
}

func (n *Node) missing() (out []netip.AddrPort) {
	there := map[netip.AddrPort]bool{n.Addr(): true}
	for _, m := range n.ml.Members() {
		if a, ok := netip.AddrFromSlice(m.Addr); ok {
			there[netip.AddrPortFrom(a.Unmap(), m.Port)] = true
		}
	}
	for _, p := range *n.seeds.Load() {
		if !there[p] {
			out = append(out, p)
		}
	}
	return out
}
