package failover

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"ulvs/internal/testutil"
	"ulvs/test/lab"
)

// probe sends a datagram a millisecond to an echo behind the VIP, and keeps when answers came.
type probe struct {
	conn    net.Conn
	stop    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	answers []time.Time
}

// startProbe begins to send from the client.
func startProbe(t *testing.T, l *lab.Lab) *probe {
	t.Helper()
	p := &probe{stop: make(chan struct{})}
	to := netip.AddrPortFrom(l.Addresses().DR.IPv4, lab.PortEcho)
	if err := l.Do("c1", func() (err error) {
		p.conn, err = net.Dial("udp", to.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	p.wg.Add(2)
	go p.send()
	go p.receive()
	t.Cleanup(p.close)
	p.awaitAnswers(t, 20)
	return p
}

func (p *probe) send() {
	defer p.wg.Done()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	b := make([]byte, 16)
	for n := uint64(0); ; n++ {
		binary.BigEndian.PutUint64(b, n)
		_, _ = p.conn.Write(b) // refused now and then while nobody serves
		select {
		case <-tick.C:
		case <-p.stop:
			return
		}
	}
}

func (p *probe) receive() {
	defer p.wg.Done()
	b := make([]byte, 64)
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		if _, err := p.conn.Read(b); err != nil {
			continue
		}
		p.mu.Lock()
		p.answers = append(p.answers, time.Now())
		p.mu.Unlock()
	}
}

func (p *probe) close() {
	select {
	case <-p.stop:
		return
	default:
	}
	close(p.stop)
	_ = p.conn.SetReadDeadline(time.Now())
	p.wg.Wait()
	_ = p.conn.Close()
}

// awaitAnswers returns when n more answers came.
func (p *probe) awaitAnswers(t *testing.T, n int) {
	t.Helper()
	want := p.count() + n
	testutil.Await(t, "answers to the probe", func() bool { return p.count() >= want })
}

func (p *probe) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.answers)
}

// gap returns the longest time without an answer since then.
func (p *probe) gap(since time.Time) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := since
	for _, at := range p.answers {
		if at.Before(since) {
			continue
		}
		longest = max(longest, at.Sub(last))
		last = at
	}
	return longest
}
