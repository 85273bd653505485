package dataplane

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
)

// holdLimit bounds the frames a worker keeps for next hops that are being resolved, in the
// kernel's manner (unres_qlen). The frames over it drop as drop_neighbour.
const holdLimit = 64

// holdTicks is how long such a frame waits.
const holdTicks = conntrack.TicksPerSecond

// Options are what a Worker is made of.
type Options struct {
	ID        int
	Workers   int   // how many share the table's expiry; 0: 1
	Queue     Queue // may be set later, with SetQueue
	Table     *conntrack.Table
	Snapshots *atomic.Pointer[Snapshot] // must hold one before the first batch
	Gathering *Reassembly               // of fragments, shared by all workers; nil: they are dropped
	Stack     *StackLink                // to the stack of our own; nil: there is none
	Drops     *PacketDrops              // drop_packet, shared by all workers; nil: the worker's own
	Taps      *atomic.Pointer[Tap]      // the capture that runs, shared by all workers; nil: there are none
	Notices   chan<- Notice             // to the director, never waited for; nil: nobody listens
	// Destinations is how many ids destinations and services ever have, so that a test's worker is made quickly;
	// 0: all that lvs allows.
	Destinations int
	Seed         uint64         // for IP ids of outer headers and own packets
	Log          *conntrack.Log // what peers have to know of sessions; nil: there are none
}

// Worker serves one Queue: it is one goroutine's, pinned to one core. It allocates
// nothing after NewWorker.
type Worker struct {
	id      int
	workers int
	queue   Queue
	table   *conntrack.Table
	conns   *conntrack.Handle
	source  *atomic.Pointer[Snapshot]
	notices chan<- Notice
	stats   Stats
	drops   *PacketDrops
	entries entryDrops
	idle    idleState
	log     *conntrack.Log // nil while nobody is told of sessions
	ownLog  bool           // log is not the snapshot's
	taps    *atomic.Pointer[Tap]

	// valid during a batch
	snap     *Snapshot
	tap      *Tap // nil: nobody captures
	now      conntrack.Tick
	clock    time.Duration // now, finer where Run knows
	verdicts [BatchSize]Verdict
	v4, v6   family

	rx, tx, free [BatchSize]packet.Frame
	nTx, nFree   int
	held         [holdLimit]heldFrame
	nHeld        int
	until        [BatchSize]conntrack.Tick // of the frames that are being retried
	retrying     bool
	optionsEnd   int    // where a header's options cease to make sense; 0: nowhere
	heldSeen     uint64 // snapshot generation that the held frames were last tried with
	sweepDebt    int
	swept        conntrack.Tick
	answers      answerBudget
	random       uint64
	tuple        packet.Tuple   // of the packet being scheduled
	spec         conntrack.Spec // of its session; Aux and Version stay 0
	inner        packet.Parsed  // of the packet that an ICMP error quotes
	pieces       [pieceLimit]packet.Frame
	nPieces      int
	gathering    *Reassembly
	whole        packet.Parsed // of a datagram that was put together, or a packet of our own stack
	edges        [maxEdges]uint16
	nEdges       int
	stack        *StackLink
	handed       bool                 // the stack has something to read since it was last told
	ownBatch     bool                 // the batch at hand is the stack's
	atLimit      uint16               // largest fragment of it: what it is cut to again
	tapped       [BatchSize]*TapFrame // of the batch's frames, as they arrived; valid below nTapped
	nTapped      int
	paths        []path                            // by destination
	tunnels      []tunnel                          // the same; valid where the path is
	epoch        uint32                            // counts the snapshots seen
	timers       [packet.NumMiddle]conntrack.Timer // as packets of the batch restart them
	macs         [256]uint64                       // of the snapshot's ports, as packet.ParsePlain wants them
}

// family is a batch's flows of one address family, kept together so that their
// look-ups run stage by stage over tight arrays.
type family struct {
	n      int
	at     [BatchSize]uint8
	parsed [BatchSize]packet.Parsed
	refs   [BatchSize]conntrack.Ref
}

type heldFrame struct {
	frame packet.Frame
	until conntrack.Tick
	own   bool // from our own stack
}

// NewWorker makes a worker. Table must have been made for more than o.ID workers.
func NewWorker(o Options) *Worker {
	w := &Worker{
		id: o.ID, workers: max(o.Workers, 1), queue: o.Queue, table: o.Table, conns: o.Table.Worker(o.ID),
		source: o.Snapshots, notices: o.Notices, gathering: o.Gathering, stack: o.Stack, random: o.Seed | 1,
		log: o.Log, ownLog: o.Log != nil, taps: o.Taps,
	}
	if w.taps == nil {
		w.taps = new(atomic.Pointer[Tap])
	}
	if w.drops = o.Drops; w.drops == nil {
		w.drops = new(PacketDrops)
	}
	w.entries.init(w, o.Seed)
	w.stats.init(o.Destinations)
	w.paths, w.tunnels = make([]path, len(w.stats.dests)), make([]tunnel, len(w.stats.dests))
	return w
}

// Stats returns the worker's counters; any goroutine may read them.
func (w *Worker) Stats() *Stats { return &w.stats }

// RunOnce handles the frames that are there, at most BatchSize, and whatever is due at
// time now. It never blocks. It returns how many frames it received, those of our own stack included.
func (w *Worker) RunOnce(now conntrack.Tick) int {
	n := w.queue.Recv(w.rx[:])
	w.begin(now)
	if n > 0 {
		w.stats.received += uint64(n)
		w.batch(w.rx[:n])
	}
	if w.nHeld > 0 {
		w.retryHeld()
	}
	if w.stack != nil {
		n += w.serveStack()
	}
	w.sweep()
	w.entries.run()
	w.stats.publish(w.snap)
	if w.log != nil {
		w.log.Flush()
	}
	w.conns.Quiesce()
	return n
}

func (w *Worker) begin(now conntrack.Tick) {
	w.now = now
	if TickOf(w.clock) != now {
		w.clock = now.Duration()
	}
	w.tap = w.taps.Load()
	w.renewSnapshot()
	if !w.ownLog {
		w.log = w.snap.log(w.id)
	}
}

// renewSnapshot takes the published snapshot and reports whether it is another one. Within a batch it is asked when
// what is shared with others names a real server that this worker does not know yet: a scheduler that was just
// updated, or a session of another worker's. Sessions and frames carry IDs, which mean the same in both.
func (w *Worker) renewSnapshot() bool {
	snap, before := w.source.Load(), w.snap
	if snap == before {
		return false
	}
	w.snap = snap
	w.epoch++
	clear(w.macs[:])
	for i := range snap.Ports {
		w.macs[i] = snap.Ports[i].wireMAC
	}
	w.stats.generation.Store(snap.Generation)
	if w.id == 0 && snap.Settings.ExpireNodestConn != 0 && snap.removedSince(before) {
		w.expireOrphans()
	}
	return true
}

// expireOrphans ends all sessions and templates of real servers that are no longer configured, as
// expire_nodest_conn wants it (ip_vs_expire_nodest_conn_flush). It looks at the whole table, and only
// when somebody has just removed a real server.
func (w *Worker) expireOrphans() {
	w.table.Walk(func(r conntrack.Ref, e *conntrack.Entry, i conntrack.Info) bool {
		d := w.dest(i.DestID)
		if i.Flags&conntrack.FlagBypass == 0 && (d == nil || d.Removed && d.Fate == lvs.FailDefault) {
			w.expire(r, e)
		}
		return true
	})
}

// batch decides and rewrites stage by stage, so that the cache misses of different
// frames overlap (conntab.md: worth three to four times at a million flows).
func (w *Worker) batch(frames []packet.Frame) {
	if w.tap != nil {
		w.tapReceived(frames)
	}
	w.parse(frames)
	if v := &w.v4; v.n > 0 {
		w.conns.Find(v.parsed[:v.n], v.refs[:v.n])
		w.flows(frames, v)
	}
	if v := &w.v6; v.n > 0 {
		w.conns.Find(v.parsed[:v.n], v.refs[:v.n])
		w.flows(frames, v)
	}
	w.dispose(frames)
}

func (w *Worker) parse(frames []packet.Frame) {
	w.v4.n, w.v6.n = 0, 0
	for i := 0; i < len(frames); i++ {
		v := &w.v4
		for range packet.ParsePlain(frames[i:], &w.macs, v.parsed[v.n:]) {
			v.at[v.n] = uint8(i)
			v.n++
			i++
		}
		if i == len(frames) {
			return
		}
		p := &v.parsed[v.n]
		if err := packet.Parse(frames[i].Bytes(), p); err != 0 {
			w.verdicts[i] = ParseVerdict(err)
			continue
		}
		if w.others(&frames[i], p.Kind) {
			w.verdicts[i] = DropOtherHost
			continue
		}
		if p.Kind != packet.KindFlow || p.Flags&unusual != 0 {
			if v := w.unusual(&frames[i], p); v != 0 {
				w.verdicts[i] = v
				continue
			}
		}
		if p.V6() {
			v = &w.v6
			v.parsed[v.n] = *p
		}
		v.at[v.n] = uint8(i)
		v.n++
	}
}

// unusual are the flags of packets that are looked at before they are a session's.
const unusual = packet.FlagFragment | packet.FlagAtomic | packet.FlagOptions

// unusual decides about a packet that is no plain one of a session; the verdict is 0 if it is one after all. The
// options of a frame that is tried again were read the first time.
func (w *Worker) unusual(f *packet.Frame, p *packet.Parsed) Verdict {
	if p.Flags&packet.FlagOptions != 0 && !p.V6() && !w.retrying {
		if v := w.takeOptions(f, p); v != 0 {
			return v
		}
	}
	if p.Kind != packet.KindFlow || p.Flags&(packet.FlagFragment|packet.FlagAtomic) != 0 {
		return w.other(f, p)
	}
	return 0
}

// others reports whether a frame is for another host: a switch that floods, or a port in promiscuous
// mode. Forwarding it would double the packet. A group's MAC address is for ARP, ND and ICMP only: IPVS looks
// at nothing else that was not sent to this host alone.
func (w *Worker) others(f *packet.Frame, kind packet.Kind) bool {
	dst := binary.LittleEndian.Uint64(f.Buf[f.Off:]) & macMask
	if dst&1 == 1 {
		return kind == packet.KindFlow
	}
	return dst != w.snap.Ports[f.Port].wireMAC && !slices.Contains(w.snap.wire, dst)
}

// macMask takes a frame's first six bytes out of a little-endian load of eight.
const macMask = 1<<48 - 1

// flows decides about the flows of a batch in their order: by the short way as far as that goes, and by the long one
// where it does not.
func (w *Worker) flows(frames []packet.Frame, v *family) {
	at, parsed, refs := v.at[:v.n], v.parsed[:v.n], v.refs[:v.n]
	w.restartTimers()
	serving := !w.snap.idle[index(v == &w.v6)]
	for k := 0; k < len(parsed); k++ {
		if serving && refs[k] != 0 {
			if k = w.steady(frames, v, k); k >= len(parsed) {
				return
			}
		}
		i := at[k] & (BatchSize - 1)
		if refs[k] == 0 && w.conns.StillMissing(k, v == &w.v6) {
			w.verdicts[i] = w.unknown(&frames[i], &parsed[k])
		} else {
			w.verdicts[i] = w.flow(&frames[i], &parsed[k], refs[k])
		}
	}
}

// dispose is the one place that owns what happens to a frame: it sends it, keeps it or
// gives it back, and counts its verdict.
func (w *Worker) dispose(frames []packet.Frame) {
	w.nTx, w.nFree = w.tally(len(frames)), 0
	tx := frames
	if w.nTx < len(frames) {
		w.sortOut(frames)
		tx = w.tx[:]
	}
	if w.tap != nil {
		w.tapVerdicts(frames)
	}
	w.sendPieces()
	if w.nTx > 0 {
		sent := w.queue.Send(tx[:w.nTx])
		w.stats.txFull += uint64(w.nTx - sent)
	}
	if w.nFree > 0 {
		w.queue.Release(w.free[:w.nFree])
	}
}

// tally counts the verdicts of the first frames of a batch of n, as long as they are transmitted, and returns how many
// frames that are. The same verdict mostly comes many times on end: counting each would have to wait for the count
// before it.
func (w *Worker) tally(n int) int {
	verdicts := w.verdicts[:n]
	for i := 0; i < len(verdicts); {
		v, from := verdicts[i], i
		if !v.IsTx() {
			return i
		}
		for i++; i < len(verdicts) && verdicts[i] == v; i++ {
		}
		w.stats.verdicts[v] += uint64(i - from)
	}
	return n
}

// sortOut puts the frames where they go, the first nTx of them to be sent, and counts the others' verdicts.
func (w *Worker) sortOut(frames []packet.Frame) {
	for i := copy(w.tx[:], frames[:w.nTx]); i < len(frames); i++ {
		v := w.verdicts[i]
		switch {
		case v&inPieces != 0: // its pieces go, it stays
			v &^= inPieces
			w.free[w.nFree] = frames[i]
			w.nFree++
		case v.IsTx():
			w.tx[w.nTx] = frames[i]
			w.nTx++
		case v == hold && w.keep(&frames[i], i):
			continue
		case v == hold:
			v = DropNeighbour
			w.verdicts[i] = v
			fallthrough
		default:
			w.free[w.nFree] = frames[i]
			w.nFree++
		}
		w.stats.verdicts[v]++
	}
}

// keep holds frame i of the batch back. One that is held again gets no new time.
func (w *Worker) keep(f *packet.Frame, i int) bool {
	if w.nHeld == holdLimit {
		return false
	}
	until := w.now + holdTicks
	if w.retrying {
		until = w.until[i]
	}
	w.held[w.nHeld] = heldFrame{*f, until, w.ownBatch}
	w.nHeld++
	return true
}

// retryHeld runs held frames again when the snapshot changed, as if they had just
// arrived, and gives up those that waited too long.
func (w *Worker) retryHeld() {
	changed := w.heldSeen != w.snap.Generation
	w.heldSeen = w.snap.Generation
	w.retry(changed, false)
	if w.stack != nil {
		w.retry(changed, true)
	}
}

// retry does it for the frames that were received, or for those of our own stack.
func (w *Worker) retry(changed, own bool) {
	keep, again, late := 0, 0, 0
	for i := range w.held[:w.nHeld] {
		h := w.held[i]
		switch {
		case h.own != own:
			w.held[keep] = h
			keep++
		case h.until <= w.now:
			w.stats.verdicts[DropNeighbour]++
			if w.tap != nil {
				w.tapLate(&h.frame)
			}
			w.free[late] = h.frame
			late++
		case changed:
			w.rx[again], w.until[again] = h.frame, h.until
			again++
		default:
			w.held[keep] = h
			keep++
		}
	}
	w.nHeld = keep
	if late > 0 {
		w.queue.Release(w.free[:late])
	}
	w.retrying = true
	switch {
	case again > 0 && own:
		w.ownFrames(w.rx[:again])
	case again > 0:
		w.batch(w.rx[:again])
	}
	w.retrying = false
}

// sweep pays for expiry in small pieces, whatever the rate of batches, by looking at what is due since the last tick.
func (w *Worker) sweep() {
	if w.swept != w.now {
		passed := min(w.now-w.swept, sweepPeriod)
		w.swept = w.now
		due := sweepDue(w.table.Span(), int(passed)) / w.workers
		w.sweepDebt = min(w.sweepDebt+due+1, sweepDebtMax)
	}
	if w.sweepDebt > 0 {
		w.conns.Advance(w.now, sweepBudget, w)
		w.sweepDebt -= sweepBudget
	}
}

// sweepDue is how many of span entries are to be looked at for some ticks: all once in two seconds, or as many as
// sweepRate allows. To look at one takes about nine nanoseconds, all of it the wait for its cache line; at that rate it
// stays below 3 % of a core however large the table.
func sweepDue(span, ticks int) int {
	return min(span*ticks/sweepPeriod, sweepRate/conntrack.TicksPerSecond*ticks)
}

const (
	sweepPeriod  = 2 * conntrack.TicksPerSecond // one pass over a table of up to 5 Mi entries
	sweepRate    = 5 << 19                      // entries a second
	sweepBudget  = 256                          // entries a batch looks at: about a microsecond
	sweepDebtMax = 1 << 26
)

// Sweep looks at every session at once: for replays and tests, whose clock jumps.
func (w *Worker) Sweep(now conntrack.Tick) {
	w.begin(now)
	w.conns.Advance(now, 1<<30, w)
	w.stats.publish(w.snap)
	if w.log != nil {
		w.log.Flush()
	}
	w.conns.Quiesce()
}
