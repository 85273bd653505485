package failover

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"ulvs/control"
	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// longLived are TCP connections to an echo behind the VIP that say something every 20 ms.
type longLived struct {
	t     *testing.T
	conns []net.Conn
	stop  chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	lost  []error
	said  int
}

func startLongLived(t *testing.T, l *lab.Lab, n int) *longLived {
	t.Helper()
	c := &longLived{t: t, stop: make(chan struct{})}
	to := netip.AddrPortFrom(l.Addresses().DR.IPv4, lab.PortEcho).String()
	if err := l.Do("c1", func() error {
		for range n {
			conn, err := net.Dial("tcp", to)
			if err != nil {
				return err
			}
			c.conns = append(c.conns, conn)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, conn := range c.conns {
		c.wg.Go(func() { c.talk(i, conn) })
	}
	t.Cleanup(c.close)
	return c
}

// talk says something and checks what comes back, until it fails or is stopped.
func (c *longLived) talk(i int, conn net.Conn) {
	r := bufio.NewReader(conn)
	server, err := r.ReadString('\n')
	for n := 0; err == nil; n++ {
		select {
		case <-c.stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		text := fmt.Sprintf("connection %d to %q, line %d\n", i, server, n)
		_ = conn.SetDeadline(time.Now().Add(testutil.AwaitLimit))
		if _, err = conn.Write([]byte(text)); err != nil {
			break
		}
		var back string
		if back, err = r.ReadString('\n'); err == nil && back != text {
			err = fmt.Errorf("said %q, and %q came back", text, back)
		}
		c.mu.Lock()
		c.said++
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = append(c.lost, err)
}

// more waits until every connection, on average, said n more lines.
func (c *longLived) more(n int) {
	c.t.Helper()
	c.mu.Lock()
	until := c.said + n*len(c.conns)
	c.mu.Unlock()
	testutil.Await(c.t, "connections to go on", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.said >= until || len(c.lost) > 0
	})
}

func (c *longLived) broken() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]error(nil), c.lost...)
}

func (c *longLived) close() {
	close(c.stop)
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.wg.Wait()
}

// synced are options with [sync] over the servers' network.
func synced(t *testing.T, l *lab.Lab, ns string, priority int) options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sync.key")
	key := "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	var peers string
	for _, d := range l.Addresses().Directors {
		if d.Name != ns {
			peers = d.Server.IPv4.String()
		}
	}
	return options{priority: priority, advert: fast, sync: fmt.Sprintf(
		"[sync]\ninterface = \"s0\"\nkey_file = %q\npeers = [%q]\n", file, peers)}
}

func (p *peer) sync() control.Sync {
	v, _ := p.client.Sync(p.t.Context())
	return v
}

func (p *peer) awaitReady() {
	p.t.Helper()
	testutil.Await(p.t, p.name+" to have every session", func() bool {
		v := p.sync()
		return v.Ready && len(v.Peers) == 1
	})
}

// TestNoConnectionIsLostWhenItsDirectorDies: the connections go on over the other director, and over the first
// again when it comes back, which it does only when it has all sessions.
func TestNoConnectionIsLostWhenItsDirectorDies(t *testing.T) {
	l := twoDirectors(t)
	d2 := startULVS(t, l, "d2", synced(t, l, "d2", 100))
	d1 := startULVS(t, l, "d1", synced(t, l, "d1", 200))
	d1.await("MASTER")
	d1.awaitReady()
	const conns = 100
	c := startLongLived(t, l, conns)
	c.more(5)
	for range rounds() {
		d2.awaitReady()
		d2.awaitSessions(l, conns) // a busy machine may be late to tell of the last ones
		d1.end(syscall.SIGKILL)
		d2.await("MASTER")
		c.more(10)
		if lost := c.broken(); len(lost) > 0 {
			t.Fatalf("%d of %d connections broke when their director died, the first by: %v", len(lost), conns, lost[0])
		}
		d1 = startULVS(t, l, "d1", synced(t, l, "d1", 200))
		d1.await("MASTER")
		c.more(10)
		if lost := c.broken(); len(lost) > 0 {
			t.Fatalf("%d of %d connections broke when their director came back, the first by: %v", len(lost), conns, lost[0])
		}
	}
	testutil.Await(t, "ulvs sync to show d1 and its sessions", func() bool {
		v := d2.sync()
		return len(v.Peers) == 1 && v.Peers[0].Name == "d1" && v.Records["inserted"] > 0
	})
}
