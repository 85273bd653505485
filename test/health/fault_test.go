package health

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"ulvs/control"
	"ulvs/decap"
	"ulvs/events"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
)

func joinPort(a netip.Addr) string { return netip.AddrPortFrom(a, lab.PortHTTP).String() }

func (s *site) vip(m lvs.Method, v6 bool) netip.AddrPort {
	a := s.Addresses()
	return netip.AddrPortFrom(a.VIP(m).Family(v6), lab.PortHTTP)
}

// fault is something that goes wrong with a real server, and how it has to be found.
type fault struct {
	name    string
	inject  func(s *site, r lab.Real) error
	heal    func(s *site, r lab.Real) error
	methods []lvs.Method // whose services lose the real server; the others must not
	reasons []string     // how the event begins; one of them
}

func TestBrokenRealServersAreFoundNamedAndUsedAgain(t *testing.T) {
	s := newSite(t, "")
	victim := s.Addresses().Reals[1]
	for _, f := range []fault{
		{"web server killed", killWeb, restartWeb, methods(), []string{"connection refused"}},
		{"link cut", linkDown, linkUp, methods(), []string{"timeout", "unreachable"}},
		{"VIP missing on lo", dropVIP, addVIP, []lvs.Method{lvs.MethodDR},
			[]string{"answers on its own address but not on the VIP: VIP missing on lo?"}},
		{"gateway changed", wrongGateway, rightGateway, []lvs.Method{lvs.MethodNAT},
			[]string{"answers on its own address but not through the director: default gateway not the director?"}},
		{"decapsulation removed", stopDecap, startDecap, []lvs.Method{lvs.MethodTUN},
			[]string{"answers on its own address but not through the tunnel: decapsulation or VIP missing?"}},
	} {
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) {
			s.t = t
			s.breaks(&f, victim)
		})
	}
}

// breaks injects the fault, and wants it found, named, without clients, and over when it is healed.
func (s *site) breaks(f *fault, victim lab.Real) {
	t := s.t
	before := s.clients(victim.Name)
	for svc, n := range before {
		if n != 10 {
			t.Fatalf("before: %s sent %d of 30 clients to %s, rr shares equally", svc, n, victim.Name)
		}
	}
	want := s.services(f.methods)
	began := time.Now()
	must(t, f.inject(s, victim))
	s.awaitEvents(events.ServerDown, victim, began, want)
	for svc, e := range s.happened(events.ServerDown, victim, began) {
		t.Logf("%s: %v: %s", svc, e.Time.Sub(began).Round(time.Millisecond), e.Reason)
		if named := slices.ContainsFunc(f.reasons, func(r string) bool { return strings.HasPrefix(e.Reason, r) }); !named {
			s.awaitNamed(svc, victim, f.reasons) // a busy machine had no time to ask the server itself
		}
	}
	s.awaitUsed(victim, false, want)
	for svc, n := range s.clients(victim.Name) {
		if lost := slices.Contains(want, svc); n > 0 && lost || n != 10 && !lost {
			t.Errorf("%s sent %d of 30 clients to %s", svc, n, victim.Name)
		}
	}
	healed := time.Now()
	must(t, f.heal(s, victim))
	s.awaitEvents(events.ServerUp, victim, healed, want)
	s.awaitUsed(victim, true, want)
	if got := slices.Sorted(maps.Keys(s.happened(events.ServerDown, victim, began))); !slices.Equal(got, want) {
		t.Errorf("down were %q, want %q", got, want)
	}
	for svc, n := range s.clients(victim.Name) {
		if n != 10 {
			t.Errorf("after: %s sent %d of 30 clients to %s, rr shares equally", svc, n, victim.Name)
		}
	}
}

// awaitNamed waits until a check of a service's real server says one of the reasons.
func (s *site) awaitNamed(service string, real lab.Real, reasons []string) {
	s.t.Helper()
	own := []string{joinPort(real.Addr.IPv4), joinPort(real.Addr.IPv6)}
	named := func(c control.CheckHealth) bool {
		return slices.ContainsFunc(reasons, func(r string) bool { return strings.HasPrefix(c.Last, r) })
	}
	testutil.Await(s.t, fmt.Sprintf("%s of %s to be named, one of %q", real.Name, service, reasons), func() bool {
		list, err := s.client.Health(context.Background())
		for _, svc := range list {
			for _, r := range svc.RealServers {
				if svc.Service == service && slices.Contains(own, r.Address.String()) && slices.ContainsFunc(r.Checks, named) {
					return err == nil
				}
			}
		}
		return false
	})
}

// services names the services of methods, sorted.
func (s *site) services(list []lvs.Method) (names []string) {
	for _, m := range list {
		for _, v6 := range []bool{false, true} {
			names = append(names, "tcp "+s.vip(m, v6).String())
		}
	}
	slices.Sort(names)
	return names
}

func (s *site) awaitEvents(kind events.Kind, victim lab.Real, since time.Time, services []string) {
	s.t.Helper()
	testutil.Await(s.t, fmt.Sprintf("%s of %s at %q", kind, victim.Name, services), func() bool {
		got := s.happened(kind, victim, since)
		return !slices.ContainsFunc(services, func(svc string) bool { return got[svc].Kind == "" })
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func killWeb(s *site, r lab.Real) error {
	_ = s.nginx[r.Name].end(syscall.SIGKILL)
	return nil
}

func restartWeb(s *site, r lab.Real) error {
	s.startNginx(r.Name)
	return nil
}

// linkDown pulls the plug at the switch.
func linkDown(s *site, r lab.Real) error {
	return s.onLink("sw1", r.Name+"-e0", netlink.LinkSetDown)
}

func linkUp(s *site, r lab.Real) error { return s.onLink("sw1", r.Name+"-e0", netlink.LinkSetUp) }

// onLink does something to a link in a namespace.
func (s *site) onLink(ns, name string, fn func(netlink.Link) error) error {
	return s.Do(ns, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return fn(link)
	})
}

// dropVIP is the colleague who restarted the network and forgot lo:0.
func dropVIP(s *site, r lab.Real) error { return s.onVIP(r, netlink.AddrDel) }

func addVIP(s *site, r lab.Real) error { return s.onVIP(r, netlink.AddrAdd) }

func (s *site) onVIP(r lab.Real, fn func(netlink.Link, *netlink.Addr) error) error {
	return s.onLink(r.Name, "lo", func(lo netlink.Link) (err error) {
		vip := s.Addresses().DR
		for _, a := range []netip.Addr{vip.IPv4, vip.IPv6} {
			whole := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
			err = errors.Join(err, fn(lo, &netlink.Addr{IPNet: whole}))
		}
		return err
	})
}

// wrongGateway sends what leaves the real server by the site's router instead of the director.
func wrongGateway(s *site, r lab.Real) error { return s.setGateway(r, s.Addresses().GatewayServer) }

func rightGateway(s *site, r lab.Real) error {
	return s.setGateway(r, s.Addresses().Directors[0].Server)
}

func (s *site) setGateway(r lab.Real, via lab.Dual) error {
	return s.onLink(r.Name, "e0", func(link netlink.Link) (err error) {
		for _, gw := range []netip.Addr{via.IPv4, via.IPv6} {
			all := &net.IPNet{IP: make(net.IP, gw.BitLen()/8), Mask: net.CIDRMask(0, gw.BitLen())}
			err = errors.Join(err, netlink.RouteReplace(&netlink.Route{
				LinkIndex: link.Attrs().Index, Dst: all, Gw: gw.AsSlice(),
			}))
		}
		return err
	})
}

// stopDecap takes away what unpacks tunnels on the real server.
func stopDecap(s *site, r lab.Real) error {
	return s.onLink(r.Name, "e0", func(link netlink.Link) error { return netlink.LinkSetXdpFd(link, -1) })
}

func startDecap(s *site, r lab.Real) error {
	return s.Do(r.Name, func() error { return decap.Attach("e0") })
}
