package sim

import (
	"slices"
	"time"

	"ulvs/ha"
	"ulvs/ha/gossip"
)

// Times of a director's replication loop.
const (
	planeBusy  = 5 * time.Millisecond
	planeIdle  = 20 * time.Millisecond
	planeCalm  = 250 * time.Millisecond
	readyEvery = 100 * time.Millisecond
	aloneWait  = 5 * time.Second
	drainLimit = 2 * time.Second
	keptMax    = 16
)

// sealed is a datagram that a director opened in one of its lives.
type sealed struct{ data []byte }

// bootPlane gives a director that starts a data plane that knows nothing.
func (w *World) bootPlane(n *Node) {
	if !w.sessions {
		return
	}
	n.wall += time.Duration(w.rng.Int64N(int64(time.Second))) - time.Second/2
	n.plane = newPlane(w, n, w.Now, n.wall)
	boot := n.boot
	w.step(n, ha.Event{Kind: ha.EventReady})
	w.after(0, func() { w.loop(n, boot) })
	w.after(readyEvery, func() { w.tellReady(n, boot) })
}

// loop is the director's replication: it reads the workers' log and lets time pass.
func (w *World) loop(n *Node, boot int) {
	if !n.alive || n.boot != boot {
		return
	}
	p, wait := n.plane, planeIdle
	if !n.paused {
		p.worker.RunOnce(p.tick(w.Now))
		w.readLog(n)
		w.core(n, &gossip.Event{Kind: gossip.EventTick})
		w.handOver(n)
	}
	if w.Now-p.active < planeCalm || p.flush != nil {
		wait = planeBusy
	}
	w.after(wait, func() { w.loop(n, boot) })
}

// readLog tells peers what the worker wrote.
func (w *World) readLog(n *Node) {
	p := n.plane
	for !p.core.Congested(0) {
		records := p.log.Read(128)
		if len(records) == 0 {
			break
		}
		w.core(n, &gossip.Event{Kind: gossip.EventRecords, Records: records})
		p.log.Release(len(records))
	}
	if any := p.log.TakeDirty(&w.dirty); any {
		w.core(n, &gossip.Event{Kind: gossip.EventDirty, Leaves: &w.dirty})
		clear(w.dirty[:])
	}
}

// core gives a director's core an event and does what it wants.
func (w *World) core(n *Node, ev *gossip.Event) {
	p := n.plane
	if ev.Kind != gossip.EventTick {
		p.active = w.Now
	}
	now := w.Now - p.began
	if w.rng.IntN(50) == 0 {
		now -= time.Millisecond // a clock that goes backwards stands still
	}
	p.round(w.Now, func() { w.coreActs(n, p.core.Step(max(now, 0), ev)) })
	w.acknowledged(n)
}

func (w *World) coreActs(n *Node, acts []gossip.Action) {
	for i := range acts {
		a := &acts[i]
		switch a.Kind {
		case gossip.ActionDatagram:
			for _, other := range w.Nodes {
				if other != n && (a.Peer == 0 || a.Peer == gossip.IDOf(other.Name)) {
					w.lane(n, other, a.Data)
				}
			}
		case gossip.ActionMessage:
			w.stream(n, a)
		case gossip.ActionReject:
			w.fail("%s refuses what another director sealed", n.Name)
		}
	}
}

// lane sends a sealed datagram, which may be lost, doubled and overtaken.
func (w *World) lane(n, other *Node, payload []byte) {
	wire := n.plane.box.Seal(payload)
	w.send(n, other, w.gossipCut, func() { w.open(other, wire) })
}

// open takes a datagram from the network.
func (w *World) open(n *Node, wire []byte) {
	from, payload, err := n.plane.box.Open(slices.Clone(wire))
	if err != nil {
		return // doubled, or from before somebody's restart
	}
	p := n.plane
	if len(p.kept) < keptMax {
		p.kept = append(p.kept, sealed{wire})
	} else if w.rng.IntN(8) == 0 {
		p.kept[w.rng.IntN(keptMax)] = sealed{wire}
	}
	w.core(n, &gossip.Event{Kind: gossip.EventDatagram, Peer: from, Data: payload})
}

// stream carries a message whole, or not at all; the sender hears that it is over.
func (w *World) stream(n *Node, a *gossip.Action) {
	to := slices.IndexFunc(w.Nodes, func(o *Node) bool { return gossip.IDOf(o.Name) == a.Peer })
	other, peer, data := w.Nodes[to], a.Peer, slices.Clone(a.Data) // the action is good until the next step
	boot, its := n.boot, other.boot
	w.after(2*time.Millisecond+time.Duration(w.rng.Int64N(int64(20*time.Millisecond))), func() {
		if w.reachable(n, other) && n.boot == boot && other.boot == its {
			w.core(other, &gossip.Event{Kind: gossip.EventMessage, Data: data})
		}
		if n.alive && n.boot == boot {
			w.core(n, &gossip.Event{Kind: gossip.EventSent, Peer: peer})
		}
	})
}

// meet tells a core of a director that gossip has, in its present life.
func (w *World) meet(n, other *Node) {
	if n == other || n.plane == nil || !other.alive || n.plane.known[other.id] == other.boot+1 {
		return
	}
	n.plane.known[other.id] = other.boot + 1
	n.plane.box.Learn(other.plane.id, other.plane.epoch)
	w.core(n, &gossip.Event{Kind: gossip.EventPeerUp, Peer: other.plane.id, Epoch: other.plane.epoch})
}

// part tells a core that gossip holds a director for dead.
func (w *World) part(n, other *Node) {
	if n.plane == nil {
		return
	}
	delete(n.plane.known, other.id)
	w.core(n, &gossip.Event{Kind: gossip.EventPeerDown, Peer: gossip.IDOf(other.Name)})
}

// tellReady tells the machine whether the director has all that the others have, as the director does.
func (w *World) tellReady(n *Node, boot int) {
	if !n.alive || n.boot != boot {
		return
	}
	if p := n.plane; !n.paused {
		alone := len(p.known) == 0 && w.Now-p.began < aloneWait
		w.step(n, ha.Event{Kind: ha.EventReady, Up: !alone && p.core.Ready()})
	}
	w.after(readyEvery, func() { w.tellReady(n, boot) })
}

// owns stamps sessions with the term of a claim, and makes templates that are missing.
func (w *World) owns(n *Node, term uint32) {
	p := n.plane
	if p == nil {
		return
	}
	p.term.Store(term & 0xff)
	p.core.SetTerm(uint8(term))
	p.round(w.Now, func() { p.replica.Relink() })
}

// handOver goes on with a planned handover: peers get what is there, and then the machine is told.
func (w *World) handOver(n *Node) {
	p := n.plane
	if p.flush == nil {
		return
	}
	p.round(w.Now, func() { w.coreActs(n, p.core.Flush(w.Now-p.began)) })
	w.acknowledged(n)
	drained := p.core.Drained() && len(p.log.Read(1)) == 0 && (p.flush.to == "" || p.core.Has(gossip.IDOf(p.flush.to)))
	if !drained && w.Now < p.flush.until {
		return
	}
	if p.flush.to != "" && drained {
		if to := w.byName(p.flush.to); to.alive && p.known[to.id] == to.boot+1 {
			w.everything(n, to)
		}
	}
	p.flush = nil
	w.step(n, ha.Event{Kind: ha.EventFlushed})
}

// forge has somebody on the network send what was there before, or what was never sealed: a director that takes it in
// fails the run.
func (w *World) forge() {
	n := w.Nodes[w.rng.IntN(len(w.Nodes))]
	if n.alive && !n.paused && len(n.plane.kept) > 0 {
		wire := slices.Clone(n.plane.kept[w.rng.IntN(len(n.plane.kept))].data)
		switch w.rng.IntN(4) {
		case 0: // as it was
		case 1:
			wire[w.rng.IntN(len(wire))] ^= 1 << w.rng.IntN(8)
		case 2:
			wire = wire[:w.rng.IntN(len(wire))]
		case 3:
			other := w.Nodes[(n.id+1)%len(w.Nodes)]
			if other.plane != nil {
				wire = gossip.NewBox(foreignKeys, other.plane.id, other.plane.epoch).Seal(wire[24:])
			}
		}
		if from, _, err := n.plane.box.Open(wire); err == nil {
			w.fail("%s opened what %v did not send, or not now", n.Name, from)
		}
	}
	w.after(time.Duration(w.rng.Int64N(int64(400*time.Millisecond))), w.forge)
}
