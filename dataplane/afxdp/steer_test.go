package afxdp

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
)

// The site of the steering tests. VIPs are "held" in userspace, svc addresses
// are on an interface and only their services are ours.
var (
	svc4, svc6   = ip("10.0.0.80"), ip("2001:db8::80")
	all4         = ip("10.0.0.81") // a service for the whole address
	real4, real6 = ip("192.168.5.11"), ip("2001:db8:5::11")
	host4, host6 = ip("10.0.0.1"), ip("2001:db8::1")
	held4, held6 = testVIP, ip("2001:db8::9")
	cli4, cli6   = testClient, ip("2001:db8:c::1")
	strange4     = ip("10.7.7.7")
	mcast6       = ip("ff02::1:ff00:9")
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func siteRules() Rules {
	return Rules{
		Services: []Rule{
			{svc4, 80, 6}, {svc4, 53, 17}, {svc4, 0, 132}, {all4, 0, 0}, {svc6, 80, 6}, {svc6, 53, 17},
		},
		Replies: []Rule{{real4, 8080, 6}, {real4, 53, 17}, {real4, 0, 4}, {real6, 8080, 6}},
		VIPs:    []netip.Addr{held4, held6},
		Locals:  []netip.Addr{host4, host6, svc4, svc6, all4},
		Probes: Probes{
			Sources: []netip.Addr{host4, host6}, VIPs: []netip.Addr{svc4, svc6, held4},
		},
	}
}

var (
	macUs    = [6]byte{2, 0, 0, 0, 0, 1}
	macThem  = [6]byte{2, 0, 0, 0, 0, 2}
	macGroup = [6]byte{0x33, 0x33, 0, 0, 0, 1}
)

func f4(payload []byte) []byte { return join(ether(macUs, macThem, 0x0800), payload) }
func f6(payload []byte) []byte { return join(ether(macUs, macThem, 0x86dd), payload) }

func tcp(sport, dport uint16) []byte { return append(l4(sport, dport, ""), make([]byte, 12)...) }

// plain4 and plain6 are packets without specialities.
func plain4(src, dst netip.Addr, proto uint8, l4 []byte) []byte {
	return ip4(src, dst, proto, l4, ipOpts{})
}

func tagged(tags []byte, payload []byte) []byte {
	return join(macUs[:], macThem[:], []byte{0x81, 0}, tags, payload)
}

// steerCase is one frame and the counter it must raise.
type steerCase struct {
	name string
	in   []byte
	want string
}

func icmp4(src, dst netip.Addr, typ uint8, inner []byte) []byte {
	return f4(plain4(src, dst, 1, icmp(typ, 1, inner)))
}

func icmp6(src, dst netip.Addr, typ uint8, inner []byte) []byte {
	return f6(ip6(src, dst, 58, icmp(typ, 0, inner)))
}

func cases4() []steerCase {
	frag := func(dst netip.Addr, proto uint8, at uint16) []byte {
		return f4(ip4(cli4, dst, proto, tcp(1, 80), ipOpts{frag: at}))
	}
	return []steerCase{
		{"tcp to a service", f4(plain4(cli4, svc4, 6, tcp(999, 80))), "service"},
		{"tcp to another port (ssh)", f4(plain4(cli4, svc4, 6, tcp(999, 22))), "passed"},
		{"udp to a tcp port", f4(plain4(cli4, svc4, 17, l4(999, 80, ""))), "passed"},
		{"udp to a service", f4(plain4(cli4, svc4, 17, l4(999, 53, "q"))), "service"},
		{"sctp to every port", f4(plain4(cli4, svc4, 132, tcp(7, 4711))), "service"},
		{"whole address, gre", f4(plain4(cli4, all4, 47, make([]byte, 4))), "service"},
		{"whole address, icmp echo", icmp4(cli4, all4, 8, nil), "service"},
		{"to a stranger", f4(plain4(cli4, strange4, 6, tcp(999, 80))), "passed"},
		{"IP options before the ports", f4(ip4(cli4, svc4, 6, tcp(999, 80), ipOpts{options: 10})), "service"},
		{"DF set", f4(ip4(cli4, svc4, 6, tcp(999, 80), ipOpts{frag: 0x4000})), "service"},
		{"first fragment to a service", frag(svc4, 6, 0x2000), "service"},
		{"first fragment to another port", f4(ip4(cli4, svc4, 6, tcp(1, 22), ipOpts{frag: 0x2000})), "passed"},
		{"later fragment to a service", frag(svc4, 6, 0x2005), "fragment"},
		{"last fragment to a service", frag(svc4, 17, 5), "fragment"},
		{"later fragment, protocol without service", frag(svc4, 47, 5), "passed"},
		{"later fragment to a stranger", frag(strange4, 6, 5), "passed"},
		{"later fragment, whole address", frag(all4, 47, 5), "fragment"},
		{"NAT reply", f4(plain4(real4, cli4, 6, tcp(8080, 999))), "reply"},
		{"other port of a real server", f4(plain4(real4, cli4, 6, tcp(22, 999))), "passed"},
		{"health check's answer", f4(plain4(real4, host4, 6, tcp(8080, 999))), "passed"},
		{"real server as a client of a service", f4(plain4(real4, svc4, 6, tcp(8080, 80))), "service"},
		{"later fragment of a NAT reply", f4(ip4(real4, cli4, 17, tcp(1, 1), ipOpts{frag: 5})), "fragment"},
		{"later fragment to this host", f4(ip4(real4, host4, 17, tcp(1, 1), ipOpts{frag: 5})), "passed"},
		{"real server to a group", join(ether([6]byte{1, 0, 0x5e, 0, 0, 1}, macThem, 0x0800),
			plain4(real4, ip("224.0.0.1"), 6, tcp(8080, 1))), "passed"},
		{"tcp to a held VIP", f4(plain4(cli4, held4, 6, tcp(999, 22))), "vip"},
		{"echo to a held VIP", icmp4(cli4, held4, 8, nil), "vip"},
		{"fragment to a held VIP", frag(held4, 17, 5), "vip"},
		{"echo to a service's address", icmp4(cli4, svc4, 8, nil), "passed"},
		{"VRRP", f4(plain4(ip("10.0.0.2"), ip("224.0.0.18"), 112, make([]byte, 20))), "passed"},
	}
}

func casesICMP4() []steerCase {
	inner := func(src, dst netip.Addr, proto uint8, sport, dport uint16) []byte {
		return plain4(src, dst, proto, l4(sport, dport, ""))
	}
	router := ip("10.66.0.1")
	return []steerCase{
		{"error about a service's answer", icmp4(router, svc4, 3, inner(svc4, cli4, 6, 80, 999)), "icmp"},
		{"error about the host's own answer", icmp4(router, svc4, 3, inner(svc4, cli4, 6, 22, 999)), "passed"},
		{"time exceeded about a NAT packet", icmp4(router, cli4, 11, inner(cli4, real4, 6, 999, 8080)), "icmp"},
		{"error from a NAT real server", icmp4(real4, cli4, 3, inner(cli4, real4, 17, 999, 53)), "icmp"},
		{"error about a NAT stranger", icmp4(router, cli4, 3, inner(cli4, real4, 6, 999, 22)), "passed"},
		{"error about a health check", icmp4(real4, host4, 3, inner(host4, real4, 6, 999, 8080)), "passed"},
		{"error about a tunnel", icmp4(router, host4, 3, inner(host4, real4, 4, 0, 0)), "icmp"},
		{"error about the host's ping", icmp4(real4, host4, 3, inner(host4, real4, 1, 0, 0)), "passed"},
		{"error about a held VIP's answer", icmp4(router, held4, 3, inner(held4, cli4, 6, 80, 9)), "vip"},
		{"redirect", icmp4(router, svc4, 5, inner(svc4, cli4, 6, 80, 999)), "passed"},
		{"inner header cut", icmp4(router, svc4, 3, inner(svc4, cli4, 6, 80, 999)[:19]), "passed"},
		{"inner ports cut", icmp4(router, svc4, 3, inner(svc4, cli4, 6, 80, 999)[:23]), "passed"},
		{"inner version wrong", icmp4(router, svc4, 3, ip6(svc6, cli6, 6, tcp(80, 9))), "passed"},
		{"inner later fragment", icmp4(router, svc4, 3, ip4(svc4, cli4, 6, tcp(80, 9), ipOpts{frag: 5})), "passed"},
	}
}

func casesProbe() []steerCase {
	inner := func(src, dst netip.Addr, sport, dport uint16) []byte {
		return plain4(src, dst, 17, l4(sport, dport, ""))
	}
	return []steerCase{
		{"DR's answer to a probe", f4(plain4(svc4, host4, 6, tcp(80, 61440))), "probe"},
		{"the last port", f4(plain4(svc4, host4, 17, l4(53, 61450, ""))), "probe"},
		{"a held VIP's answer to a probe", f4(plain4(held4, host4, 6, tcp(80, 61445))), "probe"},
		{"IPv6", f6(ip6(svc6, host6, 6, tcp(80, 61440))), "probe"},
		{"below the ports", f4(plain4(svc4, host4, 6, tcp(80, 61439))), "passed"},
		{"above the ports", f4(plain4(svc4, host4, 6, tcp(80, 61451))), "passed"},
		{"from a stranger", f4(plain4(strange4, host4, 6, tcp(80, 61440))), "passed"},
		{"a check of a real server's own address", f4(plain4(real4, host4, 6, tcp(8080, 61440))), "passed"},
		{"neither TCP nor UDP", f4(plain4(svc4, host4, 132, tcp(80, 61440))), "passed"},
		{"a later fragment", f4(ip4(svc4, host4, 17, tcp(80, 61440), ipOpts{frag: 5})), "passed"},
		{"NAT's answer to a probe", f4(plain4(real4, ip("192.0.0.8"), 6, tcp(8080, 61440))), "reply"},
		{"NAT's answer to a probe, IPv6", f6(ip6(real6, ip("100::8"), 6, tcp(8080, 61440))), "reply"},
		{"a client at such a port of the VIP", f4(plain4(cli4, svc4, 6, tcp(8080, 61440))), "passed"},
		{"error about a DR probe", icmp4(real4, host4, 3, inner(host4, svc4, 61440, 53)), "icmp"},
		{"error about a NAT probe", icmp4(real4, ip("192.0.0.8"), 3, inner(ip("192.0.0.8"), real4, 61440, 53)), "icmp"},
		{"error about the host's own", icmp4(real4, host4, 3, inner(host4, svc4, 50000, 53)), "passed"},
	}
}

func casesLink() []steerCase {
	web := plain4(cli4, svc4, 6, tcp(999, 80))
	bc := [6]byte{255, 255, 255, 255, 255, 255}
	a := func(op uint16, s, t netip.Addr) []byte { return join(ether(bc, macThem, 0x0806), arp(op, s, t)) }
	short := a(1, cli4, held4)
	bad := append([]byte(nil), short...)
	bad[18] = 8 // hardware address length
	return []steerCase{
		{"one tag", tagged(vlan(5, 0x0800), web), "service"},
		{"one tag, IPv6", tagged(vlan(5, 0x86dd), ip6(cli6, svc6, 6, tcp(9, 80))), "service"},
		{"two tags", tagged(join(vlan(5, 0x8100), vlan(6, 0x0800)), web), "passed"},
		{"tag cut", tagged(vlan(5, 0x0800)[:2], nil), "passed"},
		{"ARP request for a held VIP", short, "neighbour"},
		{"tagged ARP request", tagged(vlan(5, 0x0806), arp(1, cli4, held4)), "neighbour"},
		{"ARP request for a service's address", a(1, cli4, svc4), "passed"},
		{"gratuitous ARP request for a held VIP", a(1, held4, held4), "neighbour"},
		{"ARP reply naming a held VIP", a(2, held4, cli4), "neighbour"},
		{"ARP reply from a neighbour", a(2, cli4, host4), "passed"},
		{"ARP request asked in a VIP's name", a(1, held4, host4), "passed"},
		{"ARP cut", short[:41], "passed"},
		{"ARP of other lengths", bad, "passed"},
		{"LLDP", join(ether(macGroup, macThem, 0x88cc), make([]byte, 46)), "passed"},
		{"802.1ad", join(ether(macUs, macThem, 0x88a8), vlan(5, 0x0800), web), "passed"},
		{"IPv4 header cut", f4(web[:19]), "passed"},
		{"ports cut", f4(web[:23]), "passed"},
		{"IHL below 5", f4(append([]byte{0x44}, web[1:]...)), "passed"},
		{"version 5", f4(append([]byte{0x55}, web[1:]...)), "passed"},
		{"IPv6 header cut", f6(ip6(cli6, svc6, 6, tcp(9, 80))[:39]), "passed"},
	}
}

func cases6() []steerCase {
	web := tcp(999, 80)
	to := func(next uint8, payload ...[]byte) []byte { return f6(ip6(cli6, svc6, next, join(payload...))) }
	long := make([][]byte, 0, 8)
	for range 7 {
		long = append(long, ext(60, 0))
	}
	return []steerCase{
		{"v6 tcp to a service", to(6, web), "service"},
		{"v6 tcp to another port", to(6, tcp(999, 22)), "passed"},
		{"v6 udp to a service", to(17, l4(999, 53, "")), "service"},
		{"v6 behind hop-by-hop", to(0, ext(6, 0), web), "service"},
		{"v6 behind three headers", to(0, ext(43, 1), ext(60, 2), ext(6, 0), web), "service"},
		{"v6 behind too many headers", to(60, append(long, ext(6, 0), web)...), "passed"},
		{"v6 extension header lies", to(0, ext(6, 0)[:1], []byte{200, 0, 0, 0, 0, 0, 0}, web), "passed"},
		{"v6 extension header cut", to(0, []byte{6, 0, 0}), "passed"},
		{"v6 first fragment", to(44, frag6(6, 0, true), web), "service"},
		{"v6 later fragment", to(44, frag6(6, 100, false), web), "fragment"},
		{"v6 later fragment, no such service", to(44, frag6(132, 100, false), web), "passed"},
		{"v6 NAT reply", f6(ip6(real6, cli6, 6, tcp(8080, 999))), "reply"},
		{"v6 health check's answer", f6(ip6(real6, host6, 6, tcp(8080, 999))), "passed"},
		{"v6 later fragment of a NAT reply", f6(ip6(real6, cli6, 44, join(frag6(6, 9, true), web))), "fragment"},
		{"v6 to a held VIP", f6(ip6(cli6, held6, 6, tcp(1, 22))), "vip"},
		{"v6 echo to a held VIP", icmp6(cli6, held6, 128, nil), "vip"},
		{"v6 echo to a service's address", icmp6(cli6, svc6, 128, nil), "passed"},
		{"NS for a held VIP", icmp6(cli6, mcast6, 135, held6.AsSlice()), "neighbour"},
		{"NS for the host", icmp6(cli6, mcast6, 135, host6.AsSlice()), "passed"},
		{"NA claiming a held VIP", icmp6(cli6, ip("ff02::1"), 136, held6.AsSlice()), "neighbour"},
		{"NS cut", icmp6(cli6, mcast6, 135, held6.AsSlice()[:15]), "passed"},
		{"router advertisement", icmp6(cli6, ip("ff02::1"), 134, make([]byte, 24)), "passed"},
		{"too big about a service", icmp6(host6, svc6, 2, ip6(svc6, cli6, 6, tcp(80, 9))), "icmp"},
		{"error behind a header", f6(ip6(host6, svc6, 60, join(ext(58, 0),
			icmp(1, 0, ip6(svc6, cli6, 60, join(ext(6, 0), tcp(80, 9))))))), "icmp"},
		{"unreachable about NAT", icmp6(real6, cli6, 1, ip6(cli6, real6, 6, tcp(9, 8080))), "icmp"},
		{"error about a health check v6", icmp6(real6, host6, 1, ip6(host6, real6, 6, tcp(9, 8080))), "passed"},
		{"inner of the other family", icmp6(host6, svc6, 1, plain4(svc4, cli4, 6, tcp(80, 9))), "passed"},
		{"real server's NS to a group", join(ether(macGroup, macThem, 0x86dd),
			ip6(real6, mcast6, 58, icmp(135, 0, host6.AsSlice()))), "passed"},
	}
}

// loadForTest loads a program with the site's rules, attached to nothing.
func loadForTest(t testing.TB) (*Steering, *Attachment) {
	t.Helper()
	st, err := LoadSteering(SteeringOptions{MaxServices: 64, MaxQueues: 4, ProbePorts: [2]uint16{61440, 61450}})
	need(t, "afxdp", err)
	t.Cleanup(func() { st.Close() })
	objs, err := st.program(nil)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { objs.Close() })
	return st, &Attachment{Interface: Interface{Name: "test"}, s: st, objs: objs}
}

// decision runs the program on a frame and names the counter it raised, and
// returns what the program returned.
func decision(t testing.TB, a *Attachment, frame []byte) (string, uint32) {
	t.Helper()
	before := counts(t, a)
	ret, err := a.objs.UlvsSteer.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	after := counts(t, a)
	if after["seen"] != before["seen"]+1 {
		t.Errorf("seen went from %d to %d", before["seen"], after["seen"])
	}
	for name, n := range after {
		if name != "seen" && n != before[name] {
			return name, ret
		}
	}
	return "nothing", ret
}

func counts(t testing.TB, a *Attachment) map[string]uint64 {
	t.Helper()
	s, err := a.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]uint64{
		"seen": s.Seen, "passed": s.Passed, "service": s.Service, "reply": s.Reply, "fragment": s.Fragment,
		"icmp": s.ICMP, "vip": s.VIP, "neighbour": s.Neighbour, "probe": s.Probe, "no socket": s.NoSocket,
	}
}
