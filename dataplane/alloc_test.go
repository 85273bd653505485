package dataplane

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// loopQueue hands out the same frames again and again, and keeps nothing: unlike
// memqueue it allocates nothing.
type loopQueue struct {
	templates [][]byte
	ports     []uint8
	frames    [BatchSize]packet.Frame
	fresh     bool // every IPv4 frame gets a client of its own
	next      uint32
	sent      int
	left      int // batches to hand out
}

func newLoopQueue(frames map[uint8][][]byte) *loopQueue {
	q := &loopQueue{}
	for port := range uint8(2) {
		for _, f := range frames[port] {
			q.templates, q.ports = append(q.templates, f), append(q.ports, port)
		}
	}
	for i := range q.frames {
		q.frames[i] = packet.Frame{Buf: make([]byte, 4096), Addr: uint64(i)}
	}
	return q
}

func (q *loopQueue) Recv(out []packet.Frame) int {
	if q.left == 0 {
		return 0
	}
	q.left--
	for i := range out {
		t := i % len(q.templates)
		f := q.frames[i]
		f.Off, f.Port = 256, q.ports[t]
		f.Len = uint16(copy(f.Buf[256:], q.templates[t]))
		if q.fresh {
			q.next++
			binary.BigEndian.PutUint16(f.Buf[256+34:], uint16(q.next%60000+1000))
		}
		out[i] = f
	}
	return len(out)
}

func (q *loopQueue) Send(frames []packet.Frame) int { q.sent += len(frames); return len(frames) }
func (q *loopQueue) Release([]packet.Frame)         {}
func (q *loopQueue) Wait(time.Duration) error       { return nil }
func (q *loopQueue) Alloc(frames []packet.Frame) int {
	for i := range frames {
		frames[i] = packet.Frame{Buf: q.frames[0].Buf, Off: 256}
	}
	return len(frames)
}

// allocFree proves that handling frames, by port, costs no allocation, and that they end with v.
func (b *bed) allocFree(frames map[uint8][][]byte, fresh bool, v Verdict) {
	b.tb.Helper()
	q := newLoopQueue(frames)
	q.fresh = fresh
	b.worker.queue = q
	before := b.worker.stats.verdicts[v]
	testutil.AllocFree(b.tb, func() {
		q.left = 1
		b.now++ // the sweep works, too, and answers are not at their limit
		b.worker.RunOnce(b.now)
	})
	if n := b.worker.stats.verdicts[v] - before; n < BatchSize || n%BatchSize != 0 {
		b.tb.Errorf("%d frames ended with %s: %v", n, v, b.counted())
	}
}

func TestNoFrameCostsAnAllocation(t *testing.T) {
	for _, c := range []struct {
		name, client, vip, real string
		method                  lvs.Method
	}{
		{"DR", client4, vip4, "10.0.0.21:80", lvs.MethodDR}, {"NAT", client4, vip4, "10.0.0.21:8080", lvs.MethodNAT},
		{"TUN", client4, vip4, "10.0.0.21:80", lvs.MethodTUN}, {"DR6", client6, vip6, "[fd00::21]:80", lvs.MethodDR},
		{"NAT6", client6, vip6, "[fd00::21]:8080", lvs.MethodNAT}, {"TUN6", client6, vip6, "[fd00::21]:80", lvs.MethodTUN},
	} {
		syn := seg{src: c.client, dst: c.vip, flags: packet.TCPSyn, payload: 12}
		ack := syn
		ack.flags = packet.TCPAck
		t.Run("hit/"+c.name, func(t *testing.T) {
			b := newBed(t, bedOptions{bits: 12}, service(c.vip, c.method, c.real))
			b.one(0, syn.bytes(t), 1)
			b.allocFree(map[uint8][][]byte{0: {ack.bytes(t)}}, false, forwards[c.method])
		})
		t.Run("new/"+c.name, func(t *testing.T) {
			if c.client == client6 {
				return // the queue makes new clients for IPv4 only
			}
			for _, sticky := range []time.Duration{0, time.Minute} {
				s := service(c.vip, c.method, c.real)
				s.Persistence = sticky
				b := newBed(t, bedOptions{bits: 14}, s)
				b.allocFree(map[uint8][][]byte{0: {syn.bytes(t)}}, true, forwards[c.method])
				if n := b.worker.stats.pubDests[1].read().Conns; n < BatchSize {
					t.Errorf("%d sessions were started", n)
				}
			}
		})
		if c.method == lvs.MethodNAT {
			t.Run("reply/"+c.name, func(t *testing.T) {
				b := newBed(t, bedOptions{bits: 12}, service(c.vip, c.method, c.real))
				b.one(0, syn.bytes(t), 1)
				reply := forPort(1, seg{src: c.real, dst: c.client, flags: packet.TCPSyn | packet.TCPAck}.bytes(t))
				b.allocFree(map[uint8][][]byte{1: {reply}}, false, TxNATReply)
			})
		}
	}
}

func TestNoOwnAnswerCostsAnAllocation(t *testing.T) {
	closed := seg{src: client4, dst: "198.18.0.100:81", flags: packet.TCPSyn}
	unreachable := closed
	unreachable.proto = packet.ProtoUDP
	for _, c := range []struct {
		frame []byte
		want  Verdict
	}{
		{closed.bytes(t), TxReset}, {unreachable.bytes(t), TxICMPError}, {echo(t, "192.0.2.1", "198.18.0.100", 8), TxEcho},
		{arpFrame(1, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, 100}), TxARP},
		{solicit(t, "2001:db8::99", "2001:db8:c::100"), TxND},
		{arpFrame(1, [4]byte{192, 0, 2, 254}, [4]byte{198, 18, 0, 99}), DropARP},
	} {
		t.Run(c.want.String(), func(t *testing.T) {
			hostileBed(t, 1).allocFree(map[uint8][][]byte{0: {c.frame}}, false, c.want)
		})
	}
}

func TestNoHostileFrameCostsAnAllocation(t *testing.T) {
	for i, h := range allHostile(t) {
		if len(h.frame) == 0 {
			continue
		}
		t.Run(fmt.Sprintf("%d/%s", i, h.why), func(t *testing.T) {
			hostileBed(t, 1).allocFree(map[uint8][][]byte{0: {h.frame}, 1: {h.frame}}, false, ParseVerdict(h.why))
		})
	}
}

func TestCuttingAPacketCostsNoAllocation(t *testing.T) {
	b := newBed(t, bedOptions{bits: 12, mtu: 600}, service(vip4, lvs.MethodDR, "10.0.0.21:80"))
	big := seg{src: client4, dst: vip4, flags: packet.TCPSyn, payload: 1200}
	b.allocFree(map[uint8][][]byte{0: {big.bytes(t)}}, false, TxDR)
}
