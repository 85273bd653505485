package userstack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"ulvs/dataplane"
	"ulvs/lvs"
)

// Dial opens a connection to a VIP that goes to one real server, as a client's of the service would. An error tells
// why the probe was not sent if that is what happened. The connection must be closed; its port is free for
// another probe when the real server has seen that, or a while later.
func (s *Stack) Dial(ctx context.Context, spec dataplane.ProbeSpec) (net.Conn, error) {
	probe, err := s.probes.Open(spec)
	if err != nil {
		return nil, err
	}
	c := &probeConn{stack: s, probe: probe}
	if err := c.open(spec.Proto); err != nil {
		s.probes.Close(probe)
		return nil, c.explain("dial", err)
	}
	if err := c.connect(ctx); err != nil {
		c.Close()
		return nil, c.explain("dial", err)
	}
	return c, nil
}

// probeConn is a connection of a probe.
type probeConn struct {
	net.Conn // nil until open
	stack    *Stack
	probe    *dataplane.Probe
	ep       tcpip.Endpoint
	queue    waiter.Queue
	network  string
	failed   atomic.Bool // an ICMP error came
	closed   atomic.Bool
}

func (c *probeConn) open(proto uint8) error {
	transport := tcpip.TransportProtocolNumber(tcp.ProtocolNumber)
	if c.network = "tcp"; proto == lvs.ProtoUDP {
		c.network, transport = "udp", udp.ProtocolNumber
	}
	family := tcpip.NetworkProtocolNumber(header.IPv4ProtocolNumber)
	if c.probe.To.Addr().Is6() {
		family = header.IPv6ProtocolNumber
	}
	ep, err := c.stack.net.NewEndpoint(transport, family, &c.queue)
	if err != nil {
		return wrap(err)
	}
	if err := ep.Bind(full(c.probe.From)); err != nil {
		ep.Close()
		return fmt.Errorf("bind to %s: %w", c.probe.From, wrap(err))
	}
	c.ep = ep
	if proto == lvs.ProtoUDP {
		c.Conn = gonet.NewUDPConn(&c.queue, ep)
		c.watchErrors()
	} else {
		c.Conn = gonet.NewTCPConn(&c.queue, ep)
	}
	return nil
}

// watchErrors wakes a Read when an ICMP error came: gonet's waits for data alone.
func (c *probeConn) watchErrors() {
	entry := waiter.NewFunctionEntry(waiter.EventErr, func(waiter.EventMask) {
		c.failed.Store(true)
		c.Conn.SetReadDeadline(time.Unix(1, 0))
	})
	c.queue.EventRegister(&entry)
}

func (c *probeConn) connect(ctx context.Context) error {
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	c.queue.EventRegister(&entry)
	defer c.queue.EventUnregister(&entry)
	err := c.ep.Connect(full(c.probe.To))
	if _, started := err.(*tcpip.ErrConnectStarted); !started {
		return wrap(err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-ready:
	}
	return wrap(c.ep.LastError())
}

// Close ends the connection in an orderly way; that goes on in the background.
func (c *probeConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.ep.Close()
	c.stack.reaper.add(c)
	return nil
}

// Read implements net.Conn.
func (c *probeConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && c.failed.Load() {
		if last := c.ep.LastError(); last != nil {
			err = wrap(last)
		}
	}
	return n, c.explain("read", err)
}

// Write implements net.Conn.
func (c *probeConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain("write", err)
}

// explain says of an error what it was about, and why the probe's last packet was not sent if it was not.
func (c *probeConn) explain(op string, err error) error {
	if err = plain(err); err == nil || isEnd(err) {
		return err
	}
	if v, ok := c.probe.Trouble(); ok && isTimeout(err) {
		err = fmt.Errorf("%w: not sent, %s", syscall.EHOSTUNREACH, v) // silence says nothing of the real server
	}
	return &net.OpError{Op: op, Net: c.network, Addr: net.TCPAddrFromAddrPort(c.probe.To), Err: err}
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}
