package dataplane

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ulvs/conntrack"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// explainBed has services of all kinds, some without a way, some without anybody.
func explainBed(t *testing.T) *bed {
	t.Helper()
	sticky := service("198.18.0.101:80", lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80", "10.0.0.23:80")
	sticky.Persistence, sticky.Scheduler = time.Minute, "wrr"
	empty := service("198.18.0.102:80", lvs.MethodDR)
	quiet := service("198.18.0.103:80", lvs.MethodDR, "10.0.0.21:80")
	quiet.Destinations[0].Weight = 0
	hashed := service(vip6, lvs.MethodTUN, "[fd00::21]:80", "[fd00::22]:80")
	hashed.Scheduler = "sh"
	counted := service("198.18.0.104:80", lvs.MethodNAT, "10.0.0.21:8080", "10.0.0.22:8080", "10.0.0.24:8080")
	counted.Scheduler = "wlc"
	b := newBed(t, bedOptions{bits: 12, heap: true, frames: 4096},
		service(vip4, lvs.MethodDR, "10.0.0.21:80", "10.0.0.22:80"), sticky, empty, quiet, hashed, counted,
		serviceOf(lvs.ProtoUDP, "198.18.0.100:53", lvs.MethodTUN, "10.0.0.21:53", "10.0.0.23:53"),
	)
	unresolved, unreachable := b.hopOf("10.0.0.23"), b.hopOf("10.0.0.24")
	b.edited(func(s *Snapshot) {
		s.Hops[unresolved].State, s.Hops[unreachable].State = HopUnresolved, HopUnreachable
		s.Marks = []MarkRule{{Mark: 7, Proto: lvs.ProtoTCP, DstPorts: [2]uint16{99, 99}}}
	})
	return b
}

func (b *bed) explain(port uint8, frame []byte) Explanation {
	data := forPort(port, frame)
	return NewExplainer(b.snapshots.Load(), b.table, b.now).Explain(&packet.Frame{
		Buf: data, Len: uint16(len(data)), Port: port,
	})
}

// flows draws a packet: of clients to VIPs, of real servers to clients, and others.
func randomFlow(t *testing.T, rnd interface{ IntN(int) int }) (port uint8, frame []byte) {
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	client := fmt.Sprintf("192.0.2.%d:%d", 1+rnd.IntN(4), 1024+rnd.IntN(6))
	s := seg{src: client, flags: []uint8{packet.TCPSyn, packet.TCPSyn, packet.TCPAck, packet.TCPFin | packet.TCPAck,
		packet.TCPRst}[rnd.IntN(5)]}
	switch rnd.IntN(6) {
	case 0:
		s.src, s.dst = pick("10.0.0.21:8080", "10.0.0.22:8080", "10.0.0.21:80", "10.0.0.10:80"), client
		return 1, forPort(1, s.bytes(t))
	case 1:
		s.src = fmt.Sprintf("[2001:db8::%d]:%d", 1+rnd.IntN(4), 1024+rnd.IntN(6))
		s.dst = pick(vip6, "[2001:db8:c::100]:81")
	case 2:
		s.proto, s.dst = packet.ProtoUDP, pick("198.18.0.100:53", "198.18.0.100:54", "203.0.113.1:53")
	case 3:
		s.dst = pick("198.18.0.100:81", "198.18.0.101:99", "203.0.113.9:80", "10.0.0.21:80")
	default:
		s.dst = pick(vip4, "198.18.0.101:80", "198.18.0.102:80", "198.18.0.103:80", "198.18.0.104:80")
	}
	return 0, s.bytes(t)
}

// What an Explainer says is what the pipeline then does, packet by packet: the verdict and the real server.
func TestAnExplanationIsWhatThePipelineThenDoes(t *testing.T) {
	rnd := testutil.Rand(t)
	b := explainBed(t)
	seen, unsure := map[Verdict]int{}, 0
	all := func() (missing []Verdict) {
		for _, v := range []Verdict{
			TxDR, TxNAT, TxNATReply, TxTUN, TxRouted, TxReset, TxICMPError, DropNoRoute, DropOwnSource, hold,
		} {
			if seen[v] == 0 {
				missing = append(missing, v)
			}
		}
		return missing
	}
	for i := 0; i < 6000 || i < 60_000 && len(all()) > 0; i++ { // replies of NAT's real servers are rare
		port, frame := randomFlow(t, rnd)
		if rnd.IntN(20) == 0 {
			b.now += conntrack.Tick(rnd.IntN(100)) * conntrack.TicksPerSecond
			b.worker.Sweep(b.now)
		}
		b.now++   // answers of our own are not at their limit
		b.send(0) // frames that waited too long end before
		before, held := b.counted(), b.worker.nHeld
		dests := b.perDestPackets()
		table := b.table.Stats()
		want := b.explain(port, frame)
		if again := b.explain(port, frame); fmt.Sprint(again) != fmt.Sprint(want) || b.table.Stats() != table {
			t.Fatalf("%d: asked twice it says %v and %v", i, want, again)
		}
		b.send(port, frame)
		seen[want.Verdict]++
		if want.Sure {
			b.wantVerdict(i, want, before, held)
			b.wantServer(i, want, dests)
		} else { // no lots here: a session ended first
			unsure++
		}
		if b.worker.nHeld > 40 {
			b.now += 2 * holdTicks
			b.send(0)
		}
	}
	if missing := all(); len(missing) > 0 {
		t.Errorf("no flow ended with %s: %v", missing, seen)
	}
	if unsure > 6000 {
		t.Errorf("%d explanations were unsure", unsure)
	}
}

// wantVerdict fails unless one frame ended as was said since before.
func (b *bed) wantVerdict(i int, want Explanation, before map[string]uint64, held int) {
	b.tb.Helper()
	after := b.counted()
	if want.Held() {
		if b.worker.nHeld != held+1 {
			b.tb.Fatalf("%d: not held, but %v after %v; said %q", i, after, before, want.Steps)
		}
		return
	}
	name := want.Verdict.String()
	if after[name] != before[name]+1 {
		b.tb.Fatalf("%d: not %s, but %v after %v; said %q", i, name, after, before, want.Steps)
	}
}

// wantServer fails unless the real server that was named got the frame.
func (b *bed) wantServer(i int, want Explanation, dests map[uint32]uint64) {
	b.tb.Helper()
	d := uint32(want.Dest)
	if d != 0 && (want.Verdict == TxDR || want.Verdict == TxNAT || want.Verdict == TxTUN) &&
		b.perDestPackets()[d] != dests[d]+1 {
		b.tb.Fatalf("%d: real server %d got nothing: %q", i, d, want.Steps)
	}
}

func (b *bed) perDestPackets() map[uint32]uint64 {
	out := map[uint32]uint64{}
	for id, d := range b.services.Destinations {
		if d != nil {
			out[uint32(id)] = b.worker.Stats().Dest(lvs.DestID(id)).InPackets
		}
	}
	return out
}

func TestAnExplanationSaysWhy(t *testing.T) {
	b := explainBed(t)
	for _, c := range []struct {
		src, dst string
		want     []string
	}{
		{client4, vip4, []string{"it belongs to no session", "service", "scheduler rr picks 10.0.0.22:80", "method dr",
			"next hop 10.0.0.22 on s0, 02:00:00:00:02:16"}},
		{client4, "198.18.0.101:80", []string{"the client has no template yet", "scheduler wrr picks"}},
		{client4, "198.18.0.102:80", []string{"picks nobody", "port unreachable"}},
		{client4, "198.18.0.101:99", []string{"the mark 7", "no service has it", "a closed port of a VIP", "it is reset"}},
		{"10.0.0.21:80", "192.0.2.1:1000", []string{"is no VIP", "next hop 192.0.2.254 on c0"}},
	} {
		s := seg{src: c.src, dst: c.dst, flags: packet.TCPSyn}
		got := strings.Join(b.explain(0, s.bytes(t)).Steps, "\n")
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s > %s:\n%s\nwant %q in it", c.src, c.dst, got, want)
			}
		}
	}
	b.send(0, seg{src: "192.0.2.9:1", dst: "198.18.0.104:80", flags: packet.TCPSyn}.bytes(t)) // to the one without a way
	b.one(0, seg{src: client4, dst: "198.18.0.104:80", flags: packet.TCPSyn}.bytes(t), 1)
	got := b.explain(1, seg{src: "10.0.0.22:8080", dst: client4, flags: packet.TCPAck}.bytes(t))
	if !got.Reply || got.Verdict != TxNATReply || !strings.Contains(got.Steps[0], "it is the reply of session") {
		t.Errorf("a reply: %+v", got)
	}
	echoFrame := echo(t, "192.0.2.1", "198.18.0.100", 8)
	if got := b.explain(0, echoFrame); got.Verdict != TxEcho {
		t.Errorf("an echo request: %+v", got)
	}
}
