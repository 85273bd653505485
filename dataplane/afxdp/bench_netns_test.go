package afxdp

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"ulvs/packet"
)

func TestAWholeRoundOnRealSocketsAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	enterNamespace(t)
	in, out := newWire(t, "a", 1), newWire(t, "b", 1)
	q := backends()[0].openOn(t, attachAll(t, in, out), Options{}, in, out)
	frame := in.udpFrame(testVIP, 1, 2, "no garbage")
	frames := make([]packet.Frame, 64)
	allocs := testing.AllocsPerRun(200, func() {
		in.inject(t, frame)
		n := 0
		for n == 0 {
			_ = q.Wait(time.Millisecond)
			n = q.Recv(frames)
		}
		for i := range frames[:n] {
			frames[i].Port = 1
		}
		q.Send(frames[:n])
		q.Release(frames[:q.Alloc(frames[:4])])
	})
	if allocs != 0 {
		t.Errorf("%v allocations per round", allocs)
	}
	settle(t, q)
}

// BenchmarkForward sends frames from one port to another through veths in copy
// mode, injected by packet sockets on the same CPUs: a relative figure.
func BenchmarkForward(b *testing.B) {
	for _, be := range backends() {
		b.Run(be.name, func(b *testing.B) {
			enterNamespace(b)
			in, out := newWire(b, "a", 1), newWire(b, "b", 1)
			q := be.openOn(b, attachAll(b, in, out), Options{}, in, out)
			benchForward(b, q, in)
		})
	}
}

func benchForward(b *testing.B, q testQueue, in *wire) {
	frame := in.udpFrame(testVIP, 1, 2, "sixty-four bytes or so")
	frames := make([]packet.Frame, 64)
	var spent time.Duration
	done := 0
	for b.Loop() {
		for range len(frames) {
			in.inject(b, frame)
		}
		start := time.Now()
		for n := 1; n > 0; {
			n = q.Recv(frames)
			for i := range frames[:n] {
				frames[i].Port = 1
			}
			done += q.Send(frames[:n])
		}
		spent += time.Since(start)
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(max(done, 1)), "ns/frame")
	b.ReportMetric(float64(done)/float64(b.N), "frames/round")
}

func BenchmarkSteer(b *testing.B) {
	st, a := loadForTest(b)
	if err := st.Set(siteRules()); err != nil {
		b.Fatal(err)
	}
	for _, c := range []steerCase{
		{"service", f4(plain4(cli4, svc4, 6, tcp(999, 80))), ""},
		{"held VIP", f4(plain4(cli4, held4, 6, tcp(999, 80))), ""},
		{"ssh to a service's address", f4(plain4(cli4, svc4, 6, tcp(999, 22))), ""},
		{"LLDP", join(ether(macGroup, macThem, 0x88cc), make([]byte, 46)), ""},
		{"stranger", f4(plain4(cli4, strange4, 6, tcp(999, 22))), ""},
		{"NAT reply v6", f6(ip6(real6, cli6, 6, tcp(8080, 999))), ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			_, err := a.objs.UlvsSteer.Run(&ebpf.RunOptions{Data: c.in, Repeat: 1})
			if err != nil {
				b.Fatal(err)
			}
			_, per, err := a.objs.UlvsSteer.Benchmark(c.in, 200000, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(per.Nanoseconds()), "ns/frame")
			b.ReportMetric(0, "ns/op")
		})
	}
}
