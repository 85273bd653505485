// Package wire is the two ends of a director's interfaces: a generator that sends frames without pause and a sink
// that counts what arrives, both on AF_XDP through github.com/asavie/xdp, so that neither end's kernel stack is
// what limits.
//
// It owns sockets, the steering program on the sink's interface, and the frames it makes: UDP over IPv4, 60 bytes
// and more. It touches no address, route or offload.
package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"ulvs/dataplane/afxdp"
	"ulvs/packet"
)

// Options of a generator.
type Options struct {
	Interface string
	Queue     int
	To        netip.AddrPort   // the VIP
	MAC       net.HardwareAddr // of the director's interface
	From      netip.Addr       // the first client
	Flows     int              // 64 ports to a client's address
	Size      int              // bytes of a frame, without FCS: 60 to 1514
	Rate      int              // frames per second; 0: as many as can be
	Duration  time.Duration
}

// Report is what a generator did.
type Report struct {
	Sent    uint64  `json:"sent"`
	Full    uint64  `json:"full"` // times that the transmit ring took none
	Seconds float64 `json:"seconds"`
}

// Limits of Options.
const (
	minSize  = 60
	maxSize  = 1514
	maxFlows = 1 << 24
	batch    = 64
)

func (o *Options) validate() error {
	switch {
	case !o.To.Addr().Is4() || !o.From.Is4() || o.To.Port() == 0:
		return errors.New("want an IPv4 address and port to send to, and an IPv4 address to send from")
	case len(o.MAC) != len(packet.MAC{}):
		return fmt.Errorf("MAC %s: want six bytes", o.MAC)
	case o.Flows < 1 || o.Flows > maxFlows:
		return fmt.Errorf("flows %d: want 1 to %d", o.Flows, maxFlows)
	case o.Size < minSize || o.Size > maxSize:
		return fmt.Errorf("size %d: want %d to %d bytes", o.Size, minSize, maxSize)
	}
	return nil
}

// open opens the AF_XDP socket of a queue.
func open(name string, queue int) (*afxdp.AsavieSet, afxdp.Interface, error) {
	dev, err := net.InterfaceByName(name)
	if err != nil {
		return nil, afxdp.Interface{}, fmt.Errorf("interface %s: %w", name, err)
	}
	i := afxdp.Interface{Name: name, Index: dev.Index}
	s, err := afxdp.OpenAsavie(afxdp.Options{Interfaces: []afxdp.Interface{i}, Queue: queue})
	return s, i, err
}

// Generate sends until the time is over, or ctx.
func Generate(ctx context.Context, o Options) (r *Report, err error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("generate: %w", err)
	}
	set, _, err := open(o.Interface, o.Queue)
	if err != nil {
		return nil, fmt.Errorf("generate: %w", err)
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	g, err := newFrames(o)
	if err != nil {
		return nil, fmt.Errorf("generate: %w", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r = &Report{}
	begin := time.Now()
	for ctx.Err() == nil {
		passed := time.Since(begin)
		if passed >= o.Duration {
			break
		}
		due := batch
		if o.Rate > 0 {
			due = min(int(passed.Seconds()*float64(o.Rate))-int(r.Sent), batch)
		}
		if due <= 0 {
			time.Sleep(20 * time.Microsecond)
			continue
		}
		if n := g.send(set, due); n > 0 {
			r.Sent += uint64(n)
		} else {
			r.Full++
			runtime.Gosched()
		}
	}
	r.Seconds = time.Since(begin).Seconds()
	return r, nil
}

// frames makes them: a template, and the flow's address and port.
type frames struct {
	o        Options
	template []byte
	sum      uint32 // of the IPv4 header without the client's address
	next     int
	lent     [batch]packet.Frame
}

func newFrames(o Options) (*frames, error) {
	dev, err := net.InterfaceByName(o.Interface)
	if err != nil {
		return nil, err
	}
	b := make([]byte, o.Size)
	copy(b, o.MAC)
	copy(b[6:], dev.HardwareAddr)
	binary.BigEndian.PutUint16(b[12:], packet.EtherTypeIPv4)
	ip := b[packet.EthernetLen:]
	ip[0], ip[8], ip[9] = 0x45, 64, packet.ProtoUDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	to := o.To.Addr().As4()
	copy(ip[16:], to[:])
	udp := ip[packet.IPv4Len:] // without a checksum, which IPv4 allows
	binary.BigEndian.PutUint16(udp[2:], o.To.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	g := &frames{o: o, template: b}
	for at := 0; at < packet.IPv4Len; at += 2 {
		g.sum += uint32(binary.BigEndian.Uint16(ip[at:]))
	}
	return g, nil
}

// send sends n frames of the next flows and returns how many the ring took.
func (g *frames) send(set *afxdp.AsavieSet, n int) int {
	n = set.Alloc(g.lent[:n])
	for i := range g.lent[:n] {
		f := &g.lent[i]
		f.Resize(len(g.template))
		g.fill(f.Bytes())
	}
	return set.Send(g.lent[:n])
}

// fill makes a frame of the next flow.
func (g *frames) fill(b []byte) {
	copy(b, g.template)
	from := g.o.From.As4()
	flow := uint32(g.next % g.o.Flows)
	g.next++
	client := binary.BigEndian.Uint32(from[:]) + flow>>6
	sum := g.sum + client>>16 + client&0xffff
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum>>16+sum))
	binary.BigEndian.PutUint32(b[26:], client)
	binary.BigEndian.PutUint16(b[34:], uint16(1024+flow&63))
}
