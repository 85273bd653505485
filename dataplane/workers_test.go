package dataplane

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// deal puts each frame into the queue of a worker drawn at random, or of all of them.
type dealer struct {
	beds []*bed
	rng  *rand.Rand
}

func (d *dealer) deal(tb testing.TB, port uint8, frame []byte, to int) {
	tb.Helper()
	if !d.beds[to%len(d.beds)].queue.Inject(port, forPort(port, frame)) {
		tb.Fatal("the frame pool is empty")
	}
}

// run lets all workers work until none has anything left, and takes what they sent.
func (d *dealer) run(now conntrack.Tick) {
	var all sync.WaitGroup
	for _, b := range d.beds {
		b.now = now
		all.Go(func() {
			for b.worker.RunOnce(b.now) > 0 {
			}
		})
	}
	all.Wait()
}

func (d *dealer) take() (n int) {
	for _, b := range d.beds {
		n += len(b.queue.Take())
	}
	return n
}

func (d *dealer) verdict(v Verdict) (n uint64) {
	for _, b := range d.beds {
		n += b.worker.Stats().Verdict(v)
	}
	return n
}

func newDealer(t *testing.T, services ...lvs.Service) *dealer {
	first := newBed(t, bedOptions{heap: true, workers: 2, frames: 1024, bits: 8}, services...)
	d := &dealer{beds: []*bed{first, first.peer(1, 2)}, rng: testutil.Rand(t)}
	return d
}

// TestTwoWorkersOverOneTable deals frames at random while snapshots change and the table is
// listed: a session's packets reach either worker, its replies the other one.
func TestTwoWorkersOverOneTable(t *testing.T) {
	dr := service("198.18.0.102:80", lvs.MethodDR, "10.0.0.23:80", "10.0.0.24:80")
	d := newDealer(t, service(vip4, lvs.MethodNAT, "10.0.0.21:80"), dr,
		service(vip6, lvs.MethodNAT, "[fd00::21]:80"))
	first := d.beds[0]
	stop := make(chan struct{})
	var edits sync.WaitGroup
	edits.Go(func() { editAndList(first, stop) })
	const flows, rounds = 60, 12
	sent := uint64(0)
	for round := range rounds {
		now := first.now + 2
		for i := range flows {
			to := d.rng.IntN(2)
			for _, f := range clientFrames(t, round, i, packet.TCPSyn) {
				d.deal(t, 0, f, to)
				d.deal(t, 0, f, d.rng.IntN(2)) // again, perhaps to the other at the same time
				sent += 2
			}
		}
		d.run(now)
		for i := range flows {
			for _, f := range replyFrames(t, round, i) {
				d.deal(t, 1, f, d.rng.IntN(2))
				sent++
			}
			for _, f := range clientFrames(t, round, i, packet.TCPAck) {
				d.deal(t, 0, f, d.rng.IntN(2))
				sent++
			}
		}
		d.run(now)
		if n := d.take(); n != flows*(3*3+2) {
			t.Fatalf("round %d: %d frames came out, want %d", round, n, flows*(3*3+2))
		}
	}
	close(stop)
	edits.Wait()
	d.wantTotals(t, rounds*flows, sent)
	for _, b := range d.beds {
		b.worker.Sweep(first.now + 24*3600*conntrack.TicksPerSecond)
	}
	if n := first.table.Stats().Conns; n != 0 {
		t.Errorf("%d sessions outlive a day", n)
	}
	for id := lvs.DestID(1); id <= 4; id++ {
		first.wantLoad("after a day", id, [3]int32{})
	}
}

func (d *dealer) wantTotals(t *testing.T, flows int, sent uint64) {
	t.Helper()
	first := d.beds[0]
	var got DestStats
	var received uint64
	load := int32(0)
	for _, b := range d.beds {
		b.check()
		received += b.worker.Stats().Received()
		for id := lvs.DestID(1); id <= 4; id++ {
			got.Add(b.worker.Stats().Dest(id))
		}
	}
	for id := lvs.DestID(1); id <= 4; id++ {
		load += first.load(id)[0] + first.load(id)[1]
	}
	if received != sent || got.Conns != uint64(3*flows) || got.InPackets != uint64(9*flows) ||
		got.OutPackets != uint64(2*flows) || load != int32(3*flows) {
		t.Errorf("%d received of %d; %+v; %d sessions counted in real servers", received, sent, got, load)
	}
	if nat, reply := d.verdict(TxNAT), d.verdict(TxNATReply); nat != uint64(6*flows) || reply != uint64(2*flows) {
		t.Errorf("%d forwarded by NAT, %d replies", nat, reply)
	}
}

// editAndList changes weights and lists sessions until stop.
func editAndList(b *bed, stop <-chan struct{}) {
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		services := []lvs.Service{}
		for _, s := range b.services.Services {
			if s != nil {
				c := *s
				c.Destinations = append([]lvs.Destination(nil), s.Destinations...)
				for i := range c.Destinations {
					c.Destinations[i].Weight = int32(1 + (n+i)%3)
				}
				services = append(services, c)
			}
		}
		b.apply(services...)
		b.table.Walk(func(conntrack.Ref, *conntrack.Entry, conntrack.Info) bool { return true })
		_ = b.worker.Stats().Received()
	}
}

// clientFrames are packets of flow i in three services.
func clientFrames(tb testing.TB, round, i int, flags uint8) [][]byte {
	from4 := fmt.Sprintf("192.0.2.%d:%d", 1+i%100, 20000+100*round+i/100)
	from6 := fmt.Sprintf("[2001:db8::%x]:%d", 1+i, 20000+round)
	return [][]byte{
		seg{src: from4, dst: vip4, flags: flags}.bytes(tb),
		seg{src: from4, dst: "198.18.0.102:80", flags: flags}.bytes(tb),
		seg{src: from6, dst: vip6, flags: flags}.bytes(tb),
	}
}

func replyFrames(tb testing.TB, round, i int) [][]byte {
	flags := uint8(packet.TCPSyn | packet.TCPAck)
	from4 := fmt.Sprintf("192.0.2.%d:%d", 1+i%100, 20000+100*round+i/100)
	from6 := fmt.Sprintf("[2001:db8::%x]:%d", 1+i, 20000+round)
	return [][]byte{
		seg{src: "10.0.0.21:80", dst: from4, flags: flags}.bytes(tb),
		seg{src: "[fd00::21]:80", dst: from6, flags: flags}.bytes(tb),
	}
}

// TestTwoWorkersSweepTogetherAndOnlyOnce lets sessions end by themselves, in the pieces that
// each batch pays for.
func TestTwoWorkersSweepTogetherAndOnlyOnce(t *testing.T) {
	d := newDealer(t, service(vip4, lvs.MethodNAT, "10.0.0.21:80"))
	first := d.beds[0]
	for i := range 300 {
		src := fmt.Sprintf("192.0.2.%d:%d", 1+i%200, 30000+i)
		d.deal(t, 0, seg{src: src, dst: vip4, flags: packet.TCPSyn}.bytes(t), i)
	}
	d.run(first.now)
	first.wantLoad("after the SYNs", 1, [3]int32{300, 0, 0})
	end := first.now + 61*conntrack.TicksPerSecond
	for now := end; now < end+3*sweepPeriod; now++ {
		d.run(now)
	}
	first.wantLoad("a minute later", 1, [3]int32{})
	if n := first.table.Stats().Conns; n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestASweepTakesTwoSecondsAndMoreOfALargeTable(t *testing.T) {
	for _, c := range []struct{ span, ticks, want int }{
		{0, 1, 0},
		{1 << 20, sweepPeriod, 1 << 20},
		{5 << 20, sweepPeriod, 5 << 20},
		{10 << 20, sweepPeriod, 5 << 20},
		{10 << 20, 2 * sweepPeriod, 10 << 20},
		{100 << 20, 1, sweepRate / conntrack.TicksPerSecond},
	} {
		if got := sweepDue(c.span, c.ticks); got != c.want {
			t.Errorf("%d of %d entries are due in %d ticks, want %d", got, c.span, c.ticks, c.want)
		}
	}
}
