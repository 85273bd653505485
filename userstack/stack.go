// Package userstack is a TCP/IP stack of our own, inside the process, for the two things that need one: health checks
// down the real path, and services whose server is on this host (sorry server, local real server).
//
// It wraps gVisor's netstack with one link in memory: what the stack sends a worker takes from a ring and sends
// like its own, what belongs to the stack the worker puts into another. The kernel sees nothing of it: no device,
// address, route or sysctl. It owns the rings, the sockets of both uses and their limits. It does not decide
// where a packet goes (dataplane does), nor what a check means (health does).
package userstack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"ulvs/dataplane"
)

// Options are what a Stack is made of.
type Options struct {
	Workers int       // how many links to make
	Wake    func(int) // has a worker look at its link; called from any goroutine. Nil: the worker looks by itself
	Ports   [2]uint16 // first and last source port of probes; their number bounds the probes under way
	MTU     int       // bytes of the largest packet that the stack sends; 0: MTUDefault
	// DialLocal connects to a server on this host; nil: a net.Dialer with DialLocalTimeout.
	DialLocal func(ctx context.Context, network, address string) (net.Conn, error)
}

// Limits and sizes.
const (
	// MTUDefault leaves room for every outer header at an MTU of 1500.
	MTUDefault = 1440
	// MTUMax bounds what the stack sends on links that would take more.
	MTUMax = 1500
	// MTUMin is what IPv6 asks of a link.
	MTUMin = 1280
	// LocalLimit bounds the sessions with servers on this host; clients beyond it are reset.
	LocalLimit = 4096
	// bufferMax bounds what a connection of the stack buffers in each direction.
	bufferMax = 64 << 10
	// synRetries bounds a half-open connection to about 15 s.
	synRetries = 3
)

const nicID = 1

// Stack is the stack and its links to the workers.
type Stack struct {
	opt    Options
	net    *stack.Stack
	link   *link
	links  []*dataplane.StackLink
	probes *dataplane.Probes
	wake   chan struct{} // a worker has put packets into its link
	reaper reaper
	local  local
	ctx    context.Context
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// New makes a stack and starts the goroutines that serve it. Close ends them.
func New(o Options) (*Stack, error) {
	if o.MTU == 0 {
		o.MTU = MTUDefault
	}
	if o.Ports[0] == 0 || o.Ports[1] < o.Ports[0] {
		return nil, fmt.Errorf("probe ports %d to %d make no range", o.Ports[0], o.Ports[1])
	}
	s := &Stack{
		opt: o, probes: dataplane.NewProbes(o.Ports[0], o.Ports[1]), wake: make(chan struct{}, 1),
		net: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocolWithOptions(quiet6)},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		}),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	for range max(o.Workers, 1) {
		s.links = append(s.links, dataplane.NewStackLink(s.probes, s.wakeInbound))
	}
	s.link = &link{stack: s, mtu: uint32(max(o.MTU, MTUMin))}
	if err := s.configure(); err != nil {
		s.Close()
		return nil, err
	}
	s.local.init(s)
	s.done.Go(s.runInbound)
	s.done.Go(s.runReaper)
	return s, nil
}

// quiet6 keeps IPv6 from speaking of its own accord: the link is no link that anybody could be found on.
var quiet6 = ipv6.Options{NDPConfigs: ipv6.NDPConfigurations{HandleRAs: ipv6.HandlingRAsDisabled}}

// configure makes the link take and send packets of any address, and sets the limits of connections.
func (s *Stack) configure() error {
	for _, err := range []tcpip.Error{
		s.net.CreateNIC(nicID, s.link),
		s.net.SetPromiscuousMode(nicID, true),
		s.net.SetSpoofing(nicID, true),
		s.setTCP(new(tcpip.TCPSACKEnabled), true),
	} {
		if err != nil {
			return fmt.Errorf("set up the stack: %s", err)
		}
	}
	s.net.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicID}, {Destination: header.IPv6EmptySubnet, NIC: nicID},
	})
	retries := tcpip.TCPSynRetriesOption(synRetries)
	wait := tcpip.TCPTimeWaitTimeoutOption(time.Second)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: bufferMax / 2, Max: bufferMax}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: bufferMax / 2, Max: bufferMax}
	for _, o := range []tcpip.SettableTransportProtocolOption{&retries, &wait, &send, &receive} {
		if err := s.net.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("set %T of the stack: %s", o, err)
		}
	}
	return nil
}

func (s *Stack) setTCP(o *tcpip.TCPSACKEnabled, on bool) tcpip.Error {
	*o = tcpip.TCPSACKEnabled(on)
	return s.net.SetTransportProtocolOption(tcp.ProtocolNumber, o)
}

// Link returns worker i's end of its link.
func (s *Stack) Link(i int) *dataplane.StackLink { return s.links[i] }

// Probes returns the table of probes under way.
func (s *Stack) Probes() *dataplane.Probes { return s.probes }

// Close ends all connections and the stack's goroutines.
func (s *Stack) Close() {
	s.stop()
	s.done.Wait()
	s.net.Close()
	s.net.Wait()
}

func (s *Stack) wakeInbound() {
	select {
	case s.wake <- struct{}{}:
	default: // it has not looked since the last call
	}
}

// runInbound brings the stack what workers have for it.
func (s *Stack) runInbound() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		}
		for _, l := range s.links {
			for l.ToStack.Len() > 0 {
				p := &l.ToStack.Peek(1)[0]
				s.deliver(p.Bytes(), p.To())
				l.ToStack.Release(1)
			}
		}
	}
}

// deliver hands the stack an IP packet; to is the server on this host that it is for, if any.
func (s *Stack) deliver(b []byte, to netip.AddrPort) {
	proto := tcpip.NetworkProtocolNumber(header.IPv4ProtocolNumber)
	if b[0]>>4 == 6 {
		proto = header.IPv6ProtocolNumber
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	defer pkt.DecRef()
	s.local.to = to
	s.link.deliver(proto, pkt)
}
