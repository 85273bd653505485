package health

import (
	"context"
	"net"
	"net/netip"

	"ulvs/lvs"
)

// Target is where a probe goes.
type Target struct {
	Service lvs.ServiceKey
	Real    netip.AddrPort // the real server as configured
	Method  lvs.Method     // how clients' packets reach it
	Via     Via
	// Address is what the connection is made to: via address the real server (or connect_ip and
	// connect_port), via path the VIP with the port that clients use (or connect_port).
	Address netip.AddrPort
	// Server is, via path, where the forwarder has to deliver the packets: the real server, with
	// the port that it receives them on. DR and TUN do not change the port, so it equals
	// that of Address.
	Server netip.AddrPort
	BindTo netip.Addr // invalid: the dialer chooses the source address
}

// TargetOf returns where a resolved check of a real server connects to.
func TargetOf(s *Spec, service lvs.ServiceKey, real netip.AddrPort, method lvs.Method) Target {
	t := Target{Service: service, Real: real, Method: method, Via: s.Via, BindTo: s.BindTo, Address: real}
	if s.ConnectPort != 0 {
		t.Address = netip.AddrPortFrom(real.Addr(), s.ConnectPort)
	}
	if s.ConnectIP.IsValid() {
		t.Address = netip.AddrPortFrom(s.ConnectIP, t.Address.Port())
	}
	if s.Via != ViaPath {
		return t
	}
	t.Server = t.Address
	port := service.Port
	if port == 0 || method != lvs.MethodNAT {
		port = t.Server.Port()
	}
	t.Address = netip.AddrPortFrom(service.Addr, port)
	return t
}

// Direct returns the same target by the real server's own address: the diagnosis of a path.
func (t Target) Direct() Target {
	t.Via, t.Address, t.Server = ViaAddress, t.Server, netip.AddrPort{}
	return t
}

// Dialer connects probes with real servers. network is "tcp" or "udp". Errors wrap what the
// kernel would say, where there is such a word: syscall.ECONNREFUSED, EHOSTUNREACH,
// ENETUNREACH, ETIMEDOUT; context.DeadlineExceeded when ctx ends first. A udp connection
// returns ECONNREFUSED from Read or Write after an ICMP error. It is called concurrently.
type Dialer interface {
	DialContext(ctx context.Context, network string, t Target) (net.Conn, error)
}

// AddressDialer connects to Target.Address through the kernel.
type AddressDialer struct{}

// DialContext implements Dialer.
func (AddressDialer) DialContext(ctx context.Context, network string, t Target) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	if t.BindTo.IsValid() {
		bind := netip.AddrPortFrom(t.BindTo, 0)
		d.LocalAddr = net.TCPAddrFromAddrPort(bind)
		if network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(bind)
		}
	}
	return d.DialContext(ctx, network, t.Address.String())
}

// SplitDialer sends probes via path through Path and all others through Address.
type SplitDialer struct{ Path, Address Dialer }

// DialContext implements Dialer.
func (s SplitDialer) DialContext(ctx context.Context, network string, t Target) (net.Conn, error) {
	if t.Via == ViaPath {
		return s.Path.DialContext(ctx, network, t)
	}
	return s.Address.DialContext(ctx, network, t)
}
