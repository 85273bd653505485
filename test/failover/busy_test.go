package failover

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"ulvs/events"
	"ulvs/test/lab"
)

// A director whose data plane has all the work it can do goes on sending adverts, and keeps its VIPs: the heartbeats of
// its workers stop when they stop, not when they are busy.
func TestABusyDirectorKeepsItsVIPs(t *testing.T) {
	l := twoDirectors(t)
	d1 := startULVS(t, l, "d1", options{priority: 200, advert: "1s"})
	d1.await("MASTER")
	d2 := startULVS(t, l, "d2", options{priority: 100, advert: "1s"})
	d2.await("BACKUP")
	before, began := d1.received(), time.Now()
	stop := flood(t, l, 4)
	const flooded = 100_000
	for limit := time.Now().Add(time.Minute); d1.received() < before+flooded || time.Since(began) < 4*time.Second; {
		if time.Now().After(limit) {
			t.Fatalf("d1 received %d frames within a minute, want %d", d1.received()-before, flooded)
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	t.Logf("d1 received %d frames in %v", d1.received()-before, time.Since(began).Round(time.Millisecond))
	for _, p := range []*peer{d1, d2} {
		list, err := p.client.RecentEvents(t.Context(), eventsOf(events.VRRPTransition))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Time.After(began) {
				t.Errorf("%s went from %s to %s under load: %s", p.name, e.From, e.To, e.Reason)
			}
		}
	}
}

// received is how many frames the director's workers took.
func (p *peer) received() (n uint64) {
	p.t.Helper()
	st, err := p.client.Status(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, w := range st.Workers {
		n += w.Frames
	}
	return n
}

// flood sends datagrams to the VIP from the client, as fast as it can, from n sockets, until stop is called.
func flood(t *testing.T, l *lab.Lab, n int) (stop func()) {
	t.Helper()
	to := netip.AddrPortFrom(l.Addresses().DR.IPv4, lab.PortEcho).String()
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range n {
		var conn net.Conn
		if err := l.Do("c1", func() (err error) {
			conn, err = net.Dial("udp", to)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer func() { _ = conn.Close() }()
			for b := make([]byte, 64); ; {
				select {
				case <-done:
					return
				default:
					_, _ = conn.Write(b) // refused now and then
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	t.Cleanup(stop)
	return stop
}
