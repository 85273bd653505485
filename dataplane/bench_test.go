package dataplane

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/lvs"
	"ulvs/packet"
	"ulvs/sched"
)

// benchFrames is how many frames the generator cycles through, 2 KiB apart like a UMEM's.
const benchFrames = 1024

// genQueue is a Queue that makes 64-byte TCP frames of random flows as fast as it can: a
// template copied, the client's address and port set, the header checksum adjusted. Its
// cost is part of the figures; BenchmarkGenerator tells how much that is.
type genQueue struct {
	frames    [benchFrames]packet.Frame
	next      int
	random    uint64
	flows     uint64 // frames are of flows drawn from [0,flows)
	fresh     uint64 // if not 0: the next flow to start, a SYN each, and no random ones
	reply     bool   // every other frame is the real server's answer
	templates [3][64]byte
	sums      [3]uint32 // complement of the header checksum, for a client of 0.0.0.0
	sent      int
}

// The templates: a request, a reply, a SYN.
const (
	sideRequest = iota
	sideReply
	sideSyn
)

var (
	benchVIP  = netip.MustParseAddrPort("198.18.0.100:80")
	benchReal = netip.MustParseAddrPort("10.0.0.21:80")
)

func newGenQueue(tb testing.TB, flows int) *genQueue {
	q := &genQueue{random: 88172645463325252, flows: uint64(flows)}
	memory := make([]byte, benchFrames*2048)
	for i := range q.frames {
		q.frames[i] = packet.Frame{Buf: memory[i*2048 : (i+1)*2048 : (i+1)*2048], Off: 256, Len: 64}
	}
	for side, s := range []seg{
		{src: "0.0.0.0:1", dst: benchVIP.String(), flags: packet.TCPAck, payload: 10},
		{src: benchReal.String(), dst: "0.0.0.0:1", flags: packet.TCPAck, payload: 10, dstMAC: portMACs[1]},
		{src: "0.0.0.0:1", dst: benchVIP.String(), flags: packet.TCPSyn, payload: 10},
	} {
		q.templates[side] = [64]byte(s.bytes(tb))
		q.sums[side] = uint32(^binary.BigEndian.Uint16(q.templates[side][24:]))
	}
	return q
}

// benchClient spreads flows over addresses and ports: 64 ports to an address.
func benchClient(flow uint64) (addr uint32, port uint16) {
	return uint32(flow>>6) + 0x0b00_0000, uint16(flow&63) + 1024
}

func (q *genQueue) Recv(frames []packet.Frame) int {
	side := sideRequest
	if q.fresh != 0 {
		side = sideSyn
	}
	for i := range frames {
		if q.reply {
			side = i & 1
		}
		f := &frames[i]
		*f = q.frames[q.next%benchFrames]
		q.next++
		f.Port = uint8(side & 1)
		q.fill((*[64]byte)(f.Buf[256:]), side)
	}
	return len(frames)
}

func (q *genQueue) fill(b *[64]byte, side int) {
	*b = q.templates[side]
	addr, port := benchClient(q.flow())
	sum := q.sums[side] + addr>>16 + addr&0xffff
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum>>16+sum))
	if side == sideReply {
		binary.BigEndian.PutUint32(b[30:], addr)
		binary.BigEndian.PutUint16(b[36:], port)
		return
	}
	binary.BigEndian.PutUint32(b[26:], addr)
	binary.BigEndian.PutUint16(b[34:], port)
}

func (q *genQueue) flow() uint64 {
	if q.fresh != 0 {
		q.fresh++
		return q.fresh
	}
	q.random ^= q.random << 13
	q.random ^= q.random >> 7
	q.random ^= q.random << 17
	hi, _ := mul64(q.random, q.flows)
	return hi
}

func mul64(a, b uint64) (hi, lo uint64) { // a*b/2^64 for b < 2^32
	return (a >> 32 * b) >> 32, 0
}

func (q *genQueue) Send(frames []packet.Frame) int   { q.sent += len(frames); return len(frames) }
func (q *genQueue) Release([]packet.Frame)           {}
func (q *genQueue) Alloc([]packet.Frame) int         { return 0 }
func (q *genQueue) Wait(timeout time.Duration) error { return nil }

// newBenchBed makes a worker over a generator with flows sessions in its table.
func newBenchBed(b *testing.B, method lvs.Method, flows int) (*Worker, *genQueue) {
	b.Helper()
	return newBenchBedWith(b, method, flows, nil)
}

func newBenchBedWith(b *testing.B, method lvs.Method, flows int, log *conntrack.Log) (*Worker, *genQueue) {
	b.Helper()
	bits := uint8(10)
	for 1<<bits < flows {
		bits++
	}
	table, err := conntrack.New(conntrack.Options{Bits: bits, Workers: 1, HugePages: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { table.Close() })
	world := &bed{
		tb: b, table: table, mtu: 1500, sched: map[lvs.ServiceKey]*sched.Scheduler{}, hops: make([]Hop, 1),
		hopIDs: map[HopKey]HopID{},
	}
	world.apply(service(benchVIP.String(), method, benchReal.String()))
	snap := world.snapshots.Load()
	snap.RouteEpoch = 1
	q := newGenQueue(b, flows)
	q.reply = method == lvs.MethodNAT
	var source atomic.Pointer[Snapshot]
	source.Store(snap)
	w := NewWorker(Options{Queue: q, Table: table, Snapshots: &source, Seed: 1, Log: log})
	w.begin(1)
	fillTable(b, w, flows)
	return w, q
}

func fillTable(b *testing.B, w *Worker, flows int) {
	b.Helper()
	svc := &w.snap.Services[1]
	hop := w.snap.HopIDs[HopKey{Port: 0, Addr: netip.MustParseAddr("192.0.2.254")}]
	for flow := range uint64(flows) {
		ref, result := w.insert(benchParsed(flow), newSession{svc, &w.snap.Dests[1], 1, 0})
		if result != conntrack.Inserted {
			b.Fatalf("flow %d: result %d", flow, result)
		}
		e := w.table.Entry(ref)
		e.SetState(e.State(), conntrack.TCPEstablished)
		e.Touch(w.now, w.snap.Timeouts.Of(conntrack.TCPEstablished))
		e.SetAux(uint32(hop) | 1<<hopBits)
		if flow%4096 == 0 {
			w.conns.Quiesce()
		}
	}
	w.stats.publish(w.snap)
}

func benchParsed(flow uint64) *packet.Parsed {
	addr, port := benchClient(flow)
	p := &packet.Parsed{Kind: packet.KindFlow, Proto: packet.ProtoTCP, TCPFlags: packet.TCPSyn}
	var src [4]byte
	binary.BigEndian.PutUint32(src[:], addr)
	p.Addr[0] = uint64(binary.LittleEndian.Uint32(src[:])) | uint64(packet.WireV4(benchVIP.Addr()))<<32
	p.L4 = uint64(packet.WirePort(port)) | uint64(packet.WirePort(benchVIP.Port()))<<16 | packet.ProtoTCP<<32
	return p
}

var benchSizes = []int{1, 64 << 10, 1 << 20, 10 << 20}

// BenchmarkWorker is the whole pipeline, parse to verdict, in batches of 64. An op is a
// packet. NAT is half requests and half replies.
func BenchmarkWorker(b *testing.B) {
	for _, method := range []lvs.Method{lvs.MethodDR, lvs.MethodNAT, lvs.MethodTUN} {
		b.Run(method.String(), func(b *testing.B) {
			for _, flows := range benchSizes {
				if flows > 1<<20 && testing.Short() {
					continue
				}
				b.Run(fmt.Sprintf("conns=%d", flows), func(b *testing.B) { benchWorker(b, method, flows) })
			}
		})
	}
}

func benchWorker(b *testing.B, method lvs.Method, flows int) {
	w, q := newBenchBed(b, method, flows)
	b.Run("hit", func(b *testing.B) { benchHits(b, w, q) })
	b.Run("new", func(b *testing.B) { benchNew(b, w, q) })
}

func benchHits(b *testing.B, w *Worker, q *genQueue) {
	before := w.Stats().Received() - q.forwarded(w)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += BatchSize {
		w.RunOnce(1)
	}
	b.StopTimer()
	if lost := w.Stats().Received() - q.forwarded(w) - before; lost != 0 {
		b.Fatalf("%d frames were not forwarded", lost)
	}
}

func (q *genQueue) forwarded(w *Worker) (n uint64) {
	for _, v := range []Verdict{TxDR, TxNAT, TxNATReply, TxTUN} {
		n += w.Stats().Verdict(v)
	}
	return n
}

// benchNew starts a session with every frame. What it adds is removed off the clock.
func benchNew(b *testing.B, w *Worker, q *genQueue) {
	const most = 256 << 10
	first := uint64(1 << 30)
	reply := q.reply
	q.reply, q.fresh = false, first
	conns := w.Stats().Dest(1).Conns
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += BatchSize {
		w.RunOnce(1)
		if q.fresh-first >= most {
			b.StopTimer()
			dropFresh(w, first, q.fresh)
			q.fresh = first
			b.StartTimer()
		}
	}
	b.StopTimer()
	if got := w.Stats().Dest(1).Conns - conns; got < uint64(b.N) {
		b.Fatalf("%d sessions were started, want %d", got, b.N)
	}
	dropFresh(w, first, q.fresh)
	q.reply, q.fresh = reply, 0
}

func dropFresh(w *Worker, first, last uint64) {
	for flow := first + 1; flow <= last; flow++ {
		key := flowKey(benchParsed(flow))
		ref := w.conns.FindKey(&key)
		w.expire(ref, w.table.Entry(ref))
		if flow%64 == 0 {
			w.conns.Quiesce()
		}
	}
	for range 8 {
		w.conns.Quiesce()
	}
}

// BenchmarkWorkerLog is what peers cost a worker: DR sessions that all reach ESTABLISHED with their
// second packet, without and with a log that somebody empties.
func BenchmarkWorkerLog(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("log=%v", on), func(b *testing.B) {
			var log *conntrack.Log
			if on {
				log = conntrack.NewLog(conntrack.LogOptions{})
			}
			w, q := newBenchBedWith(b, lvs.MethodDR, 1, log)
			b.Run("new", func(b *testing.B) { benchEstablished(b, w, q, log) })
		})
	}
}

// benchEstablished starts sessions whose first packet is UDP-like for the log: told at once. An op is a packet.
func benchEstablished(b *testing.B, w *Worker, q *genQueue, log *conntrack.Log) {
	const most = 128 << 10
	first := uint64(1 << 30)
	q.fresh = first
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += 2 * BatchSize {
		at := q.fresh
		w.RunOnce(1)
		q.fresh = at
		q.templates[sideSyn][47] = packet.TCPAck
		w.RunOnce(1)
		q.templates[sideSyn][47] = packet.TCPSyn
		if log != nil {
			log.Release(len(log.Read(4 * BatchSize)))
		}
		if q.fresh-first >= most {
			b.StopTimer()
			dropFresh(w, first, q.fresh)
			if log != nil {
				log.Flush()
				for n := 1; n > 0; log.Release(n) {
					n = len(log.Read(1 << 20))
				}
			}
			q.fresh = first
			b.StartTimer()
		}
	}
	b.StopTimer()
	dropFresh(w, first, q.fresh)
	q.fresh = 0
}

// BenchmarkGenerator is what the frames themselves cost.
func BenchmarkGenerator(b *testing.B) {
	q := newGenQueue(b, 1<<20)
	var frames [BatchSize]packet.Frame
	b.ReportAllocs()
	for n := 0; n < b.N; n += BatchSize {
		q.Recv(frames[:])
	}
}
