package dataplane

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// TestPacketsAreDroppedAsTheKernelDoes replays what a kernel (6.1.176) did with SYNs, one after the
// other: F forwarded, - dropped. The counter goes on when the settings change.
func TestPacketsAreDroppedAsTheKernelDoes(t *testing.T) {
	var d PacketDrops
	for _, c := range []struct {
		mode, rate int
		want       string
	}{
		{3, 4, "-FFF-FFF-FFF-F"}, {3, 1, "FF------------"}, {3, 0, "FFFFFFFFFFFFFF"}, {2, 3, "FFFFFFFFFFFFFF"},
		{1, 3, "FFFFFFFFFFFFFF"}, {3, 3, "-FF-FF-FF-FF-F"}, {3, 3, "F-FF-FF-"}, {3, 3, "FF-FF-FF-FF-"},
		{0, 3, "FFFFFFFFFFFF"}, {3, 3, "FF-FF-FF-FF-"},
	} {
		var got strings.Builder
		for range c.want {
			got.WriteByte("F-"[btoi(d.Drop(c.mode, c.rate))])
		}
		if got.String() != c.want {
			t.Errorf("drop_packet %d, am_droprate %d: %s, want %s", c.mode, c.rate, &got, c.want)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestWorkersShareTheDropRate(t *testing.T) {
	const workers, packets, rate = 4, 5000, 10
	var d PacketDrops
	var dropped atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range packets {
				dropped.Add(int64(btoi(d.Drop(3, rate))))
			}
		})
	}
	wg.Wait()
	if n := dropped.Load(); n != workers*packets/rate {
		t.Errorf("%d of %d dropped, want one of %d", n, workers*packets, rate)
	}
}

// dropBed is a bed whose worker drops entries, with one destination.
func dropBed(t testing.TB, o bedOptions) (*bed, *entryDrops) {
	s := service(vip4, lvs.MethodNAT, "10.0.0.21:80")
	b := newBed(t, o, s)
	b.snapshots.Load().Settings.DropEntry = defenceAlways
	b.worker.begin(b.now)
	d := new(entryDrops)
	d.init(b.worker, 1)
	return b, d
}

// put makes the n-th session in a state; packets below 0: nobody counts.
func (b *bed) put(n int, s conntrack.State, packets int, f conntrack.Flags) *conntrack.Entry {
	spec := conntrack.Spec{
		Key: conntrack.Key{Addr: [4]uint64{uint64(n)<<8 | 10 | 0x640012c6<<32}, L4: 1000 | 80<<24 | 6<<32}, Dest: 1,
		Service: 1, State: s, Flags: f, Timeout: 900 * conntrack.TicksPerSecond,
	}
	if packets >= 0 {
		spec.Flags |= conntrack.FlagCounted
	}
	ref, result := b.worker.conns.Insert(&spec, b.now)
	if result != conntrack.Inserted {
		b.tb.Fatalf("session %d: %v", n, result)
	}
	e := b.table.Entry(ref)
	for range packets {
		e.CountPacket()
	}
	b.snapshots.Load().Dests[1].Load.Bind(s.Active())
	return e
}

func TestWhatLooksLikeAFloodIsDropped(t *testing.T) {
	const idle = dropMinAge
	for i, c := range []struct {
		state   conntrack.State
		packets int
		age     conntrack.Tick
		want    bool
	}{
		{conntrack.TCPSynRecv, -1, 0, true}, {conntrack.TCPSynAck, 1, 0, true},
		{conntrack.SCTPInit1, -1, 0, true}, {conntrack.SCTPInit, 2, 0, true},
		{conntrack.TCPEstablished, 1, idle, true}, {conntrack.TCPEstablished, 1, idle - 1, false},
		{conntrack.SCTPEstablished, 8, idle, true}, {conntrack.SCTPEstablished, 9, idle, false},
		{conntrack.UDPNormal, 3, idle, true}, {conntrack.UDPNormal, 3, 0, false},
		{conntrack.UDPNormal, -1, 2 * idle, false}, {conntrack.TCPEstablished, 0, idle, false},
		{conntrack.TCPEstablished, 100, idle, false}, {conntrack.TCPFinWait, 1, idle, false},
		{conntrack.TCPTimeWait, 1, idle, false}, {conntrack.TCPNone, 1, idle, false},
		{conntrack.SCTPClosed, 1, idle, false}, {conntrack.SCTPCookieWait, 1, idle, false},
	} {
		b, d := dropBed(t, bedOptions{})
		e := b.put(i, c.state, c.packets, 0)
		b.worker.begin(b.now + c.age)
		if got := d.Drops(0, e); got != c.want {
			t.Errorf("%v after %d packets, idle for %v: dropped %v", c.state, c.packets, c.age.Duration(), got)
		}
	}
}

func TestTheFewerPacketsTheSoonerASessionGoes(t *testing.T) {
	var d entryDrops
	for n := -1; n <= 12; n++ {
		dropped := 0
		for range 8 * 9 * 5 * 7 {
			dropped += btoi(d.unlucky(n))
		}
		want := 0
		if n >= 1 && n <= 8 {
			want = 8 * 9 * 5 * 7 / n
		}
		if dropped != want {
			t.Errorf("with %d packets %d dropped, want %d", n, dropped, want)
		}
	}
}

func TestTemplatesThatGotNobodyThroughAreDropped(t *testing.T) {
	b, d := dropBed(t, bedOptions{})
	for i, c := range []struct {
		state    conntrack.State
		sessions int
		want     bool
	}{
		{conntrack.TemplateNone, 0, true}, {conntrack.TemplateNone, 1, false}, {conntrack.TemplateAssured, 0, false},
	} {
		e := b.put(i, c.state, -1, conntrack.FlagTemplate)
		e.AddControlled(c.sessions)
		if got := d.Drops(0, e); got != c.want {
			t.Errorf("%v with %d sessions: dropped %v", c.state, c.sessions, got)
		}
		b.snapshots.Load().Services[1].Config.OnePacket = true
		if d.Drops(0, e) {
			t.Error("a template of one-packet scheduling is dropped")
		}
		b.snapshots.Load().Services[1].Config.OnePacket = false
	}
}

// sweepAll looks at the table often enough to come by every entry.
func (d *entryDrops) sweepAll() {
	for range 64 * d.w.conns.SampleChunks() {
		d.w.conns.Sample(d.random.Uint64(), d)
	}
}

func TestADroppedSessionTakesItsUnusedTemplateAlong(t *testing.T) {
	for _, assured := range []bool{false, true} {
		s := service(vip4, lvs.MethodNAT, "10.0.0.21:80")
		s.Persistence = 360e9
		b := newBed(t, bedOptions{}, s)
		b.one(0, seg{src: client4, dst: vip4, flags: packet.TCPSyn}.bytes(t), 1)
		load := b.snapshots.Load().Dests[1].Load
		if n := b.table.Stats().Conns; n != 2 || load.Active() != 1 || load.Persist() != 1 {
			t.Fatalf("%d conns, %d active, %d templates", n, load.Active(), load.Persist())
		}
		want := 0
		if assured {
			want = 1
			b.table.Walk(func(_ conntrack.Ref, e *conntrack.Entry, _ conntrack.Info) bool {
				e.SetState(conntrack.TemplateNone, conntrack.TemplateAssured)
				return true
			})
		}
		d := new(entryDrops)
		d.init(b.worker, 1)
		d.sweepAll()
		b.worker.conns.Quiesce()
		if n := b.table.Stats().Conns; n != want || load.Active() != 0 || int(load.Persist()) != want {
			t.Errorf("assured %v: %d conns left, %d active, %d templates", assured, n, load.Active(), load.Persist())
		}
	}
}

func TestAThirtySecondOfTheTableIsLookedAtEachSecond(t *testing.T) {
	for _, workers := range []int{1, 4} {
		b, d := dropBed(t, bedOptions{bits: 14, workers: workers})
		const sessions, seconds = 20_000, 16
		for i := range sessions {
			b.put(i, conntrack.TCPSynRecv, -1, 0)
		}
		d.run()
		for range seconds * conntrack.TicksPerSecond {
			b.now++
			b.worker.begin(b.now)
			for range 3 {
				d.run()
			}
			b.worker.conns.Quiesce()
		}
		// Of 314 chunks 157 looks hit 1-exp(-1/2) = 39 %, for four workers a quarter of the looks 12 %.
		low, high := sessions*34/100, sessions*45/100
		if workers == 4 {
			low, high = sessions*9/100, sessions*14/100
		}
		if n := sessions - b.table.Stats().Conns; n < low || n > high {
			t.Errorf("%d workers: %d of %d dropped, want %d to %d", workers, n, sessions, low, high)
		}
	}
}

func TestNothingIsDroppedInOtherModes(t *testing.T) {
	for mode := range defenceAlways {
		b, d := dropBed(t, bedOptions{})
		b.snapshots.Load().Settings.DropEntry = mode
		b.put(1, conntrack.TCPSynRecv, -1, 0)
		for range 10_000 {
			b.now++
			b.worker.begin(b.now)
			d.run()
		}
		b.worker.conns.Quiesce()
		if b.table.Stats().Conns != 1 {
			t.Errorf("drop_entry %d dropped a session", mode)
		}
	}
}

func TestSecureTCPActsInModeThree(t *testing.T) {
	b := newBed(t, bedOptions{})
	for mode, want := range []conntrack.State{
		conntrack.TCPEstablished, conntrack.TCPEstablished, conntrack.TCPEstablished, conntrack.TCPSynRecv,
	} {
		b.snapshots.Load().Settings.SecureTCP = mode
		b.worker.begin(b.now)
		if got := b.worker.nextTCP(conntrack.Input, conntrack.TCPSynRecv, packet.TCPAck); got != want {
			t.Errorf("secure_tcp %d: an ACK of the client leads to %v, want %v", mode, got, want)
		}
	}
}

func TestTheDefenceCostsNoAllocation(t *testing.T) {
	b, d := dropBed(t, bedOptions{bits: 12})
	for i := range 500 {
		b.put(i, conntrack.UDPNormal, 3, 0)
	}
	var drops PacketDrops
	step := func() {
		drops.Drop(3, 2)
		b.now += conntrack.TicksPerSecond
		b.worker.begin(b.now)
		d.run()
		b.worker.conns.Quiesce()
	}
	testutil.AllocFree(t, step)
	for range 200 { // with the race detector there was one step
		step()
	}
	if b.table.Stats().Conns == 500 {
		t.Error("nothing was dropped")
	}
}
