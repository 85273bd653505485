package takeover

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"ulvs/bench/site"
	"ulvs/test/lab"
)

// probe is traffic through a VIP: a datagram each millisecond to an echo, and TCP connections that say something
// every 20 ms.
type probe struct {
	datagrams *lab.Probe
	conns     []net.Conn
	stop      chan struct{}
	wg        sync.WaitGroup
	mu        sync.Mutex
	lost      int // connections that ended
}

// pauses of the probe.
const (
	lineEvery = 20 * time.Millisecond
	patience  = 10 * time.Second // of a TCP connection with an answer
)

// newProbe connects from the client and begins.
func newProbe(s *site.Site, to netip.AddrPort, connections int) (*probe, error) {
	p := &probe{stop: make(chan struct{})}
	err := s.Do("c1", func() error {
		for range connections {
			c, err := net.DialTimeout("tcp", to.String(), patience)
			if err != nil {
				return err
			}
			p.conns = append(p.conns, c)
		}
		c, err := net.DialTimeout("udp", to.String(), patience)
		if err == nil {
			p.datagrams = lab.NewProbe(c)
		}
		return err
	})
	if err != nil {
		p.close()
		return nil, err
	}
	for i, c := range p.conns {
		p.wg.Go(func() { p.talk(i, c) })
	}
	return p, p.await(20)
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
	if p.datagrams != nil {
		p.datagrams.Close()
	}
}

// await returns when n more datagrams were answered.
func (p *probe) await(n int) error {
	want := p.datagrams.Count() + n
	for limit := time.Now().Add(limit); p.datagrams.Count() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			return fmt.Errorf("%d datagrams were answered, want %d", p.datagrams.Count(), want)
		}
	}
	return nil
}

func (p *probe) ended() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}
