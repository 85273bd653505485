package migration

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// client asks for a page again and again, each time on a new connection.
type client struct {
	t      *testing.T
	l      *lab.Lab
	target string
	stop   chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	good   int
	failed []error
	gap    time.Duration // the longest time between two answers since it was last taken
}

func startClient(t *testing.T, l *lab.Lab, target string) *client {
	c := &client{t: t, l: l, target: target, stop: make(chan struct{})}
	c.wg.Go(c.ask)
	t.Cleanup(func() {
		close(c.stop)
		c.wg.Wait()
	})
	return c
}

func (c *client) ask() {
	last := time.Now()
	for {
		select {
		case <-c.stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		err := c.page()
		c.mu.Lock()
		if err == nil {
			c.good++
			c.gap = max(c.gap, time.Since(last))
			last = time.Now()
		} else {
			c.failed = append(c.failed, err)
		}
		c.mu.Unlock()
	}
}

// page asks once. The time limit is longer than any takeover: a SYN that nobody takes is sent again.
func (c *client) page() (err error) {
	var conn net.Conn
	if err := c.l.Do("c1", func() (err error) {
		conn, err = net.DialTimeout("tcp", c.target, 20*time.Second)
		return err
	}); err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	req, _ := http.NewRequest(http.MethodGet, "http://"+c.target+"/", strings.NewReader(""))
	req.Close = true
	if err := req.Write(conn); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// longLived are TCP connections to an echo that is behind the VIP by hand; each says something every 20 ms.
type longLived struct {
	wg   sync.WaitGroup
	stop chan struct{}
	said atomic.Int64
	mu   sync.Mutex
	lost []error
}

func startLongLived(t *testing.T, l *lab.Lab, target string, n int) *longLived {
	t.Helper()
	c := &longLived{stop: make(chan struct{})}
	for range n {
		var conn net.Conn
		if err := l.Do("c1", func() (err error) {
			conn, err = net.DialTimeout("tcp", target, 20*time.Second)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		c.wg.Go(func() { c.talk(conn) })
	}
	t.Cleanup(func() {
		close(c.stop)
		c.wg.Wait()
	})
	return c
}

// talk says lines and reads what comes back, the server's name first, until it fails or is stopped.
func (c *longLived) talk(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	_, err := r.ReadString('\n')
	for err == nil {
		select {
		case <-c.stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err = conn.Write([]byte("still there?\n")); err == nil {
			_, err = r.ReadString('\n')
			c.said.Add(1)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = append(c.lost, err)
}

// broken waits for n more lines, and returns why connections broke so far; of nobody's none did.
func (c *longLived) broken(t *testing.T, n int64) []error {
	t.Helper()
	if c == nil {
		return nil
	}
	lost := func() []error {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.lost
	}
	until := c.said.Load() + n
	testutil.Await(t, "long connections to go on", func() bool { return c.said.Load() >= until || lost() != nil })
	return lost()
}

// more waits for n more pages and returns the requests that failed since it was last called, and the longest pause.
func (c *client) more(n int) (failed []error, gap time.Duration) {
	c.t.Helper()
	count := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.good
	}
	until := count() + n
	testutil.Await(c.t, "the client to get pages", func() bool { return count() >= until })
	c.mu.Lock()
	defer c.mu.Unlock()
	failed, gap = c.failed, c.gap
	c.failed, c.gap = nil, 0
	return failed, gap
}
