package gossip

import (
	"context"
	"fmt"
	"time"

	"ulvs/conntrack"
)

// View is a Node as an operator sees it.
type View struct {
	Name     string
	Ready    bool
	Sessions int // shared ones here, when the table was last summed up
	Peers    []NamedPeer
	Stats    CoreStats
	Dropped  uint64 // records that workers had no room for
	Failed   uint64 // datagrams and messages that could not be sent
}

// NamedPeer is a peer with its name and address.
type NamedPeer struct {
	PeerView
	Name, Addr string
	Generation uint64 // of its configuration, see SetGeneration; 0: not told
}

// View returns the state of things; false if the node has ended.
func (n *Node) View() (v View, ok bool) {
	ok = n.ask(func() {
		peers, sessions := n.core.View()
		v = View{
			Name: n.opt.Name, Ready: n.core.Ready(), Sessions: sessions, Stats: n.core.Stats(), Dropped: n.dropped,
			Failed: n.sentFail.Load(),
		}
		for _, p := range peers {
			named := NamedPeer{PeerView: p, Name: n.name(p.ID)}
			if np := n.peers[p.ID]; np != nil {
				named.Addr, named.Generation = np.addr.String(), np.generation
			}
			v.Peers = append(v.Peers, named)
		}
	})
	return v, ok
}

// Ready reports whether this director may take over from any peer without losing a session.
func (n *Node) Ready() (ready bool) {
	n.ask(func() { ready = n.core.Ready() })
	return ready
}

// SetTerm tells the core which term this director claims; 0: none.
func (n *Node) SetTerm(term uint8) {
	n.ask(func() { n.core.SetTerm(term) })
}

// Share tells peers records that no worker wrote: the control path's.
func (n *Node) Share(records []conntrack.Record) {
	n.ask(func() {
		n.active = time.Now()
		n.step(&Event{Kind: EventRecords, Lane: len(n.opt.Logs), Records: records})
	})
}

// Round runs f in a round of the table, on the goroutine that owns it.
func (n *Node) Round(f func()) { n.ask(f) }

// drainEvery is how often Drain looks.
const drainEvery = time.Millisecond

// Drain sends what waits and returns when all peers have it, the one that a handover is to (empty: any) among them. The
// error is ctx's.
func (n *Node) Drain(ctx context.Context, to string) error {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		drained := true
		n.ask(func() {
			n.readLogs()
			n.act(n.core.Flush(n.now()))
			drained = n.core.Drained() && (to == "" || n.core.Has(IDOf(to)))
		})
		if drained {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sync: peers lack sessions: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
