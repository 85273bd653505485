package director

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"ulvs/dataplane"
	"ulvs/dataplane/afxdp"
	"ulvs/health"
	"ulvs/lvs"
	"ulvs/userstack"
)

// pathDialer implements health.Dialer: a probe goes to the VIP, through a worker, to one real server. Node and stack
// are set before checks begin.
type pathDialer struct {
	node  *Node
	stack *userstack.Stack

	mu sync.Mutex
	at map[lvs.ServiceKey]int // where a service was when it was last looked for
}

func newPathDialer() *pathDialer { return &pathDialer{at: map[lvs.ServiceKey]int{}} }

// DialContext implements health.Dialer.
func (p *pathDialer) DialContext(ctx context.Context, network string, t health.Target) (net.Conn, error) {
	if !p.node.hasPath(&t) {
		return health.AddressDialer{}.DialContext(ctx, network, t.Direct())
	}
	spec, err := p.spec(network, &t)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(t.Address), Err: err}
	}
	return p.stack.Dial(ctx, spec)
}

// hasPath reports whether a probe can take the clients' path. One to a server on this host has none to take. Through
// NAT answers come here from the real server's own port alone, and only if this director holds the VIP: they go
// where the answers to clients go.
func (n *Node) hasPath(t *health.Target) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if dataplane.OnThisHost(t.Real.Addr(), n.network.Locals()) {
		return false
	}
	return t.Method != lvs.MethodNAT || t.Server == t.Real && n.own.of(t.Address.Addr()) != HoldNone
}

// spec says how a probe goes: by the real server's method as it is configured now.
func (p *pathDialer) spec(network string, t *health.Target) (s dataplane.ProbeSpec, err error) {
	n := p.node
	n.mu.RLock()
	defer n.mu.RUnlock()
	d := p.configured(t)
	if d == nil {
		return s, fmt.Errorf("%s has no real server %s any more: %w", t.Service, t.Real, syscall.EADDRNOTAVAIL)
	}
	real := *d
	real.Port = t.Server.Port()
	s = dataplane.ProbeSpec{Proto: lvs.ProtoTCP, To: t.Address, Real: &real}
	if network == "udp" {
		s.Proto = lvs.ProtoUDP
	}
	key, source, ok := n.network.NextHop(real.Addr)
	if !ok {
		return s, fmt.Errorf("no route to %s by an interface of ours: %w", real.Addr, syscall.EHOSTUNREACH)
	}
	s.Source = source
	s.From = n.probeSource(t, key, source)
	if !s.From.IsValid() {
		return s, fmt.Errorf("no address of ours to check %s from: %w", t.Address, syscall.EADDRNOTAVAIL)
	}
	return s, nil
}

// What NAT real servers see probes come from: addresses that no host has and that routers discard, RFC 7600's
// dummy and one of RFC 6666's. The answer comes here by a real server's default gateway, as those to clients, or
// it comes nowhere. From the VIP or an address of ours it would find its way by any gateway.
var (
	noClient4 = netip.AddrFrom4([4]byte{192, 0, 0, 8})
	noClient6 = netip.AddrFrom16([16]byte{0: 1, 15: 8})
)

// probeSource is what a real server sees a probe come from. DR's and TUN's answers come directly, to our address
// towards the real server.
func (n *Node) probeSource(t *health.Target, key dataplane.HopKey, source netip.Addr) netip.Addr {
	vip := t.Address.Addr()
	switch {
	case t.BindTo.IsValid() && t.BindTo.Is4() == vip.Is4():
		return t.BindTo
	case t.Method == lvs.MethodNAT && vip.Is4():
		return noClient4
	case t.Method == lvs.MethodNAT:
		return noClient6
	case source.Is4() == vip.Is4():
		return source
	}
	port := n.network.Ports()[key.Port] // a tunnel of the other family
	if vip.Is4() {
		return port.IPv4
	}
	return port.IPv6
}

// configured returns the real server that a probe is for. The node must be locked.
func (p *pathDialer) configured(t *health.Target) *lvs.Destination {
	services := p.node.services
	p.mu.Lock()
	i, known := p.at[t.Service]
	p.mu.Unlock()
	if !known || i >= len(services) || services[i].Key != t.Service {
		i = slices.IndexFunc(services, func(s lvs.Service) bool { return s.Key == t.Service })
		if i < 0 {
			return nil
		}
		p.mu.Lock()
		p.at[t.Service] = i
		p.mu.Unlock()
	}
	for k := range services[i].Destinations {
		if d := &services[i].Destinations[k]; d.AddrPort() == t.Real {
			return d
		}
	}
	return nil
}

// probeSteering is what the XDP program takes of checks down the path of DR and TUN.
func (n *Node) probeSteering() (p afxdp.Probes) {
	if !n.opt.Probes {
		return p
	}
	for _, a := range n.network.Locals() {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			p.Sources = append(p.Sources, a)
		}
	}
	p.VIPs = n.vips()
	return p
}
