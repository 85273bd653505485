package failover

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"ulvs/events"
	"ulvs/internal/testutil"
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
	// What makes directors of load gives the VIP up each time; a host that has no CPU time for us now and then.
	var changes []string
	for range 3 {
		d1.await("MASTER")
		d2.await("BACKUP")
		if changes = underFlood(t, l, d1, d2); len(changes) == 0 {
			return
		}
		t.Log(strings.Join(changes, "\n"))
	}
	t.Errorf("under load, three times of three: %s", strings.Join(changes, "\n"))
}

// underFlood floods d1, and returns the state changes meanwhile.
func underFlood(t *testing.T, l *lab.Lab, d1, d2 *peer) (changes []string) {
	t.Helper()
	before, began := d1.received(), time.Now()
	stop := flood(t, l, 4)
	const flooded = 100_000
	testutil.Await(t, "d1 to receive frames, for four seconds", func() bool {
		time.Sleep(50 * time.Millisecond)
		return d1.received() >= before+flooded && time.Since(began) >= 4*time.Second
	})
	stop()
	t.Logf("d1 received %d frames in %v", d1.received()-before, time.Since(began).Round(time.Millisecond))
	for _, p := range []*peer{d1, d2} {
		list, err := p.client.RecentEvents(t.Context(), eventsOf(events.VRRPTransition))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.Time.After(began) {
				changes = append(changes, fmt.Sprintf("%s went from %s to %s: %s", p.name, e.From, e.To, e.Reason))
			}
		}
	}
	return changes
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
