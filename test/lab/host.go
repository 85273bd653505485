package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/decap"
)

// vipTable is the real servers' routing table for packets that leave as a VIP or
// as the direct address: by the gateway. rulePriority places its rules before main.
const (
	vipTable     = 100
	rulePriority = 1000
)

// forever is an address's lifetime without end, in the kernel's seconds.
const forever = 1<<32 - 1

// anywhere are the default routes' destinations.
var anywhere = [2]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// sysctl is one setting, its key below /proc/sys/net.
type sysctl struct{ key, value string }

// baseSysctls hold in every namespace, set before it has links: addresses are usable
// at once, nobody listens to routers, and nothing reverse-path filters (replies
// as the VIP arrive at the gateway from the "wrong" side by design).
var baseSysctls = []sysctl{
	{"ipv6/conf/all/accept_dad", "0"}, {"ipv6/conf/default/accept_dad", "0"},
	{"ipv6/conf/all/accept_ra", "0"}, {"ipv6/conf/default/accept_ra", "0"},
	{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"},
	{"ipv4/conf/all/send_redirects", "0"}, {"ipv4/conf/default/send_redirects", "0"},
	{"ipv4/ip_forward", "0"}, {"ipv6/conf/all/forwarding", "0"},
}

// gatewaySysctls make the one router of the lab.
var gatewaySysctls = []sysctl{{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"}}

// realSysctls keep a real server silent about the VIPs on its loopback.
var realSysctls = []sysctl{
	{"ipv4/conf/lo/arp_ignore", "1"}, {"ipv4/conf/lo/arp_announce", "2"},
	{"ipv4/conf/all/arp_ignore", "1"}, {"ipv4/conf/all/arp_announce", "2"},
}

// configure gives every host its settings, addresses and routes.
func (l *Lab) configure(ctx context.Context) error {
	type host struct {
		name string
		set  func() error
	}
	hosts := []host{{"c1", l.setClient}, {"rt", l.setGateway}}
	for _, d := range l.addrs.Directors {
		hosts = append(hosts, host{d.Name, func() error { return l.setDirector(d) }})
	}
	for _, r := range l.addrs.Reals {
		hosts = append(hosts, host{r.Name, func() error { return l.setReal(r) }})
	}
	for _, h := range hosts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.Do(h.name, h.set); err != nil {
			return fmt.Errorf("set up %s: %w", l.Netns(h.name), err)
		}
	}
	return nil
}

func (l *Lab) setClient() error {
	if err := addAddrs(clientLink, l.addrs.Clients[0].prefixes()); err != nil {
		return err
	}
	for _, c := range l.addrs.Clients[1:] {
		if err := addSpare(clientLink, c.prefixes()); err != nil {
			return err
		}
	}
	// The server side is another network, so everything but the VIPs goes by the gateway.
	return addDefault(clientLink, l.addrs.GatewayClient, unix.RT_TABLE_MAIN)
}

func (l *Lab) setGateway() error {
	if err := setSysctls(gatewaySysctls); err != nil {
		return err
	}
	if err := addAddrs(clientLink, l.addrs.GatewayClient.prefixes()); err != nil {
		return err
	}
	return addAddrs(serverLink, l.addrs.GatewayServer.prefixes())
}

// setDirector gives the director addresses and nothing that forwards. It has no
// default route either: both sides are its neighbours.
func (l *Lab) setDirector(d Director) error {
	if err := addAddrs(l.directorLink(clientLink, ClientVLAN), d.Client.prefixes()); err != nil {
		return err
	}
	return addAddrs(l.directorLink(serverLink, ServerVLAN), d.Server.prefixes())
}

// directorLink is the director's interface that has the addresses.
func (l *Lab) directorLink(name string, vlan int) string {
	if !l.opts.VLAN {
		vlan = 0
	}
	return vlanName(name, vlan)
}

// setReal makes a real server as the operators' notes say: the VIPs of DR and TUN
// on lo with a full mask, silent about them in ARP; the director is the default gateway
// for NAT. IPv6 needs no sysctl: it answers for an address on its own link only.
func (l *Lab) setReal(r Real) error {
	if l.opts.Bare {
		return l.setBare(r)
	}
	if err := setSysctls(realSysctls); err != nil {
		return err
	}
	for _, vip := range []Dual{l.addrs.DR, l.addrs.TUN} {
		if err := addAddrs("lo", vip.hostRoutes()); err != nil {
			return err
		}
	}
	if err := addAddrs(realLink, r.Addr.prefixes()); err != nil {
		return err
	}
	if err := addSpare(realLink, r.Direct.prefixes()); err != nil {
		return err
	}
	if err := addDefault(realLink, l.addrs.Directors[0].Server, unix.RT_TABLE_MAIN); err != nil {
		return err
	}
	if err := addDefault(realLink, l.addrs.GatewayServer, vipTable); err != nil {
		return err
	}
	for _, from := range append(l.addrs.DR.networks(), r.Direct.hostRoutes()...) {
		if err := addRule(from, vipTable); err != nil {
			return err
		}
	}
	return decap.Attach(realLink)
}

// setBare gives a host its address and the way out.
func (l *Lab) setBare(r Real) error {
	if err := addAddrs(realLink, r.Addr.prefixes()); err != nil {
		return err
	}
	return addDefault(realLink, l.addrs.GatewayServer, unix.RT_TABLE_MAIN)
}

func setSysctls(list []sysctl) error {
	for _, s := range list {
		if err := setSysctl(s.key, s.value); err != nil {
			return err
		}
	}
	return nil
}

func addAddrs(link string, prefixes []netip.Prefix) error {
	return addEach(link, prefixes, netlink.Addr{})
}

// addSpare adds addresses that are answered on and never chosen as a source.
func addSpare(link string, prefixes []netip.Prefix) error {
	return addEach(link, prefixes, netlink.Addr{ValidLft: forever, PreferedLft: 0})
}

// addEach adds the addresses with the lifetimes of like.
func addEach(link string, prefixes []netip.Prefix, like netlink.Addr) error {
	dev, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("find %s: %w", link, err)
	}
	for _, p := range prefixes {
		addr := &like
		addr.IPNet, addr.Flags = ipNet(p), addrFlags(p)
		if err := netlink.AddrAdd(dev, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", p, link, err)
		}
	}
	return nil
}

// addrFlags leaves duplicate address detection out: nobody else is there, and it
// would keep the address unusable for a second.
func addrFlags(p netip.Prefix) int {
	if p.Addr().Is6() {
		return unix.IFA_F_NODAD
	}
	return 0
}

// addDefault adds both families' default route by way of via.
func addDefault(link string, via Dual, table int) error {
	dev, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("find %s: %w", link, err)
	}
	for i, gw := range []netip.Addr{via.IPv4, via.IPv6} {
		route := &netlink.Route{
			LinkIndex: dev.Attrs().Index, Table: table, Dst: ipNet(anywhere[i]), Gw: gw.AsSlice(),
		}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("default route by %s in table %d: %w", gw, table, err)
		}
	}
	return nil
}

func addRule(from netip.Prefix, table int) error {
	rule := netlink.NewRule()
	rule.Family = unix.AF_INET
	if from.Addr().Is6() {
		rule.Family = unix.AF_INET6
	}
	rule.Src, rule.Table, rule.Priority = ipNet(from), table, rulePriority
	if err := netlink.RuleAdd(rule); err != nil {
		return fmt.Errorf("rule from %s to table %d: %w", from, table, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
