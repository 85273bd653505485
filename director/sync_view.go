package director

import (
	"net/netip"
	"sync"
	"time"

	"ulvs/conntrack"
	"ulvs/control"
	"ulvs/ha/gossip"
)

var _ control.Replicator = (*director)(nil)

// Sync implements control.Replicator.
func (d *director) Sync() (control.Sync, bool) {
	out, ok := d.replication.view()
	out.IPVS = d.kernels.view()
	return out, ok || len(out.IPVS) > 0
}

func (r *replication) view() (control.Sync, bool) {
	if r == nil || r.node == nil {
		return control.Sync{}, false
	}
	v, ok := r.node.View()
	if !ok {
		return control.Sync{}, false
	}
	out := control.Sync{
		Name: v.Name, Address: r.node.Addr().String(), Mode: string(r.conf.Mode), Secure: !r.conf.Insecure,
		Ready: v.Ready, Sessions: v.Sessions, Unbound: r.replica.Unbound(), Term: uint8(r.term.Load()),
		Records: map[string]uint64{}, Rejected: map[string]uint64{},
		SentRecords: v.Stats.SentRecords, SentDatagrams: v.Stats.SentDatagrams, Resent: v.Stats.ResentDatagrams,
		DroppedRecords: v.Dropped, Lost: v.Stats.Lost, Reaped: v.Stats.Reaped, Failed: v.Failed,
	}
	there, down := map[string]bool{}, r.d.downServers()
	for i := range v.Peers {
		p := r.peer(&v.Peers[i], v.Sessions)
		s := r.states.of(p.Name)
		p.Version, p.Notes = s.Version, r.notes(p.Name, v.Peers[i].Generation, down)
		p.Configuration = r.states.compare(v.Peers[i].Generation)
		there[p.Address] = true
		out.Peers = append(out.Peers, p)
	}
	out.Missing = missingPeers(*r.peers.Load(), r.node.Addr(), there)
	for a := conntrack.Applied(0); int(a) < conntrack.NumApplied; a++ {
		if n := r.replica.Applied(a); n > 0 {
			out.Records[a.String()] = n
		}
	}
	for why := gossip.Reject(0); int(why) < gossip.NumRejects; why++ {
		if n := r.node.Rejects()[why].Load(); n > 0 {
			out.Rejected[why.String()] = n
		}
	}
	return out, true
}

// missingPeers are the configured directors that are not there. All files may name all of them, this one included.
func missingPeers(configured []netip.AddrPort, self netip.AddrPort, there map[string]bool) (out []string) {
	for _, a := range configured {
		if a != self && !there[a.String()] {
			out = append(out, a.String())
		}
	}
	return out
}

func (r *replication) peer(p *gossip.NamedPeer, here int) control.SyncPeer {
	out := control.SyncPeer{
		Name: p.Name, Address: p.Addr, State: peerState(p), LagMS: float64(p.Lag.Microseconds()) / 1000,
		Sessions: p.Sessions, Coverage: 100, MatchedSeconds: p.Matched.Seconds(), Differing: p.Differ,
		Repaired: p.Repaired, Received: p.Got, Rate: r.rates.of(p.Name),
	}
	if p.Syncing {
		here = int(p.Snapshot)
	}
	if p.Sessions > 0 {
		out.Coverage = min(100, 100*float64(here)/float64(p.Sessions))
	}
	return out
}

func peerState(p *gossip.NamedPeer) string {
	switch {
	case p.Syncing:
		return "syncing"
	case p.Behind:
		return "behind"
	case p.Matched < 0 || p.Settled > 0:
		return "differing"
	}
	return "in sync"
}

// rateBook tells how many records a second come from each peer.
type rateBook struct {
	mu    sync.Mutex
	since time.Time
	last  map[string]uint64
	rate  map[string]float64
}

// rateEvery is what a rate is taken over.
const rateEvery = 2 * time.Second

func (b *rateBook) note(n *gossip.Node) {
	passed := time.Since(b.since)
	if passed < rateEvery {
		return
	}
	v, _ := n.View()
	b.mu.Lock()
	defer b.mu.Unlock()
	rate, last := map[string]float64{}, map[string]uint64{}
	for i := range v.Peers {
		p := &v.Peers[i]
		last[p.Name] = p.Got
		if was, ok := b.last[p.Name]; ok && p.Got >= was {
			rate[p.Name] = float64(p.Got-was) / passed.Seconds()
		}
	}
	b.since, b.last, b.rate = time.Now(), last, rate
}

func (b *rateBook) of(peer string) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rate[peer]
}
