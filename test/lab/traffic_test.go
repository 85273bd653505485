package lab_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ulvs/decap"
	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
	"ulvs/test/lab/labtest"
)

func onOwnThread(fn func() error) error {
	runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
	return fn()
}

var families = []struct {
	name string
	v6   bool
}{{"IPv4", false}, {"IPv6", true}}

func TestRealServersAreReachableDirectly(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-direct"})
	labtest.Serve(t, l)
	for i, f := range families {
		for _, r := range l.Addresses().Reals {
			checkAnswers(t, l, r, r.Direct.Family(f.v6), lab.LoadOptions{Kind: lab.KindHTTP, Connections: 3, Requests: 2})
		}
		r := l.Addresses().Reals[i]
		for _, o := range []lab.LoadOptions{
			{Kind: lab.KindHTTP, Download: 1 << 20}, {Kind: lab.KindHTTP, Upload: 1 << 20},
			{Kind: lab.KindTCP, Upload: 1 << 20, Requests: 2},
			{Kind: lab.KindUDP, Upload: 1000, Connections: 4, Requests: 5},
		} {
			checkAnswers(t, l, r, r.Direct.Family(f.v6), o)
		}
	}
}

// checkAnswers wants every answer at the address to come from one real server.
func checkAnswers(t *testing.T, l *lab.Lab, r lab.Real, addr netip.Addr, o lab.LoadOptions) {
	t.Helper()
	o.Target = netip.AddrPortFrom(addr, lab.PortEcho)
	if o.Kind == lab.KindHTTP {
		o.Target = netip.AddrPortFrom(addr, lab.PortHTTP)
	}
	report := labtest.Load(t, l, o)
	if n := report.ByRealServer[r.Name]; n != report.OK {
		t.Errorf("%s %s: answers from %v, want all %d from %s", o.Kind, o.Target, report.ByRealServer, report.OK, r.Name)
	}
}

func TestAThousandConnectionsAtOnce(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-1000", RealServers: 1})
	labtest.Serve(t, l)
	report := labtest.Load(t, l, lab.LoadOptions{
		Kind: lab.KindHTTP, Target: netip.AddrPortFrom(l.Addresses().Reals[0].Direct.IPv4, lab.PortHTTP),
		Connections: 1000, Parallel: 1000, Requests: 2, Download: 4096, Together: true,
	})
	if report.Connections != 1000 || report.OK != 2000 {
		t.Errorf("report = %+v, want 2000 answers on 1000 connections", report)
	}
}

// The policy routes: which way a real server's packets leave, by their source.
func TestRepliesLeaveByTheRightWay(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-way", RealServers: 1})
	a := l.Addresses()
	r, d := a.Reals[0], a.Directors[0].Server
	for _, c := range []struct {
		name      string
		from, via lab.Dual
	}{
		{"NAT replies by the director", r.Addr, d},
		{"DR replies by the gateway", a.DR, a.GatewayServer},
		{"TUN replies by the gateway", a.TUN, a.GatewayServer},
		{"direct replies by the gateway", r.Direct, a.GatewayServer},
	} {
		for _, f := range families {
			err := l.Do("r1", func() error {
				client := net.IP(a.Clients[0].Family(f.v6).AsSlice())
				routes, err := netlink.RouteGetWithOptions(client, &netlink.RouteGetOptions{SrcAddr: c.from.Family(f.v6).AsSlice()})
				if err != nil {
					return err
				}
				if want := c.via.Family(f.v6); !routes[0].Gw.Equal(want.AsSlice()) {
					t.Errorf("%s, %s: via %v, want %v", c.name, f.name, routes[0].Gw, want)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// The director's kernel stands in for the director: with forwarding on and a host
// route it does to a frame what DR does.
func TestTheDRPathIsPlumbed(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-dr", Queues: 2})
	labtest.Serve(t, l)
	a := l.Addresses()
	mac, err := l.MAC("d1", "c0")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range families {
		vip, r := a.DR.Family(f.v6), a.Reals[i]
		err := errors.Join(
			l.Do("c1", func() error { return pinNeighbour("c0", vip, mac) }),
			l.Do("d1", func() error { return forwardTo(vip, r.Addr.Family(f.v6)) }))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []lab.LoadOptions{
			{Kind: lab.KindHTTP, Upload: 1 << 20}, {Kind: lab.KindHTTP, Download: 1 << 20},
			{Kind: lab.KindUDP, Upload: 64, Connections: 10},
		} {
			checkAnswers(t, l, r, vip, o)
		}
	}
}

// pinNeighbour stands in for the director's ARP answer.
func pinNeighbour(link string, addr netip.Addr, mac net.HardwareAddr) error {
	dev, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	return netlink.NeighSet(&netlink.Neigh{
		LinkIndex: dev.Attrs().Index, IP: addr.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT,
	})
}

// forwardTo makes the calling thread's namespace forward a VIP to one real server.
func forwardTo(vip, realServer netip.Addr) error {
	key := "/proc/sys/net/ipv4/ip_forward"
	if vip.Is6() {
		key = "/proc/sys/net/ipv6/conf/all/forwarding"
	}
	if err := os.WriteFile(key, []byte("1"), 0); err != nil {
		return err
	}
	dev, err := netlink.LinkByName("s0")
	if err != nil {
		return err
	}
	host := &net.IPNet{IP: vip.AsSlice(), Mask: net.CIDRMask(vip.BitLen(), vip.BitLen())}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: dev.Attrs().Index, Dst: host, Gw: realServer.AsSlice()})
}

func TestTheDirectorsKernelForwardsNothing(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-off", RealServers: 1})
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		out, err := l.Command("d1", "cat", "/proc/sys/net/"+key).Output()
		if err != nil || string(out) != "0\n" {
			t.Errorf("%s = %q, %v; want 0", key, out, err)
		}
	}
}

// A frame that leaves a lab host has its checksum in it: AF_XDP readers see the
// bytes, not what the kernel meant to finish later.
func TestFramesCarryCompleteChecksums(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-csum", RealServers: 1})
	a := l.Addresses()
	mac, err := l.MAC("d1", "c0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Do("c1", func() error { return pinNeighbour("c0", a.DR.IPv4, mac) }); err != nil {
		t.Fatal(err)
	}
	var fd int
	err = l.Do("d1", func() (err error) {
		fd, err = packetSocket("c0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	go func() {
		_, _ = l.Load(t.Context(), "c1", lab.LoadOptions{
			Kind: lab.KindTCP, Target: netip.AddrPortFrom(a.DR.IPv4, 9), Timeout: testutil.AwaitLimit,
		})
	}()
	frame := make([]byte, 2048)
	for {
		n, err := unix.Read(fd, frame)
		if err != nil {
			t.Fatalf("no SYN seen: %v", err)
		}
		ip := frame[14:n]
		if len(ip) < 40 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP || ip[9] != unix.IPPROTO_TCP {
			continue
		}
		tcp := ip[20:binary.BigEndian.Uint16(ip[2:])]
		if sum := checksum(tcp, pseudo(ip[12:20], unix.IPPROTO_TCP, len(tcp))); sum != 0 {
			t.Errorf("the SYN's checksum is off by %#04x:\n% x", sum, ip)
		}
		return
	}
}

// packetSocket reads and writes whole frames on a link of the calling thread's
// namespace; a read ends after testutil.AwaitLimit.
func packetSocket(link string) (int, error) {
	dev, err := netlink.LinkByName(link)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(int64(testutil.AwaitLimit))
	return fd, errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: dev.Attrs().Index}))
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// A VLAN lab either works or says that this kernel has no VLANs, and leaves nothing.
func TestDirectorPortsCarryVLANs(t *testing.T) {
	labtest.Up(t, lab.Options{Prefix: "t-vlan", RealServers: 1}) // checks for root, cleans up
	l, err := lab.Up(t.Context(), lab.Options{Prefix: "t-vlan", RealServers: 1, VLAN: true})
	if errors.Is(err, lab.ErrNoVLAN) {
		if left := inodes(t, "t-vlan"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	labtest.Serve(t, l)
	// The director as a client: its packets leave s0 tagged, and the bridge takes the tag off.
	r := l.Addresses().Reals[0]
	report, err := l.Load(t.Context(), "d1", lab.LoadOptions{
		Kind: lab.KindHTTP, Target: netip.AddrPortFrom(r.Addr.IPv4, lab.PortHTTP),
	})
	if err != nil || report.Err() != nil {
		t.Errorf("over the VLAN: %+v, %v", report, err)
	}
}

func TestConfigNamesEveryServiceAndRealServer(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-config", RealServers: 2})
	for _, c := range []struct {
		name     string
		o        lab.ConfigOptions
		contains []string
		services int
	}{
		{"everything", lab.ConfigOptions{}, []string{`vip = "198.18.0.101:8080"`, `vip = "[2001:db8:c::66]:7"`}, 26},
		{"NAT over IPv6", lab.ConfigOptions{Methods: []lvs.Method{lvs.MethodNAT}, Family: 6},
			[]string{`address = "[2001:db8:5::c]:80"`, `method = "nat"`}, 5},
		{"tunnels across families", lab.ConfigOptions{Methods: []lvs.Method{lvs.MethodTUN}, Family: 4, CrossFamily: true},
			[]string{`vip = "198.18.0.102:80"`, `address = "[2001:db8:5::b]:80"`}, 4},
	} {
		text := l.Config(c.o)
		checkConfig(t, c.name, text, c.services)
		for _, want := range c.contains {
			checkContains(t, c.name, text, want)
		}
	}
}

func TestADecapsulatedPacketIsAnsweredAsTheVIP(t *testing.T) {
	l := labtest.Up(t, lab.Options{Prefix: "t-decap", RealServers: 1})
	labtest.Serve(t, l)
	a := l.Addresses()
	for _, c := range []struct {
		name       string
		outer, vip bool // IPv6
		count      func(decap.Counts) uint64
	}{
		{"IPv4 in IPv4", false, false, func(n decap.Counts) uint64 { return n.IPv4InIPv4 }},
		{"IPv6 in IPv4", false, true, func(n decap.Counts) uint64 { return n.IPv6InIPv4 }},
		{"IPv4 in IPv6", true, false, func(n decap.Counts) uint64 { return n.IPv4InIPv6 }},
		{"IPv6 in IPv6", true, true, func(n decap.Counts) uint64 { return n.IPv6InIPv6 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			tunnel(t, l, tunnelCase{
				outerSrc: a.Directors[0].Server.Family(c.outer), outerDst: a.Reals[0].Addr.Family(c.outer),
				client: a.Clients[0].Family(c.vip), vip: a.TUN.Family(c.vip),
			})
			var n decap.Counts
			err := l.Do("r1", func() (err error) {
				n, err = decap.Read("e0")
				return err
			})
			if err != nil || c.count(n) != 1 {
				t.Errorf("unpacked %+v, %v; want one %s", n, err, c.name)
			}
		})
	}
}
