// Package sim runs several directors in one process, with links that drop, delay, repeat and reorder what is
// sent, and with crashes, pauses and cuts, all decided by one seed. What must hold at any time is checked after
// every step, and what must hold after quiet at the end.
//
// It owns the virtual time and the faults. It runs the takeover machines of package ha as they are, and has
// no sockets, goroutines or clock.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"ulvs/conntrack"
	"ulvs/ha"
)

// World is one run: directors, links, and what is yet to happen.
type World struct {
	Now    ha.Time
	Nodes  []*Node
	Trace  []string // the last state changes, for who looks at a failure
	rng    *rand.Rand
	queue  queue
	seq    int
	quorum bool
	adv    time.Duration
	// cut[a][b]: nothing from a reaches b. VRRP's LAN and the gossip network fail apart.
	lanCut, gossipCut [][]bool
	loss              float64         // share of messages lost, both networks
	jitter            time.Duration   // most of a message's delay
	owners            map[uint32]bool // terms that somebody was MASTER with
	broken            []string        // invariants that did not hold

	// with Sessions
	sessions  bool
	talking   bool  // clients send and begin; else they wait
	announced *Node // who announced the VIP last
	crowd     []*session
	places    map[netip.Addr]*places // of clients
	ports     uint16
	unlucky   int // sessions that were lost before anybody had acknowledged them
	dirty     conntrack.LeafSet
}

// Node is one director.
type Node struct {
	Name    string
	id      int
	prio    uint8
	boot    int // crashes so far
	machine *ha.Machine
	alive   bool
	paused  bool
	waiting []func() // what arrived while it was paused
	state   ha.State
	timerAt ha.Time
	seen    []bool        // directors that its gossip holds for alive
	term    uint32        // what its disk holds
	plane   *plane        // nil without sessions
	wall    time.Duration // by how much its wall clock is off
}

// event is something at a time; the order of equal times is that of making.
type event struct {
	at  ha.Time
	seq int
	do  func()
}

type queue []event

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (q queue) Len() int { return len(q) }

// Less orders by time.
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

// Swap swaps.
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push appends.
func (q *queue) Push(x any) { *q = append(*q, x.(event)) }

// Pop takes the last.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// Options of a run.
type Options struct {
	Seed   uint64
	Nodes  int
	Quorum bool
	Advert time.Duration
	// Sessions has clients talk through the directors, and directors replicate.
	Sessions bool
}

var (
	vip     = netip.MustParseAddr("198.18.0.100")
	traceOf = 40
)

// New makes a world in which every director starts within a second.
func New(o Options) *World {
	w := &World{rng: rand.New(rand.NewPCG(o.Seed, 0)), quorum: o.Quorum, adv: o.Advert, jitter: 2 * time.Millisecond,
		owners: map[uint32]bool{}}
	for i := range o.Nodes {
		w.Nodes = append(w.Nodes, &Node{Name: fmt.Sprintf("lvs%d", i+1), id: i, prio: uint8(100 + 20*i)})
		w.lanCut = append(w.lanCut, make([]bool, o.Nodes))
		w.gossipCut = append(w.gossipCut, make([]bool, o.Nodes))
	}
	for _, n := range w.Nodes {
		w.after(time.Duration(w.rng.Int64N(int64(time.Second))), func() { w.start(n) })
	}
	if w.sessions = o.Sessions; w.sessions {
		w.talking, w.places = true, map[netip.Addr]*places{}
		w.after(time.Second, w.clients)
		w.after(time.Second, w.audits)
		w.after(time.Second, w.forge)
	}
	return w
}

func (w *World) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.Now + d, w.seq, do})
}

// Run lets time pass.
func (w *World) Run(d time.Duration) {
	end := w.Now + d
	for len(w.queue) > 0 && w.queue[0].at <= end && len(w.broken) == 0 {
		e := heap.Pop(&w.queue).(event)
		w.Now = e.at
		e.do()
	}
	w.Now = end
}

// Broken returns the invariants that did not hold.
func (w *World) Broken() []string { return w.broken }

func (w *World) fail(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf("at %v: ", w.Now)+fmt.Sprintf(format, args...))
}

func addrOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 0, byte(11 + i)}) }

// start boots a director: it knows nothing of what was before.
func (w *World) start(n *Node) {
	if n.alive {
		return
	}
	n.alive, n.paused, n.waiting, n.state = true, false, nil, ha.StateInit
	n.seen = make([]bool, len(w.Nodes))
	n.machine = ha.New(ha.Config{Node: n.Name, Directors: len(w.Nodes), Quorum: w.quorum, Gossip: true, Start: w.Now,
		Terms: map[string]uint32{"VI_1": n.term},
		Units: []ha.Unit{{Name: "VI_1", Instances: []ha.Instance{{Name: "VI_1", Interface: "c0", Source: addrOf(n.id),
			Version: 3, VRID: 51, Priority: n.prio, AdvertInt: w.adv, VIPs: []netip.Addr{vip}}}}}})
	w.bootPlane(n)
	w.step(n, ha.Event{Kind: ha.EventStart})
	w.gossipRound(n, n.boot)
}

// kill is kill -9.
func (w *World) kill(n *Node) {
	n.alive = false
	n.boot++
	n.state = ha.StateInit
	if n.plane != nil {
		_ = n.plane.table.Close()
	}
}

// pause stops a director for d, as SIGSTOP or a hypervisor does.
func (w *World) pause(n *Node, d time.Duration) {
	if !n.alive || n.paused {
		return
	}
	n.paused = true
	boot := n.boot
	w.after(d, func() {
		if n.boot != boot || !n.alive {
			return
		}
		n.paused = false
		w.step(n, ha.Event{}) // timers first is the worst case
		waiting := n.waiting
		n.waiting = nil
		for _, do := range waiting {
			do()
		}
	})
}

// deliver has something arrive at a director.
func (w *World) deliver(n *Node, boot int, do func()) {
	switch {
	case !n.alive || n.boot != boot:
	case n.paused && len(n.waiting) < 64: // a socket's buffer
		n.waiting = append(n.waiting, do)
	case !n.paused:
		do()
	}
}

// send carries something from a to b, perhaps: lost, late, twice.
func (w *World) send(a, b *Node, cut [][]bool, do func()) {
	copies := 1
	if w.rng.Float64() < 0.01 {
		copies = 2
	}
	for range copies {
		if w.rng.Float64() < w.loss {
			continue
		}
		boot := b.boot
		w.after(100*time.Microsecond+time.Duration(w.rng.Int64N(int64(w.jitter))), func() {
			if !cut[a.id][b.id] {
				w.deliver(b, boot, do)
			}
		})
	}
}

// step gives a machine an event and does what it wants.
func (w *World) step(n *Node, ev ha.Event) {
	now := w.Now
	if w.rng.IntN(50) == 0 {
		now -= time.Millisecond // a clock that goes backwards stands still
	}
	for _, a := range n.machine.Step(now, ev, nil) {
		w.act(n, &a)
	}
	w.check(n)
	w.arm(n)
}

// arm calls the machine again at its deadline.
func (w *World) arm(n *Node) {
	at := n.machine.Deadline()
	if at == ha.Never || at == n.timerAt && at > w.Now {
		return
	}
	n.timerAt = at
	boot := n.boot
	w.after(max(at-w.Now, 0)+time.Microsecond, func() {
		if n.alive && !n.paused && n.boot == boot && n.machine.Deadline() <= w.Now {
			n.timerAt = 0
			w.step(n, ha.Event{})
		}
	})
}
