package vrrp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"ulvs/ha"
	"ulvs/internal/testutil"
	"ulvs/packet"
)

// side is one end of a wire: a namespace with interface v0.
type side struct {
	ns   *testutil.NetNS
	addr netip.Addr
	link netlink.Link
}

// wire joins two namespaces.
func wire(t *testing.T) (a, b side) {
	t.Helper()
	a, b = side{ns: testutil.NewNetNS(t)}, side{ns: testutil.NewNetNS(t)}
	must(t, a.ns.Do(func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v0",
			PeerNamespace: netlink.NsFd(b.ns.Handle())}
		return netlink.LinkAdd(veth)
	}))
	for i, s := range []*side{&a, &b} {
		s.addr = netip.AddrFrom4([4]byte{198, 18, 0, byte(11 + i)})
		must(t, s.ns.Do(func() (err error) {
			if s.link, err = netlink.LinkByName("v0"); err != nil {
				return err
			}
			for _, conf := range []string{"all", "v0"} {
				if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+conf+"/accept_dad", []byte("0"), 0); err != nil {
					return err
				}
			}
			addr := &netlink.Addr{IPNet: &net.IPNet{IP: s.addr.AsSlice(), Mask: net.CIDRMask(24, 32)}}
			return errors.Join(netlink.LinkSetUp(s.link), netlink.AddrAdd(s.link, addr))
		}))
	}
	testutil.Await(t, "the wire carries", func() (up bool) {
		up = true
		for _, s := range []side{a, b} {
			must(t, s.ns.Do(func() error {
				l, err := netlink.LinkByName("v0")
				_, noAddr := Source("v0", true, nil) // the kernel gives it a link-local address a moment later
				up = up && err == nil && l.Attrs().OperState == netlink.OperUp && noAddr == nil
				return err
			}))
		}
		return up
	})
	return a, b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s side) open(t *testing.T, v6 bool) (sock *Socket) {
	t.Helper()
	must(t, s.ns.Do(func() (err error) { sock, err = Open("v0", v6); return err }))
	t.Cleanup(func() { sock.Close() })
	return sock
}

func receive(t *testing.T, s *Socket) (r Received, why ha.Reject) {
	t.Helper()
	must(t, s.pc.SetReadDeadline(time.Now().Add(testutil.AwaitLimit)))
	why, err := s.Receive(&r)
	must(t, err)
	return r, why
}

func TestAdvertsCrossAWire(t *testing.T) {
	a, b := wire(t)
	v4, v6 := netip.MustParseAddr("198.18.0.100"), netip.MustParseAddr("2001:db8::100")
	for _, c := range []struct {
		name string
		v6   bool
		a    ha.Advert
		to   func() []netip.Addr
	}{
		{"version 2", false, ha.Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Auth: ha.AuthPass,
			Password: [8]byte{'1'}, Addrs: []netip.Addr{v4}}, nil},
		{"version 3", false, ha.Advert{Version: 3, VRID: 51, Priority: 100, Interval: 30 * time.Millisecond,
			Addrs: []netip.Addr{v4}}, nil},
		{"unicast", false, ha.Advert{Version: 3, VRID: 52, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{v4}},
			func() []netip.Addr { return []netip.Addr{b.addr} }},
		{"IPv6", true, ha.Advert{Version: 3, VRID: 53, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{v6}}, nil},
	} {
		out, in := a.open(t, c.v6), b.open(t, c.v6)
		var src netip.Addr
		must(t, a.ns.Do(func() (err error) { src, err = Source("v0", c.v6, nil); return err }))
		var peers []netip.Addr
		if c.to != nil {
			peers = c.to()
		}
		// The kernel takes a moment until it lets an IPv6 address be sent from.
		testutil.Await(t, "the advert is sent", func() bool { return out.Send(&c.a, src, peers) == nil })
		r, why := receive(t, in)
		if why != ha.RejectNone || r.TTL != 255 || r.Src != src || r.Advert.VRID != c.a.VRID ||
			r.Advert.Priority != 100 || r.Interface != "v0" {
			t.Errorf("%s: %s, %+v", c.name, why, r)
		}
		out.Close()
		in.Close()
	}
}

// Adverts from a virtual router's MAC address are those that sockets send, but for where they come from.
func TestAdvertsComeFromAVirtualMAC(t *testing.T) {
	a, b := wire(t)
	for _, v6 := range []bool{false, true} {
		in := b.open(t, v6)
		var src netip.Addr
		var an *Announcer
		must(t, a.ns.Do(func() (err error) {
			if src, err = Source("v0", v6, nil); err == nil {
				an, err = OpenAnnouncer("v0")
			}
			return err
		}))
		ad := ha.Advert{Version: 3, VRID: 51, Priority: 100, Interval: 30 * time.Millisecond,
			Addrs: []netip.Addr{netip.MustParseAddr("198.18.0.100")}}
		if v6 {
			ad.Addrs[0] = netip.MustParseAddr("fe80::100")
		}
		must(t, an.Send(&ad, src, virtualMAC(v6)))
		r, why := receive(t, in)
		if why != ha.RejectNone || r.TTL != 255 || r.Src != src || r.Advert.VRID != 51 {
			t.Errorf("%s, %+v", why, r)
		}
		frame := packet.Ethernet(advertFrame(&ad, src, virtualMAC(v6)))
		if got := frame.Src().String(); got != map[bool]string{false: "00:00:5e:00:01:33", true: "00:00:5e:00:02:33"}[v6] {
			t.Errorf("sent from %s", got)
		}
		must(t, an.Close())
	}
}

// An interface takes frames to the address for as long as somebody listens for it, and no longer.
func TestAnInterfaceListensForAVirtualMAC(t *testing.T) {
	a, _ := wire(t)
	must(t, a.ns.Do(func() error {
		an, err := OpenAnnouncer("v0")
		if err != nil {
			return err
		}
		defer an.Close()
		promiscuous := func() bool { // veth filters no second address
			link, err := netlink.LinkByName("v0")
			must(t, err)
			return link.Attrs().Promisc != 0
		}
		for range 2 {
			must(t, an.Listen(virtualMAC(false), true))
			must(t, an.Listen(virtualMAC(true), true)) // once is enough
			must(t, an.Listen(virtualMAC(true), true))
			must(t, an.Listen(virtualMAC(false), false))
			if !promiscuous() {
				t.Error("it does not listen")
			}
			must(t, an.Listen(virtualMAC(true), false))
			if promiscuous() {
				t.Error("it listens on")
			}
		}
		return an.Listen(virtualMAC(false), false) // which is not listened for
	}))
}

func TestWhatIsNoAdvertIsNamed(t *testing.T) {
	a, b := wire(t)
	out, in := a.open(t, false), b.open(t, false)
	must(t, out.write([]byte("this is no advert"), a.addr, ha.GroupV4))
	if _, why := receive(t, in); why != ha.RejectVersion {
		t.Errorf("got %s", why)
	}
}

func TestCloseEndsReceive(t *testing.T) {
	a, _ := wire(t)
	s := a.open(t, false)
	done := make(chan error)
	go func() {
		var r Received
		_, err := s.Receive(&r)
		done <- err
	}()
	s.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestAnInterfaceWithoutAnAddressIsNamed(t *testing.T) {
	ns := testutil.NewNetNS(t)
	must(t, ns.Do(func() error {
		if _, err := Source("lo", true, nil); err == nil {
			t.Error("lo has a link-local address?")
		}
		if _, err := OpenAnnouncer("lo"); err == nil {
			t.Error("lo can be announced on?")
		}
		return nil
	}))
}

// The neighbours' own tables say whether announcements are understood.
func TestNeighboursLearnFromAnnouncements(t *testing.T) {
	t.Run("own address", func(t *testing.T) { neighboursLearn(t, packet.MAC{}) })
	t.Run("virtual address", func(t *testing.T) { neighboursLearn(t, virtualMAC(false)) })
}

// virtualMAC is that of virtual router 51.
func virtualMAC(v6 bool) packet.MAC {
	vip := netip.MustParseAddr("198.18.0.100")
	if v6 {
		vip = netip.MustParseAddr("2001:db8::100")
	}
	i := ha.Instance{VRID: 51, VIPs: []netip.Addr{vip}}
	return i.VirtualMAC()
}

func neighboursLearn(t *testing.T, mac packet.MAC) {
	a, b := wire(t)
	want := mac.String()
	if mac == (packet.MAC{}) {
		want = a.link.Attrs().HardwareAddr.String()
	}
	vips := []netip.Addr{netip.MustParseAddr("198.18.0.100"), netip.MustParseAddr("2001:db8::100")}
	wrong := packet.MAC{2, 0, 0, 0, 0, 9}
	must(t, b.ns.Do(func() error {
		var errs []error
		for _, vip := range vips {
			errs = append(errs, netlink.NeighSet(&netlink.Neigh{LinkIndex: b.link.Attrs().Index, IP: vip.AsSlice(),
				HardwareAddr: wrong[:], State: netlink.NUD_STALE}))
		}
		return errors.Join(errs...)
	}))
	must(t, a.ns.Do(func() error {
		an, err := OpenAnnouncer("v0")
		if err != nil {
			return err
		}
		defer an.Close()
		return an.Announce(vips, mac)
	}))
	for _, vip := range vips {
		testutil.Await(t, "the neighbour learns "+vip.String(), func() (learned bool) {
			must(t, b.ns.Do(func() error {
				list, err := netlink.NeighList(b.link.Attrs().Index, 0)
				for _, n := range list {
					learned = learned || n.IP.Equal(vip.AsSlice()) && n.HardwareAddr.String() == want
				}
				return err
			}))
			return learned
		})
	}
}
