package userstack

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Times of local sessions.
const (
	// DialLocalTimeout bounds the connection to a server on this host.
	DialLocalTimeout = 5 * time.Second
	// idleTCP ends a session without data; the table's own timeout is as long.
	idleTCP = 15 * time.Minute
	// idleUDP is shorter: a later datagram just opens another socket.
	idleUDP = time.Minute
)

// local accepts what clients send to services on this host, and carries it to the server over the host's loopback. The
// server sees a connection from this host, not the client's address.
type local struct {
	to netip.AddrPort // of the packet that is being delivered: runInbound's

	tcp      *tcp.Forwarder
	mu       sync.Mutex
	sessions map[stack.TransportEndpointID]netip.AddrPort

	accepted, refused, unreachable atomic.Uint64
}

// LocalStats are counters of the sessions with servers on this host.
type LocalStats struct {
	Open, Limit int
	Accepted    uint64
	Refused     uint64 // over the limit
	Unreachable uint64 // the server did not accept
}

// LocalStats returns the counters.
func (s *Stack) LocalStats() LocalStats {
	l := &s.local
	l.mu.Lock()
	defer l.mu.Unlock()
	return LocalStats{
		len(l.sessions), LocalLimit, l.accepted.Load(), l.refused.Load(), l.unreachable.Load(),
	}
}

func (l *local) init(s *Stack) {
	if s.opt.DialLocal == nil {
		s.opt.DialLocal = (&net.Dialer{Timeout: DialLocalTimeout}).DialContext
	}
	l.sessions = map[stack.TransportEndpointID]netip.AddrPort{}
	l.tcp = tcp.NewForwarder(s.net, bufferMax/2, LocalLimit, s.serveTCP)
	u := udp.NewForwarder(s.net, s.serveUDP)
	s.net.SetTransportProtocolHandler(tcp.ProtocolNumber, l.acceptTCP)
	s.net.SetTransportProtocolHandler(udp.ProtocolNumber, func(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
		return !l.to.IsValid() || u.HandlePacket(id, p)
	})
}

// begin notes a session with the server that the packet at hand is for; false if there are too many.
func (l *local) begin(id stack.TransportEndpointID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sessions) >= LocalLimit {
		l.refused.Add(1)
		return false
	}
	l.sessions[id] = l.to
	return true
}

func (l *local) server(id stack.TransportEndpointID) netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sessions[id]
}

func (l *local) end(id stack.TransportEndpointID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, id)
}

// acceptTCP takes a segment that belongs to no connection. False has the stack answer with a reset, which is
// right over the limit, too; one for a probe that is over finds no session and goes nowhere.
func (l *local) acceptTCP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	switch {
	case !l.to.IsValid():
		return false
	case l.server(id).IsValid():
		return true // a SYN of the same client came before
	case !l.begin(id):
		return false
	case l.tcp.HandlePacket(id, pkt):
		return true
	}
	l.end(id)
	return false
}

// serveTCP is a session's goroutine. The client's handshake comes first: forged SYNs must not reach the server.
func (s *Stack) serveTCP(r *tcp.ForwarderRequest) {
	id := r.ID()
	defer s.local.end(id)
	var queue waiter.Queue
	ep, err := r.CreateEndpoint(&queue)
	r.Complete(err != nil)
	if err != nil {
		return
	}
	client := gonet.NewTCPConn(&queue, ep)
	server, dialErr := s.opt.DialLocal(s.ctx, "tcp", s.local.server(id).String())
	if dialErr != nil {
		s.local.unreachable.Add(1)
		ep.Abort()
		return
	}
	s.local.accepted.Add(1)
	join(s.ctx, client, server, idleTCP)
}

// serveUDP starts a session with its first datagram.
func (s *Stack) serveUDP(r *udp.ForwarderRequest) bool {
	id := r.ID()
	if !s.local.begin(id) {
		return true
	}
	var queue waiter.Queue
	ep, err := r.CreateEndpoint(&queue)
	if err != nil {
		s.local.end(id)
		return true
	}
	client, to := gonet.NewUDPConn(&queue, ep), s.local.to
	go func() {
		defer s.local.end(id)
		server, err := s.opt.DialLocal(s.ctx, "udp", to.String())
		if err != nil {
			s.local.unreachable.Add(1)
			client.Close()
			return
		}
		s.local.accepted.Add(1)
		join(s.ctx, client, server, idleUDP)
	}()
	return true
}

// join carries data both ways until both are done, one fails, nothing came for idle, or ctx ends.
func join(ctx context.Context, client, server net.Conn, idle time.Duration) {
	defer client.Close()
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	done := make(chan struct{})
	go func() {
		defer close(done)
		carry(server, client, idle)
	}()
	carry(client, server, idle)
	<-done
}

// chunk is what a session copies at once.
const chunk = 16 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// carry copies from one connection to the other and passes the end on. A failure ends both.
func carry(to, from net.Conn, idle time.Duration) {
	b := chunks.Get().(*[chunk]byte)
	defer chunks.Put(b)
	for {
		from.SetReadDeadline(time.Now().Add(idle))
		n, err := from.Read(b[:])
		if n > 0 {
			to.SetWriteDeadline(time.Now().Add(idle))
			if _, writeErr := to.Write(b[:n]); writeErr != nil {
				from.Close()
				return
			}
		}
		if err == nil {
			continue
		}
		if half, ok := to.(interface{ CloseWrite() error }); ok && isEnd(err) {
			half.CloseWrite()
			return
		}
		to.Close()
		from.Close()
		return
	}
}
