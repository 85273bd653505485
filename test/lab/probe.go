package lab

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// probeEvery is how often a Probe sends.
const probeEvery = time.Millisecond

// Probe sends datagrams to an echo and keeps when answers came.
type Probe struct {
	conn    net.Conn
	stop    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	answers []time.Time
}

// NewProbe begins to send on a connection, which is the probe's from now on.
func NewProbe(conn net.Conn) *Probe {
	p := &Probe{conn: conn, stop: make(chan struct{})}
	p.wg.Go(p.send)
	p.wg.Go(p.receive)
	return p
}

// Close ends the traffic. It may be called again.
func (p *Probe) Close() {
	select {
	case <-p.stop:
		return
	default:
	}
	close(p.stop)
	_ = p.conn.Close()
	p.wg.Wait()
}

// Count returns how many datagrams were answered.
func (p *Probe) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.answers)
}

// Gap returns the longest time without an answer from then to the last answer.
func (p *Probe) Gap(since time.Time) (longest time.Duration) {
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

func (p *Probe) send() {
	tick := time.NewTicker(probeEvery)
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

func (p *Probe) receive() {
	b := make([]byte, 64)
	for {
		_, err := p.conn.Read(b)
		select {
		case <-p.stop:
			return
		default:
		}
		if err != nil {
			continue // refused
		}
		p.mu.Lock()
		p.answers = append(p.answers, time.Now())
		p.mu.Unlock()
	}
}
