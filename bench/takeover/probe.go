package takeover

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"ulvs/bench/site"
)

// probe is traffic through a VIP: a datagram each millisecond to an echo, and TCP connections that say something
// every 20 ms.
type probe struct {
	conns   []net.Conn // the first is UDP
	stop    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	answers []time.Time // of datagrams
	lost    int         // TCP connections that ended
}

// pauses of the probe.
const (
	datagramEvery = time.Millisecond
	lineEvery     = 20 * time.Millisecond
	patience      = 10 * time.Second // of a TCP connection with an answer
)

// newProbe connects from the client and begins.
func newProbe(s *site.Site, to netip.AddrPort, connections int) (*probe, error) {
	p := &probe{stop: make(chan struct{})}
	err := s.Do("c1", func() error {
		for i := range connections + 1 {
			network := "tcp"
			if i == 0 {
				network = "udp"
			}
			c, err := net.DialTimeout(network, to.String(), patience)
			if err != nil {
				return err
			}
			p.conns = append(p.conns, c)
		}
		return nil
	})
	if err != nil {
		p.close()
		return nil, err
	}
	p.wg.Go(p.send)
	p.wg.Go(p.receive)
	for i, c := range p.conns[1:] {
		p.wg.Go(func() { p.talk(i, c) })
	}
	return p, p.await(20)
}

func (p *probe) send() {
	tick := time.NewTicker(datagramEvery)
	defer tick.Stop()
	b := make([]byte, 16)
	for n := uint64(0); ; n++ {
		binary.BigEndian.PutUint64(b, n)
		_, _ = p.conns[0].Write(b) // refused now and then while nobody serves
		select {
		case <-tick.C:
		case <-p.stop:
			return
		}
	}
}

func (p *probe) receive() {
	b := make([]byte, 64)
	for !p.stopped() {
		if _, err := p.conns[0].Read(b); err != nil {
			continue
		}
		p.mu.Lock()
		p.answers = append(p.answers, time.Now())
		p.mu.Unlock()
	}
}

func (p *probe) stopped() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// talk says lines until the connection fails.
func (p *probe) talk(i int, c net.Conn) {
	r := bufio.NewReader(c)
	_, err := r.ReadString('\n') // the server's name
	for n := 0; err == nil; n++ {
		select {
		case <-p.stop:
			return
		case <-time.After(lineEvery):
		}
		text := fmt.Sprintf("connection %d line %d\n", i, n)
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err = c.Write([]byte(text)); err != nil {
			break
		}
		var back string
		if back, err = r.ReadString('\n'); err == nil && back != text {
			err = fmt.Errorf("said %q, got %q", text, back)
		}
	}
	if !p.stopped() {
		p.mu.Lock()
		p.lost++
		p.mu.Unlock()
	}
}

// close ends the traffic.
func (p *probe) close() {
	close(p.stop)
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.wg.Wait()
}

// await returns when n more datagrams were answered.
func (p *probe) await(n int) error {
	want := p.count() + n
	for limit := time.Now().Add(limit); p.count() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			return fmt.Errorf("%d datagrams were answered, want %d", p.count(), want)
		}
	}
	return nil
}

func (p *probe) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.answers)
}

func (p *probe) ended() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
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
