package director

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/config"
	"ulvs/control"
	"ulvs/dataplane"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/packet"
)

// The size that live changes are measured at.
const (
	liveServices = 10000
	liveServers  = 10
)

// liveFile is a file of that many services with real servers whose weights begin at 1; change has another weight.
func liveFile(change int) string {
	var b strings.Builder
	b.WriteString("[node]\ninterfaces = [\"eth0\"]\n")
	for i := range liveServices {
		fmt.Fprintf(&b, "\n[[service]]\nvip = \"198.%d.%d.%d:80\"\nscheduler = \"wrr\"\n", 18+i>>16, i>>8&255, i&255)
		for k := range liveServers {
			weight := 1 + k
			if i == change && k == 0 {
				weight = 99
			}
			fmt.Fprintf(&b, "\n  [[service.real_server]]\n  address = \"10.%d.%d.%d\"\n  weight = %d\n",
				i/250, i%250, k+1, weight)
		}
	}
	return b.String()
}

// liveBed is a Node that has loaded liveFile(-1).
func liveBed(tb testing.TB) (*bed, *config.Config) {
	tb.Helper()
	c, err := config.Parse("f", []byte(liveFile(-1)), config.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	b := newBed(tb)
	if _, err := b.Load(c); err != nil {
		tb.Fatal(err)
	}
	return b, c
}

func liveKey(i int) lvs.ServiceKey {
	vip := netip.AddrFrom4([4]byte{198, byte(18 + i>>16), byte(i >> 8), byte(i)})
	return lvs.ServiceKey{Addr: vip, Port: 80, Proto: lvs.ProtoTCP}
}

func liveServer(i, k int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i / 250), byte(i % 250), byte(k + 1)}), 80)
}

func BenchmarkWeightByEditOf10000Services(b *testing.B) {
	bed, _ := liveBed(b)
	i := 0
	for b.Loop() {
		i++
		d := lvs.Destination{Addr: liveServer(i%liveServices, 0).Addr(), Port: 80, Weight: int32(2 + i%50)}
		if err := bed.Edit(&lvs.Edit{Op: lvs.EditSetDest, Key: liveKey(i % liveServices), Dest: d}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWeightByAPIOf10000Services(b *testing.B) {
	bed, _ := liveBed(b)
	i := 0
	for b.Loop() {
		i++
		e := config.Edit{Op: config.EditSetServer, Service: liveKey(i % liveServices).Name(),
			Server: liveServer(i%liveServices, 0).String(), Keys: map[string]any{"weight": float64(2 + i%50)}}
		if _, err := bed.ApplyEdits([]config.Edit{e}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKickOf10000Services(b *testing.B) {
	bed, _ := liveBed(b)
	i := 0
	for b.Loop() {
		i++
		at := i / 2 % liveServices
		bed.SetServerHealth(liveKey(at), liveServer(at, 0), i%2 == 0, "refused")
	}
}

func BenchmarkReloadOf10000Services(b *testing.B) {
	bed, c := liveBed(b)
	texts := [2]string{liveFile(-1), liveFile(liveServices / 2)}
	for _, kind := range []string{"parse", "apply", "both"} {
		b.Run(kind, func(b *testing.B) {
			i, last := 0, c
			configs := [2]*config.Config{}
			for k := range configs {
				configs[k], _ = config.Parse("f", []byte(texts[k]), config.Options{})
			}
			for b.Loop() {
				i++
				next := configs[i%2]
				if kind != "apply" {
					var err error
					if next, err = config.Parse("f", []byte(texts[i%2]), config.Options{Previous: last}); err != nil {
						b.Fatal(err)
					}
					last = next
				}
				if kind == "parse" {
					continue
				}
				if out, err := bed.Load(next); err != nil || len(out.Changes) > 1 {
					b.Fatal(out, err)
				}
			}
		})
	}
}

func BenchmarkFirstLoadOf10000Services(b *testing.B) {
	c, err := config.Parse("f", []byte(liveFile(-1)), config.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		bed := newBed(b)
		if _, err := bed.Load(c); err != nil {
			b.Fatal(err)
		}
	}
}

// traffic puts packets of new and old sessions through the bed's worker until stop is closed.
type traffic struct{ in, out int }

func (b *bed) traffic(stop <-chan struct{}) (t traffic) {
	for {
		select {
		case <-stop:
			return t
		default:
		}
		b.port = 1024 + (b.port-1023)%20000
		frames := []packet.Frame{tcpFrame(b.port, packet.TCPSyn), tcpFrame(b.port, packet.TCPAck)}
		if old := b.port - 500; b.port > 1600 {
			frames = append(frames, tcpFrame(old, packet.TCPAck))
		}
		t.in += len(frames)
		b.wire.in, b.wire.sent = frames, b.wire.sent[:0]
		b.worker.RunOnce(b.now)
		t.out += len(b.wire.sent)
	}
}

// Sessions go on through reloads, edits, drains and kicks of a service that keeps its sessions.
func TestNoPacketIsLostByLiveChanges(t *testing.T) {
	rnd := testutil.Rand(t)
	text := func() string {
		var b strings.Builder
		b.WriteString("[node]\ninterfaces = [\"eth0\"]\n")
		for i := range 100 {
			vip := fmt.Sprintf("198.18.1.%d:%d", i%50, 81+i/50)
			if i == 0 {
				vip = "198.18.0.100:80"
			}
			fmt.Fprintf(&b, "[[service]]\nvip = %q\nscheduler = \"wrr\"\non_failure = \"inhibit\"\n", vip)
			for k := range 1 + rnd.IntN(9) {
				fmt.Fprintf(&b, "[[service.real_server]]\naddress = \"10.18.1.%d\"\nweight = %d\n", 11+k, 1+rnd.IntN(5))
			}
		}
		return b.String()
	}
	b := newBed(t)
	var last *config.Config
	reload := func() {
		var err error
		if last, err = config.Parse("f", []byte(text()), config.Options{Previous: last}); err == nil {
			_, err = b.Load(last)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	reload()
	stop, done := make(chan struct{}), make(chan traffic)
	go func() { done <- b.traffic(stop) }()
	key := service(80).Key
	for range 50 {
		server := realPort(1 + rnd.IntN(9))
		request := control.DrainRequest{Service: key.Name(), RealServer: server}
		switch rnd.IntN(5) {
		case 0:
			reload()
		case 1:
			_ = b.Edit(&lvs.Edit{Op: lvs.EditSetDest, Key: key, // it may not be there
				Dest: lvs.Destination{Addr: server.Addr(), Port: 80, Weight: int32(1 + rnd.IntN(9))}})
		case 2:
			b.SetServerHealth(key, server, server == realPort(1) || rnd.IntN(2) == 0, "random")
		case 3:
			if server != realPort(1) {
				_, _ = b.Drain(request)
			}
		case 4:
			_, _ = b.Enable(request)
		}
		b.Follow()
	}
	testutil.Await(t, "packets", func() bool { return b.worker.Stats().Verdict(dataplane.TxDR) >= 100 })
	close(stop)
	got := <-done
	for v := dataplane.Verdict(0); int(v) < dataplane.NumCounters; v++ {
		if n := b.worker.Stats().Verdict(v); n > 0 && v != dataplane.TxDR {
			t.Errorf("%d packets: %s", n, v)
		}
	}
	if got.in != got.out || got.in < 100 {
		t.Errorf("of %d packets %d were forwarded", got.in, got.out)
	}
}

// meanwhile is a capture's filter that runs once, in the middle of a batch.
type meanwhile func()

func (m *meanwhile) Match([]byte, int) bool {
	if f := *m; f != nil {
		*m = nil
		f()
	}
	return false
}

// A worker in the middle of a batch is sent to a real server that its snapshot does not have: it looks again.
func TestARealServerAddedWithinABatchIsUsed(t *testing.T) {
	for _, persistence := range []time.Duration{0, time.Minute} {
		b := newBed(t)
		taps := new(atomic.Pointer[dataplane.Tap])
		b.worker = dataplane.NewWorker(dataplane.Options{
			Queue: &b.wire, Table: b.opt.Table, Snapshots: b.Snapshots(), Seed: 1, Taps: taps,
		})
		b.Serve(b.worker)
		s, next := service(80, 1), service(80, 2)
		s.Persistence, next.Persistence = persistence, persistence
		b.replace(s)
		edit := meanwhile(func() { b.replace(next) })
		taps.Store(dataplane.NewTap(&edit, 1, dataplane.MinSnaplen, false))
		if got := b.syn(); got != realAddr(2) || edit != nil {
			t.Errorf("persistence %v: the SYN went to %v", persistence, got)
		}
	}
}
