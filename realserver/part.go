package realserver

import (
	"net/netip"
	"slices"

	"ulvs/lvs"
)

// Finding is one thing that is not as a real server needs it.
type Finding struct {
	Code    string `json:"code"`    // stable; docs/realserver.md explains each
	Subject string `json:"subject"` // what it is about: a VIP, an interface
	Problem string `json:"problem"` // what is so, and what it does
	Remedy  string `json:"remedy"`  // what to type
	// Blocks marks what Setup refuses to change by itself: somebody else made it so.
	Blocks bool `json:"blocks,omitempty"`
}

// The codes of findings.
const (
	CodeVIPMissing     = "vip-missing"         // the VIP is on no interface
	CodeVIPElsewhere   = "vip-elsewhere"       // it is on one that faces the network
	CodeVIPMask        = "vip-mask"            // it is on lo with the mask of a network
	CodeVIPLocal       = "vip-local"           // nat: the VIP is this host's own
	CodeLoopbackDown   = "loopback-down"       // lo is down
	CodeRouteMissing   = "route-missing"       // no host route to the VIP
	CodeARPIgnore      = "arp-ignore"          // the host answers ARP for the VIP
	CodeARPAnnounce    = "arp-announce"        // the host announces the VIP by ARP
	CodeRPFilter       = "rp-filter"           // requests are dropped for their source address
	CodeDecapMissing   = "decap-missing"       // nothing unpacks tunnels
	CodeDecapForeign   = "decap-foreign"       // another XDP program is on the interface
	CodeGateway        = "gateway"             // replies do not go where they should
	CodeGatewayFar     = "gateway-unreachable" // the gateway is on no network of this host
	CodeGatewaySeveral = "gateway-several"     // the default route has several gateways
)

// part is one thing that a real server needs.
type part struct {
	id   string // names its changes in the journal; unique on a host
	what string // for people
	look func() ([]Finding, error)
	// mend makes it so. It tells the journal what undoes a change before it makes it.
	mend func(j *journal) error
}

// parts lists what c, resolved, needs, in the order in which it is set up: silent in ARP before the address is there.
func parts(c Config) (list []part) {
	if c.method() == lvs.MethodNAT {
		for _, vip := range c.VIPs {
			list = append(list, noVIPPart(vip))
		}
		for _, gw := range c.Gateways {
			list = append(list, defaultPart(gw))
		}
		return list
	}
	list = append(list, loopbackPart())
	if hasFamily(c.VIPs, true) {
		list = append(list, arpPart(arpIgnore), arpPart(arpAnnounce))
	}
	list = append(list, arrivalParts(c)...)
	for _, gw := range c.Gateways {
		list = append(list, tablePart(gw, c.Table))
	}
	for _, vip := range c.VIPs {
		list = append(list, vipPart(vip))
		if vip.Is4() {
			list = append(list, routePart(vip))
		}
		if slices.ContainsFunc(c.Gateways, func(gw netip.Addr) bool { return gw.Is4() == vip.Is4() }) {
			list = append(list, replyPart(vip, c.Table))
		}
	}
	return list
}

// arrivalParts let the director's packets in.
func arrivalParts(c Config) (list []part) {
	if c.method() == lvs.MethodTUN {
		list = decapParts(c)
	}
	if c.Interface != "" && hasFamily(c.VIPs, true) {
		list = append(list, arrivalFilterPart(c.Interface))
	}
	return list
}

func hasFamily(addrs []netip.Addr, v4 bool) bool {
	for _, a := range addrs {
		if a.Is4() == v4 {
			return true
		}
	}
	return false
}
