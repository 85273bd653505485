package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
)

// SendOptions of a UDP sender.
type SendOptions struct {
	Targets  []netip.AddrPort
	Rate     int // datagrams per second
	Flows    int // sockets, each with a port of its own
	Size     int // bytes of payload
	Duration time.Duration
}

// SendReport is what a sender did.
type SendReport struct {
	Sent    int     `json:"sent"`
	Refused int     `json:"refused"` // by its own kernel
	Seconds float64 `json:"seconds"`
}

// sendBatch is the most datagrams of one system call.
const sendBatch = 32

// Send sends datagrams at a rate, in bursts as small as sleeping allows, and never faster. Whether they arrive
// is for the other end to count.
func Send(ctx context.Context, o SendOptions) (*SendReport, error) {
	if len(o.Targets) == 0 || o.Rate < 1 || o.Flows < 1 || o.Size < 1 || o.Size > 1400 {
		return nil, errors.New("load: want a target, a rate, flows, and 1 to 1400 bytes")
	}
	sockets := make([]*ipv4.PacketConn, o.Flows)
	for i := range sockets {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(o.Targets[i%len(o.Targets)]))
		if err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
		defer func() { _ = c.Close() }()
		sockets[i] = ipv4.NewPacketConn(c)
	}
	batch := make([]ipv4.Message, sendBatch)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, o.Size)}
	}
	r := &SendReport{}
	begin := time.Now()
	for turn := 0; ctx.Err() == nil; turn++ {
		passed := time.Since(begin)
		if passed >= o.Duration {
			break
		}
		due := int(passed.Seconds()*float64(o.Rate)) - r.Sent - r.Refused
		if due <= 0 {
			time.Sleep(50 * time.Microsecond)
			continue
		}
		n, err := sockets[turn%len(sockets)].WriteBatch(batch[:min(due, sendBatch)], 0)
		r.Sent += max(n, 0)
		if err != nil {
			r.Refused++
		}
	}
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}
