package lab

import (
	"fmt"
	"net/netip"

	"ulvs/lvs"
)

// The networks, from the ranges for benchmarks (RFC 2544), private use and
// documentation (RFC 3849). Every lab has the same: its namespaces are its own.
var (
	clientNet = Dual{netip.MustParsePrefix("198.18.0.0/24").Addr(), netip.MustParseAddr("2001:db8:c::")}
	serverNet = Dual{netip.MustParseAddr("10.18.1.0"), netip.MustParseAddr("2001:db8:5::")}
)

// Prefix lengths of both sides' networks.
const (
	bits4 = 24
	bits6 = 64
)

// Host numbers: the last byte of both families' addresses.
const (
	hostGateway  = 1
	hostDirector = 2 // d1, counting up
	hostClient   = 10
	numClients   = 10
	hostReal     = 11  // r1, counting up
	hostDirect   = 111 // r1, counting up
	hostVIP      = 100 // DR, then NAT, then TUN
)

// Dual is one host's IPv4 and IPv6 address.
type Dual struct {
	IPv4 netip.Addr `json:"ipv4"`
	IPv6 netip.Addr `json:"ipv6"`
}

// Family returns the IPv6 address if v6 is set, else the IPv4 one.
func (d Dual) Family(v6 bool) netip.Addr {
	if v6 {
		return d.IPv6
	}
	return d.IPv4
}

// host returns the address number n of the network d; n is at most 255.
func (d Dual) host(n int) Dual {
	a4, a6 := d.IPv4.As4(), d.IPv6.As16()
	a4[3], a6[15] = byte(n), byte(n)
	return Dual{netip.AddrFrom4(a4), netip.AddrFrom16(a6)}
}

// prefixes returns both addresses with their network's prefix length.
func (d Dual) prefixes() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(d.IPv4, bits4), netip.PrefixFrom(d.IPv6, bits6)}
}

// network returns both networks that the addresses are in.
func (d Dual) networks() []netip.Prefix {
	p := d.prefixes()
	return []netip.Prefix{p[0].Masked(), p[1].Masked()}
}

// hostRoutes returns both addresses as /32 and /128.
func (d Dual) hostRoutes() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(d.IPv4, 32), netip.PrefixFrom(d.IPv6, 128)}
}

// Director is where one director is reached.
type Director struct {
	Name   string `json:"name"`
	Client Dual   `json:"client"` // on its interface towards the clients
	Server Dual   `json:"server"` // on its interface towards the real servers
}

// Real is where one real server is reached.
type Real struct {
	Name   string `json:"name"`
	Addr   Dual   `json:"addr"`   // a director sends here; NAT replies leave through d1
	Direct Dual   `json:"direct"` // through the gateway's kernel both ways, no director
}

// Addresses is the address plan of one lab.
type Addresses struct {
	Clients       []Dual     `json:"clients"` // all on the client's one interface
	Directors     []Director `json:"directors"`
	Reals         []Real     `json:"real_servers"`
	GatewayClient Dual       `json:"gateway_client"`
	GatewayServer Dual       `json:"gateway_server"`
	DR            Dual       `json:"dr"` // the VIPs, one for each method
	NAT           Dual       `json:"nat"`
	TUN           Dual       `json:"tun"`
}

// VIP returns the VIP of the method's services.
func (a *Addresses) VIP(m lvs.Method) Dual {
	switch m {
	case lvs.MethodNAT:
		return a.NAT
	case lvs.MethodTUN:
		return a.TUN
	}
	return a.DR
}

// plan numbers everybody.
func plan(o Options) Addresses {
	a := Addresses{
		GatewayClient: clientNet.host(hostGateway),
		GatewayServer: serverNet.host(hostGateway),
		DR:            clientNet.host(hostVIP),
		NAT:           clientNet.host(hostVIP + 1),
		TUN:           clientNet.host(hostVIP + 2),
	}
	for i := range numClients {
		a.Clients = append(a.Clients, clientNet.host(hostClient+i))
	}
	for i := range o.Directors {
		n := hostDirector + i
		a.Directors = append(a.Directors, Director{fmt.Sprintf("d%d", i+1), clientNet.host(n), serverNet.host(n)})
	}
	for i := range o.RealServers {
		a.Reals = append(a.Reals, Real{
			Name: fmt.Sprintf("r%d", i+1), Addr: serverNet.host(hostReal + i), Direct: serverNet.host(hostDirect + i),
		})
	}
	return a
}
