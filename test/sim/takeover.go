package sim

import (
	"fmt"
	"slices"
	"time"

	"ulvs/ha"
)

// Figures of the gossip network.
const (
	gossipPeriod = 100 * time.Millisecond
	// suspicion is how long gossip takes to hold a silent director for dead.
	suspicion = 400 * time.Millisecond
)

func (w *World) act(n *Node, a *ha.Action) {
	switch a.Kind {
	case ha.ActionSend:
		w.advert(n, a.Advert)
	case ha.ActionBecome:
		w.became(n, a)
	case ha.ActionClaim:
		w.tellAll(n, ha.Event{Kind: ha.EventClaim, Claim: a.Claim})
	case ha.ActionTerm:
		n.term = a.Claim.Term
	case ha.ActionQuery:
		w.tell(n, a.Name, ha.Event{Kind: ha.EventQuery, Name: n.Name})
	case ha.ActionAnswer:
		w.tell(n, a.Name, ha.Event{Kind: ha.EventAnswer, Claim: a.Claim, Up: a.Up})
	case ha.ActionVoteAsk:
		w.tellAll(n, ha.Event{Kind: ha.EventVoteAsk, Claim: a.Claim})
	case ha.ActionVote:
		w.tell(n, a.Name, ha.Event{Kind: ha.EventVote, Name: n.Name, Claim: a.Claim, Up: a.Up})
	case ha.ActionHandoverAsk:
		w.tell(n, a.Name, ha.Event{Kind: ha.EventHandover, Claim: a.Claim})
	case ha.ActionAnnounce:
		w.announced = n
	case ha.ActionFlush:
		if n.plane != nil {
			n.plane.flush = &handingOver{a.Name, w.Now + drainLimit}
			return
		}
		boot := n.boot
		w.after(5*time.Millisecond, func() {
			w.deliver(n, boot, func() { w.step(n, ha.Event{Kind: ha.EventFlushed}) })
		})
	}
}

// advert is multicast: every other director on the LAN gets its own copy.
func (w *World) advert(n *Node, a ha.Advert) {
	wire := a.Append(nil, addrOf(n.id), ha.GroupV4)
	for _, other := range w.Nodes {
		if other == n {
			continue
		}
		b := slices.Clone(wire)
		if w.rng.Float64() < 0.002 {
			b[w.rng.IntN(len(b))] ^= 1 << w.rng.IntN(8) // damage: the checksum finds it
		}
		w.send(n, other, w.lanCut, func() { w.hear(other, n, b) })
	}
}

func (w *World) hear(n, from *Node, wire []byte) {
	var a ha.Advert
	at := ha.Arrival{Src: addrOf(from.id), Dst: ha.GroupV4, TTL: 255}
	if a.Decode(wire, at) == ha.RejectNone && n.machine.Check(0, &a, at) == ha.RejectNone {
		w.step(n, ha.Event{Kind: ha.EventAdvert, Advert: &a, From: at.Src})
	}
}

func (w *World) byName(name string) *Node {
	return w.Nodes[slices.IndexFunc(w.Nodes, func(n *Node) bool { return n.Name == name })]
}

// tell sends something over gossip to one director.
func (w *World) tell(n *Node, to string, ev ha.Event) {
	other := w.byName(to)
	w.send(n, other, w.gossipCut, func() { w.step(other, ev) })
}

func (w *World) tellAll(n *Node, ev ha.Event) {
	for _, other := range w.Nodes {
		if other != n {
			w.tell(n, other.Name, ev)
		}
	}
}

// gossipRound repeats what n claims, and looks who is there, as memberlist does.
func (w *World) gossipRound(n *Node, boot int) {
	if !n.alive || n.boot != boot {
		return
	}
	if !n.paused {
		if n.plane == nil {
			w.step(n, ha.Event{Kind: ha.EventReady, Up: true})
		}
		if c := n.machine.View(0).Claim; c.Owner == n.Name {
			w.tellAll(n, ha.Event{Kind: ha.EventClaim, Claim: c})
		}
		for _, other := range w.Nodes {
			w.watch(n, other, boot)
			if n.seen[other.id] {
				w.meet(n, other)
			}
		}
	}
	w.after(gossipPeriod, func() { w.gossipRound(n, boot) })
}

// watch tells n when another director appears, and a while after it vanished.
func (w *World) watch(n, other *Node, boot int) {
	there := w.reachable(n, other)
	switch {
	case there == n.seen[other.id]:
	case there:
		n.seen[other.id] = true
		w.members(n)
	default:
		w.after(suspicion, func() {
			w.deliver(n, boot, func() {
				if !w.reachable(n, other) && n.seen[other.id] {
					n.seen[other.id] = false
					w.part(n, other)
					w.step(n, ha.Event{Kind: ha.EventPeerGone, Name: other.Name})
					w.members(n)
				}
			})
		})
	}
}

func (w *World) reachable(n, other *Node) bool {
	return n == other || other.alive && !other.paused && !w.gossipCut[n.id][other.id] && !w.gossipCut[other.id][n.id]
}

func (w *World) members(n *Node) {
	count := 0
	for _, s := range n.seen {
		if s {
			count++
		}
	}
	w.step(n, ha.Event{Kind: ha.EventMembers, Members: count})
}

// became checks what must hold of a new state.
func (w *World) became(n *Node, a *ha.Action) {
	w.Trace = append(w.Trace, fmt.Sprintf("%v %s %s term %d (%s)", w.Now, n.Name, a.State, a.Claim.Term, a.Reason))
	w.Trace = w.Trace[max(len(w.Trace)-traceOf, 0):]
	n.state = a.State
	if a.State != ha.StateMaster {
		if n.plane != nil {
			n.plane.linger = w.Now + a.Linger
		}
		return
	}
	w.owns(n, a.Claim.Term)
	if w.quorum && w.owners[a.Claim.Term] {
		w.fail("%s became MASTER with term %d, which had an owner before", n.Name, a.Claim.Term)
	}
	w.owners[a.Claim.Term] = true
}

// check looks at what must hold after every step.
func (w *World) check(n *Node) {
	if v := n.machine.View(0); v.State != n.state && n.state != ha.StateInit {
		w.fail("%s is %s and said %s", n.Name, v.State, n.state)
	}
	if n.machine.Deadline() < w.Now-time.Second && !n.paused {
		w.fail("%s wants to be called at %v", n.Name, n.machine.Deadline())
	}
}

// Faults makes trouble for d, one thing after another.
func (w *World) Faults(d time.Duration) {
	end := w.Now + d
	for w.Now < end && len(w.broken) == 0 {
		w.fault()
		w.Run(time.Duration(w.rng.Int64N(int64(2 * time.Second))))
	}
}

func (w *World) fault() {
	a, b := w.Nodes[w.rng.IntN(len(w.Nodes))], w.Nodes[w.rng.IntN(len(w.Nodes))]
	for b == a {
		b = w.Nodes[w.rng.IntN(len(w.Nodes))]
	}
	cut := w.lanCut
	if w.rng.IntN(2) == 0 {
		cut = w.gossipCut
	}
	switch w.rng.IntN(9) {
	case 0:
		w.kill(a)
	case 1, 2:
		w.start(a)
	case 3:
		w.pause(a, time.Duration(w.rng.Int64N(int64(5*time.Second))))
	case 4:
		cut[a.id][b.id] = true // one way
	case 5:
		cut[a.id][b.id], cut[b.id][a.id] = true, true
	case 6:
		w.mend()
	case 7:
		w.loss = w.rng.Float64() / 3
	case 8:
		w.jitter = time.Duration(1 + w.rng.Int64N(int64(w.adv)))
	}
}

// mend restores all links.
func (w *World) mend() {
	for i := range w.Nodes {
		clear(w.lanCut[i])
		clear(w.gossipCut[i])
	}
	w.loss, w.jitter = 0, 2*time.Millisecond
}

// Quiet mends everything, starts every director, and returns after long enough for them to agree.
func (w *World) Quiet() {
	w.mend()
	for _, n := range w.Nodes {
		w.start(n)
	}
	w.Run(10*time.Second + 20*w.adv)
}

// Masters returns the directors that are MASTER.
func (w *World) Masters() (names []string) {
	for _, n := range w.Nodes {
		if n.alive && !n.paused && n.state == ha.StateMaster {
			names = append(names, n.Name)
		}
	}
	return names
}
