package realserver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Metrics of our default routes: IPv4's takes the place of one that has none, IPv6's is before every other.
const (
	metric4 = 0
	metric6 = 1
)

// rulePriority places rules for replies before the main table (32766).
const rulePriority = 7300

// savedRoute is a route in the journal.
type savedRoute struct {
	Dst      netip.Prefix `json:"dst"`
	Gateway  netip.Addr   `json:"gateway,omitzero"`
	Source   netip.Addr   `json:"source,omitzero"`
	Link     string       `json:"link,omitempty"`
	Table    int          `json:"table"`
	Metric   int          `json:"metric"`
	Protocol int          `json:"protocol,omitempty"`
	Scope    int          `json:"scope,omitempty"`
	Flags    int          `json:"flags,omitempty"`
}

// route returns it for the kernel.
func (s *savedRoute) route() (*netlink.Route, error) {
	r := &netlink.Route{Dst: ipNet(s.Dst), Table: s.Table, Priority: s.Metric, Scope: netlink.Scope(s.Scope),
		Flags: s.Flags, Protocol: netlink.RouteProtocol(s.Protocol)}
	if s.Gateway.IsValid() {
		r.Gw = s.Gateway.AsSlice()
	}
	if s.Source.IsValid() {
		r.Src = s.Source.AsSlice()
	}
	if s.Link != "" {
		link, err := netlink.LinkByName(s.Link)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", s.Link, err)
		}
		r.LinkIndex = link.Attrs().Index
	}
	return r, nil
}

// save is route's inverse, as far as default routes go.
func save(r *netlink.Route, dst netip.Prefix) *savedRoute {
	s := &savedRoute{Dst: dst, Table: r.Table, Metric: r.Priority, Protocol: int(r.Protocol), Scope: int(r.Scope),
		Flags: r.Flags & unix.RTNH_F_ONLINK}
	s.Gateway = fromSlice(r.Gw)
	s.Source = fromSlice(r.Src)
	if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
		s.Link = link.Attrs().Name
	}
	return s
}

func fromSlice(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// routePart is the host route to the VIP. The kernel's local table has one with the address; this is the
// one of the operators' notes, by which people see that the VIP is at home here.
func routePart(vip netip.Addr) part {
	p := netip.PrefixFrom(vip, 32)
	id := "route:" + vip.String()
	return part{
		id: id, what: fmt.Sprintf("route to %v by lo", p),
		look: func() ([]Finding, error) {
			routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4,
				&netlink.Route{Table: unix.RT_TABLE_MAIN, Dst: ipNet(p)}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
			if err != nil || len(routes) > 0 {
				return nil, err
			}
			return []Finding{{Code: CodeRouteMissing, Subject: vip.String(), Problem: "no host route to the VIP by lo",
				Remedy: fmt.Sprintf("ip route add %v dev lo", p)}}, nil
		},
		mend: func(j *journal) error {
			return addRoute(j, id, &savedRoute{Dst: p, Link: loopback, Table: unix.RT_TABLE_MAIN, Scope: unix.RT_SCOPE_LINK})
		},
	}
}

func addRoute(j *journal, id string, s *savedRoute) error {
	if err := j.note(change{ID: id, Kind: kindRoute, Route: s}); err != nil {
		return err
	}
	r, err := s.route()
	if err != nil {
		return err
	}
	if err := netlink.RouteReplace(r); err != nil {
		return fmt.Errorf("add route to %v: %w", s.Dst, err)
	}
	return nil
}

// anywhere is the default route's destination.
func anywhere(fam int) netip.Prefix {
	if fam == netlink.FAMILY_V4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// defaultRoute returns the one that the kernel takes, nil if there is none.
func defaultRoute(fam int) (best *netlink.Route, err error) {
	return defaultRouteOf(fam, unix.RT_TABLE_MAIN)
}

func defaultRouteOf(fam, table int) (best *netlink.Route, err error) {
	routes, err := netlink.RouteListFiltered(fam, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for i := range routes {
		r := &routes[i]
		if ones := 0; r.Dst != nil {
			if ones, _ = r.Dst.Mask.Size(); ones > 0 {
				continue
			}
		}
		if r.Type == unix.RTN_UNICAST && (best == nil || r.Priority < best.Priority) {
			best = r
		}
	}
	return best, nil
}

// defaultPart makes the director the default gateway, so that NAT's replies come back through it.
func defaultPart(gw netip.Addr) part {
	fam := family(gw)
	id := "gateway:" + gw.String()
	return part{
		id: id, what: fmt.Sprintf("default route by %v", gw),
		look: func() ([]Finding, error) { return lookDefault(gw) },
		mend: func(j *journal) error {
			link, err := linkTo(gw)
			if err != nil {
				return err
			}
			s := &savedRoute{Dst: anywhere(fam), Gateway: gw, Link: link, Table: unix.RT_TABLE_MAIN, Metric: metric4}
			if fam == netlink.FAMILY_V6 {
				s.Metric = metric6
			}
			old, err := defaultRoute(fam)
			if err != nil {
				return err
			}
			if old != nil && old.Priority == s.Metric {
				if err := j.note(change{ID: id, Kind: kindReplaced, Route: save(old, s.Dst)}); err != nil {
					return err
				}
			}
			return addRoute(j, id, s)
		},
	}
}

func lookDefault(gw netip.Addr) ([]Finding, error) {
	if f := lookReach(gw); f != nil {
		return []Finding{*f}, nil
	}
	best, err := defaultRoute(family(gw))
	if err != nil {
		return nil, err
	}
	f := Finding{Code: CodeGateway, Subject: gw.String(), Remedy: fmt.Sprintf("ip route replace default via %v", gw)}
	switch {
	case best == nil:
		f.Problem = "there is no default route: replies do not leave this host"
	case len(best.MultiPath) > 0:
		f.Code, f.Blocks = CodeGatewaySeveral, true
		f.Problem = "the default route has several gateways: only replies by the director get the VIP as their source"
	case fromSlice(best.Gw) != gw:
		f.Problem = fmt.Sprintf("the default route goes by %v, not by the director: clients get replies from this host's "+
			"own address and drop them", orNobody(fromSlice(best.Gw)))
	default:
		return nil, nil
	}
	return []Finding{f}, nil
}

func orNobody(a netip.Addr) string {
	if !a.IsValid() {
		return "nobody"
	}
	return a.String()
}

// lookReach finds a gateway that is no neighbour.
func lookReach(gw netip.Addr) *Finding {
	if _, err := linkTo(gw); err == nil {
		return nil
	}
	return &Finding{Code: CodeGatewayFar, Subject: gw.String(), Blocks: true,
		Problem: fmt.Sprintf("%v is on no network of this host: a gateway has to be on the same segment", gw),
		Remedy:  "put both into one VLAN, or use tun, which needs no common segment"}
}

var errNotNeighbour = errors.New("not a neighbour")

// linkTo is the interface on whose network the address is.
func linkTo(a netip.Addr) (string, error) {
	routes, err := netlink.RouteGet(a.AsSlice())
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(routes, func(r netlink.Route) bool { return r.Gw == nil && r.Type == unix.RTN_UNICAST })
	if i < 0 {
		return "", errNotNeighbour
	}
	link, err := netlink.LinkByIndex(routes[i].LinkIndex)
	if err != nil {
		return "", err
	}
	return link.Attrs().Name, nil
}
