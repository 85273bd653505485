package conformance

import (
	"errors"
	"hash/fnv"
	"net/netip"
	"time"

	"ulvs/conntrack"
	"ulvs/dataplane"
	"ulvs/dataplane/memqueue"
	"ulvs/director"
)

const (
	tableBits  = 12 // the recordings' kernel: size=4096
	poolFrames = 512
	ratePeriod = 2 * time.Second // IPVS's estimator
	tick       = time.Second / conntrack.TicksPerSecond
	// stepTime is what a step takes: next to nothing, but two things never happen at once.
	stepTime = 2 * time.Millisecond
	// sleepSteps bounds in how many pieces a sleep passes.
	sleepSteps = 4000
	pumpLimit  = 1000
	maxIDs     = 1 << 12 // of destinations
)

// mark is the firewall mark of the recordings' network.
var mark = dataplane.MarkRule{Mark: 5, Dst: netip.MustParsePrefix("198.18.1.0/24")}

// bed is a director on queues in memory, with a clock that moves when told.
type bed struct {
	network *Network
	node    *director.Node
	table   *conntrack.Table
	queues  []*memqueue.Queue
	workers []*dataplane.Worker
	notices chan dataplane.Notice
	clock   time.Duration
	rated   time.Duration // when the estimators ran last
}

// newBed makes one. With heap the race detector sees the table; without, one costs less.
func newBed(workers int, heap bool) (*bed, error) {
	table, err := conntrack.New(conntrack.Options{Bits: tableBits, Workers: workers, Heap: heap, Seed: 1})
	if err != nil {
		return nil, err
	}
	b := &bed{
		network: Recorded(), table: table, notices: make(chan dataplane.Notice, 64),
		clock: 10 * time.Second, rated: 10 * time.Second,
	}
	b.node, err = director.NewNode(director.NodeOptions{
		Table: table, Network: b.network, Addresses: b.network.Locals(),
	})
	if err != nil {
		return nil, errors.Join(err, table.Close())
	}
	if err := b.node.SetSetting("kernel_quirks", 1); err != nil {
		return nil, errors.Join(err, table.Close())
	}
	b.node.SetMarks([]dataplane.MarkRule{mark})
	gathering, drops := dataplane.NewReassembly(), new(dataplane.PacketDrops)
	for i := range workers {
		q := memqueue.New(poolFrames)
		w := dataplane.NewWorker(dataplane.Options{
			ID: i, Workers: workers, Queue: q, Table: table, Snapshots: b.node.Snapshots(), Notices: b.notices,
			Seed: uint64(i + 1), Gathering: gathering, Drops: drops, Destinations: maxIDs,
		})
		b.node.Serve(w)
		b.queues, b.workers = append(b.queues, q), append(b.workers, w)
	}
	return b, nil
}

func (b *bed) close() error { return b.table.Close() }

func (b *bed) now() conntrack.Tick { return dataplane.TickOf(b.clock) }

// heed does what workers asked for and reports whether there was anything.
func (b *bed) heed() (any bool) {
	for {
		select {
		case n := <-b.notices:
			if n.Kind == dataplane.NoticeNewHop {
				b.node.AddHop(n.Hop)
				any = true
			}
		default:
			return any
		}
	}
}

// inject plays one frame to the end and returns what came out.
func (b *bed) inject(f *Frame) ([]Frame, error) {
	port, ok := b.network.port(f.If)
	if !ok {
		return nil, errors.New("no interface " + f.If)
	}
	if !b.queues[dealt(f.Hex, len(b.queues))].Inject(port, f.Hex) {
		return nil, errors.New("the frame does not fit, or frames were lost before: the pool is empty")
	}
	if err := b.pump(); err != nil {
		return nil, err
	}
	var out []Frame
	for _, q := range b.queues {
		for _, s := range q.Take() {
			out = append(out, Frame{If: b.network.ports[s.Port].Name, Hex: s.Data})
		}
	}
	return out, nil
}

// dealt says which of n queues a frame arrives on: like RSS, but also packets of one session and
// fragments of one datagram arrive on several.
func dealt(frame []byte, n int) int {
	h := fnv.New32a()
	h.Write(frame)
	return int(h.Sum32()>>8) % n
}

// pump runs the workers until nothing moves any more.
func (b *bed) pump() error {
	for range pumpLimit {
		moved := 0
		for _, w := range b.workers {
			moved += w.RunOnce(b.now())
		}
		if !b.heed() && moved == 0 {
			return nil
		}
	}
	return errors.New("the workers do not come to rest")
}

// pass lets time pass: sessions expire and rates are estimated when they would be.
func (b *bed) pass(d time.Duration) {
	end := b.clock + d
	piece := max(tick, d/sleepSteps)
	for b.clock < end {
		next := min(b.clock+piece, end, b.rated+ratePeriod)
		crossed := dataplane.TickOf(next) != b.now()
		b.clock = next
		if crossed {
			for _, w := range b.workers {
				w.Sweep(b.now())
			}
		}
		if b.clock == b.rated+ratePeriod {
			b.rated = b.clock
			b.node.TickRates()
		}
	}
}

// reroute gives the director a changed network.
func (b *bed) reroute(n *Network) {
	b.network = n
	b.node.SetNetwork(n, true, false)
}
