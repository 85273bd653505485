package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
	"ulvs/lvs"
	"ulvs/test/lab"
)

// session is a client's connection to an echo. It closes when the test ends.
type session struct {
	tb   testing.TB
	conn net.Conn
}

// connect opens a session; the real server's greeting has been read.
func connect(tb testing.TB, l *lab.Lab, to netip.AddrPort) *session {
	tb.Helper()
	s := &session{tb: tb}
	inside(tb, l, "c1", func() (err error) {
		s.conn, err = net.DialTimeout("tcp", to.String(), testutil.AwaitLimit)
		return err
	})
	tb.Cleanup(func() { _ = s.conn.Close() })
	s.read("r", 3) // "r1\n"
	return s
}

// echo wants text back. TCP sends it again until the way is free.
func (s *session) echo(text string) {
	s.tb.Helper()
	if _, err := fmt.Fprint(s.conn, text); err != nil {
		s.tb.Fatal(err)
	}
	s.read(text, len(text))
}

func (s *session) read(prefix string, n int) {
	s.tb.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(testutil.AwaitLimit))
	b := make([]byte, n)
	if _, err := io.ReadFull(s.conn, b); err != nil || !strings.HasPrefix(string(b), prefix) {
		s.tb.Fatalf("the session to %s answered %q, %v; want %q", s.conn.RemoteAddr(), b, err, prefix)
	}
}

// traffic runs a client in c1 until stop, whether it gets answers or not. The report
// tells what came of it.
func traffic(tb testing.TB, l *lab.Lab, to netip.AddrPort) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = l.Load(ctx, "c1", lab.LoadOptions{ // ended by a signal, it reports nothing
			Kind: lab.KindUDP, Target: to, Connections: 1 << 20, Parallel: 4, Upload: 100, Timeout: 50 * time.Millisecond,
		})
	}()
	stop = func() { cancel(); <-done }
	tb.Cleanup(stop)
	return stop
}

// replug makes the director's server-side interface anew, as a driver that is loaded again
// does: another index, the same MAC address. (With another one real servers would send
// their answers of NAT to the old one for half a minute: the gateway's address is the kernel's,
// and so is announcing it.)
func replug(tb testing.TB, l *lab.Lab, mac net.HardwareAddr) {
	tb.Helper()
	far, err := netns.GetFromName(l.Netns("d1"))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	inside(tb, l, "sw1", func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = "d1-s0", l.Options().ServerMTU
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "s0", PeerNamespace: netlink.NsFd(far), PeerHardwareAddr: mac}
		br, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkAdd(pair), netlink.LinkSetMaster(pair, br), netlink.LinkSetUp(pair))
	})
	inside(tb, l, "d1", func() error {
		dev, err := netlink.LinkByName("s0")
		if err != nil {
			return err
		}
		a := l.Addresses().Directors[0].Server
		return errors.Join(netlink.LinkSetUp(dev), addAddr(dev, a.IPv4, 24), addAddr(dev, a.IPv6, 64))
	})
}

func addAddr(dev netlink.Link, a netip.Addr, bits int) error {
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}}
	if a.Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return netlink.AddrAdd(dev, addr)
}

func unplug(tb testing.TB, l *lab.Lab) {
	tb.Helper()
	inside(tb, l, "d1", func() error {
		dev, err := netlink.LinkByName("s0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(dev)
	})
}

func TestAnInterfaceThatVanishesIsPickedUpWhenItReturns(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-vanish"})
	d := start(t, l, lab.ConfigOptions{})
	mac, err := l.MAC("d1", "s0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions []*session
	for _, m := range methods {
		for _, v6 := range []bool{false, true} {
			sessions = append(sessions, connect(t, l, target(l, m, v6, lab.PortEcho)))
		}
	}
	stop := traffic(t, l, target(l, lvs.MethodDR, false, lab.PortEcho))
	for round := range 2 {
		dropped := d.verdict("drop_no_route")
		unplug(t, l)
		d.awaitPorts("c0")
		testutil.Await(t, "the log", func() bool {
			return strings.Count(d.log.String(), "interface gone") == round+1
		})
		forgetNeighbours(t, l, "c1", "c0")
		forEach(t, func(t *testing.T, m lvs.Method, v6 bool) {
			if err := ping(l, target(l, m, v6, 0).Addr()); err != nil {
				t.Errorf("without s0: %v", err)
			}
		})
		testutil.Await(t, "traffic to be counted that has no way", func() bool {
			return d.verdict("drop_no_route") > dropped
		})
		replug(t, l, mac)
		d.awaitPorts("c0", "s0")
		d.awaitReady()
		for i, s := range sessions {
			s.echo(fmt.Sprintf("session %d lives in round %d", i, round))
		}
	}
	stop()
	for _, m := range methods {
		load(t, l, m)
	}
}

// awaitPorts waits until ulvs serves exactly these interfaces.
func (d *director) awaitPorts(names ...string) {
	d.tb.Helper()
	testutil.Await(d.tb, fmt.Sprintf("ulvs to serve %v", names), func() bool {
		var now []string
		for _, p := range d.status().Ports {
			now = append(now, p.Name)
		}
		return strings.Join(now, " ") == strings.Join(names, " ")
	})
}

func TestALinkThatGoesDownAndUp(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-updown"})
	d := start(t, l, lab.ConfigOptions{})
	s := connect(t, l, target(l, lvs.MethodNAT, false, lab.PortEcho))
	setLink(t, l, "sw1", "d1-s0", false)
	testutil.Await(t, "the link's state", func() bool { return !d.status().Ports[1].LinkUp })
	testutil.Await(t, "all next hops to be known as behind a link that is down", func() bool {
		return d.hopsBut("link down") == 0
	})
	setLink(t, l, "sw1", "d1-s0", true)
	testutil.Await(t, "the link's state", func() bool { return d.status().Ports[1].LinkUp })
	d.awaitReady()
	s.echo("still here")
	for _, m := range methods {
		load(t, l, m)
	}
	if strings.Contains(d.log.String(), "interface gone") {
		t.Error("an interface without carrier was taken for a missing one")
	}
}

// hopsBut is how many real servers, of all services, have a next hop in another state.
func (d *director) hopsBut(state string) (n int) {
	d.tb.Helper()
	for _, svc := range d.services() {
		for _, r := range svc.RealServers {
			if r.NextHop == nil || r.NextHop.State != state {
				n++
			}
		}
	}
	return n
}

// A real server that does not answer ARP costs the sessions that go to it, and no other.
func TestARealServerThatDoesNotResolve(t *testing.T) {
	l := newLab(t, lab.Options{Prefix: "t-neigh"})
	d := start(t, l, lab.ConfigOptions{Methods: []lvs.Method{lvs.MethodDR}, Family: 4})
	to := target(l, lvs.MethodDR, false, lab.PortEcho)
	setLink(t, l, "sw1", "r1-e0", false)
	forgetNeighbours(t, l, "d1", "s0", l.Addresses().Reals[0].Addr.IPv4)
	testutil.Await(t, "ulvs to miss r1 only", func() bool { return d.status().Routing.Unresolved == 1 })
	before := d.verdict("drop_neighbour")
	answers := askAtOnce(t, l, to, 30)
	by := map[string]int{}
	for range 20 {
		select {
		case name := <-answers:
			by[name]++
		case <-time.After(testutil.AwaitLimit):
			t.Fatalf("answers by %v only, want 10 each of r2 and r3", by)
		}
	}
	if by["r2"] != 10 || by["r3"] != 10 {
		t.Errorf("answers by %v, want 10 each of r2 and r3", by)
	}
	testutil.Await(t, "the drops", func() bool { return d.verdict("drop_neighbour") == before+10 })
	setLink(t, l, "sw1", "r1-e0", true)
	d.awaitReady()
	loadFamily(t, l, lvs.MethodDR, false)
}

// askAtOnce sends a datagram to an echo from each of n sockets that are open together, so that each has a port of its
// own, and tells who answers.
func askAtOnce(tb testing.TB, l *lab.Lab, to netip.AddrPort, n int) (answers <-chan string) {
	tb.Helper()
	names, conns := make(chan string, n), make([]net.Conn, n)
	for i := range conns {
		inside(tb, l, "c1", func() (err error) {
			conns[i], err = net.Dial("udp", to.String())
			return err
		})
		tb.Cleanup(func() { _ = conns[i].Close() })
	}
	for _, conn := range conns {
		if _, err := conn.Write([]byte("who is it?")); err != nil {
			tb.Fatal(err)
		}
		go func() {
			b := make([]byte, 100)
			n, err := conn.Read(b)
			if name, _, ok := strings.Cut(string(b[:n]), "\n"); err == nil && ok {
				names <- name
			}
		}()
	}
	return names
}
