package route

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// rta builds attributes the way the kernel lays them out.
func rta(typ int, value []byte) []byte { return nl.NewRtAttr(typ, value).Serialize() }

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func nexthop(weight, link int, gateway string) []byte {
	body := rta(unix.RTA_GATEWAY, addr(gateway).AsSlice())
	return join([]byte{byte(8 + len(body)), 0, 0, byte(weight - 1)}, nl.Uint32Attr(uint32(link)), body)
}

func rtmsg(bits, table, kind byte, attrs ...[]byte) []byte {
	return join([]byte{unix.AF_INET, bits, 0, 0, table, 0, 0, kind, 0, 0, 0, 0}, join(attrs...))
}

func TestTheHeaviestNextHopOfAMultipathRouteIsTaken(t *testing.T) {
	b := rtmsg(8, unix.RT_TABLE_MAIN, unix.RTN_UNICAST, rta(unix.RTA_DST, []byte{10, 0, 0, 0}),
		rta(unix.RTA_MULTIPATH, join(nexthop(1, 4, "192.0.2.1"), nexthop(3, 5, "192.0.2.2"), nexthop(3, 6, "192.0.2.3"))))
	p, ok := parseRoute(b)
	want := Route{Prefix: prefix("10.0.0.0/8"), Gateway: addr("192.0.2.2"), Link: 5, Many: true}
	if !ok || p.local || p.Route != want {
		t.Errorf("got %+v %v, want %+v", p, ok, want)
	}
}

func TestARouteViaIPv6IsUnderstood(t *testing.T) {
	via := join([]byte{unix.AF_INET6, 0}, addr("fe80::1").AsSlice())
	b := rtmsg(0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST, rta(unix.RTA_OIF, nl.Uint32Attr(7)), rta(unix.RTA_VIA, via),
		rta(unix.RTA_PRIORITY, nl.Uint32Attr(20)), rta(unix.RTA_METRICS, rta(unix.RTAX_MTU, nl.Uint32Attr(1400))))
	p, ok := parseRoute(b)
	want := Route{Prefix: prefix("0.0.0.0/0"), Gateway: addr("fe80::1"), Link: 7, Metric: 20, MTU: 1400}
	if !ok || p.Route != want {
		t.Errorf("got %+v %v, want %+v", p, ok, want)
	}
}

func TestRoutesOfNoInterestAreLeftOut(t *testing.T) {
	cached := rtmsg(0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST)
	order.PutUint32(cached[8:], unix.RTM_F_CLONED)
	tos := rtmsg(0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST)
	tos[3] = 8
	for name, b := range map[string][]byte{
		"another table": rtmsg(0, 100, unix.RTN_UNICAST), "throw": rtmsg(0, unix.RT_TABLE_MAIN, unix.RTN_THROW),
		"long prefix": rtmsg(33, unix.RT_TABLE_MAIN, unix.RTN_UNICAST), "cached": cached, "TOS": tos, "short": cached[:11],
		"a large table": rtmsg(0, unix.RT_TABLE_MAIN, unix.RTN_UNICAST, rta(unix.RTA_TABLE, nl.Uint32Attr(1000))),
	} {
		if p, ok := parseRoute(b); ok {
			t.Errorf("%s: taken as %+v", name, p)
		}
	}
}

func TestTheKernelsOwnRulesAreNotPolicy(t *testing.T) {
	rule := func(table byte, priority uint32) []byte {
		return rtmsg(0, table, 1, rta(unix.FRA_PRIORITY, nl.Uint32Attr(priority)))
	}
	for _, c := range []struct {
		b    []byte
		want bool
	}{
		{rtmsg(0, unix.RT_TABLE_LOCAL, 1), true}, {rule(unix.RT_TABLE_MAIN, 32766), true},
		{rule(unix.RT_TABLE_DEFAULT, 32767), true}, {rule(unix.RT_TABLE_MAIN, 100), false}, {rule(100, 100), false},
	} {
		if got := isDefaultRule(c.b); got != c.want {
			t.Errorf("% x: default rule %v, want %v", c.b, got, c.want)
		}
	}
}

// vlanMessage is ifinfomsg of VLAN 100 on link 2, as the kernel sends it.
func vlanMessage(protocol []byte) []byte {
	data := join(rta(unix.IFLA_VLAN_PROTOCOL, protocol), rta(unix.IFLA_VLAN_ID, []byte{100, 0}),
		rta(unix.IFLA_VLAN_FLAGS, []byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}))
	info := join(rta(unix.IFLA_INFO_KIND, []byte("vlan\x00")), rta(unix.IFLA_INFO_DATA|unix.NLA_F_NESTED, data))
	return join([]byte{0, 0, 1, 0}, nl.Uint32Attr(7), nl.Uint32Attr(unix.IFF_UP|unix.IFF_RUNNING), make([]byte, 4),
		rta(unix.IFLA_IFNAME, []byte("c0.100\x00")), rta(unix.IFLA_MTU, nl.Uint32Attr(1500)),
		rta(unix.IFLA_LINK, nl.Uint32Attr(2)), rta(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, info),
		rta(unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 7}))
}

func TestAVLANMessageIsUnderstood(t *testing.T) {
	want := Link{Index: 7, Name: "c0.100", MAC: [6]byte{2, 5: 7}, MTU: 1500, Up: true, Admin: true, Parent: 2, VLAN: 100,
		Kind: "vlan"}
	if got, ok := parseLink(vlanMessage([]byte{0x81, 0x00})); !ok || got != want {
		t.Errorf("got %+v %v, want %+v", got, ok, want)
	}
	want.VLAN = 0
	if got, ok := parseLink(vlanMessage([]byte{0x88, 0xa8})); !ok || got != want {
		t.Errorf("802.1ad: got %+v %v, want %+v", got, ok, want)
	}
}

// linkMessage is ifinfomsg of a link that is up, with an IFLA_LINKINFO.
func linkMessage(name string, index uint32, info []byte) []byte {
	return join([]byte{0, 0, 1, 0}, nl.Uint32Attr(index), nl.Uint32Attr(unix.IFF_UP|unix.IFF_RUNNING), make([]byte, 4),
		rta(unix.IFLA_IFNAME, []byte(name+"\x00")), rta(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, info))
}

// memberMessage is a bond's port, as the kernel sends it.
func memberMessage(state, mii byte) []byte {
	data := join(rta(unix.IFLA_BOND_SLAVE_STATE, []byte{state}), rta(unix.IFLA_BOND_SLAVE_MII_STATUS, []byte{mii}))
	return linkMessage("eno1", 2, join(rta(unix.IFLA_INFO_SLAVE_KIND, []byte("bond\x00")),
		rta(unix.IFLA_INFO_SLAVE_DATA|unix.NLA_F_NESTED, data)))
}

func TestBondsAndTheirPortsAreUnderstood(t *testing.T) {
	data := join(rta(unix.IFLA_BOND_MODE, []byte{4}), rta(unix.IFLA_BOND_ACTIVE_SLAVE, nl.Uint32Attr(2)),
		rta(unix.IFLA_BOND_XMIT_HASH_POLICY, []byte{1}))
	got, ok := parseLink(linkMessage("bond0", 5, join(rta(unix.IFLA_INFO_KIND, []byte("bond\x00")),
		rta(unix.IFLA_INFO_DATA|unix.NLA_F_NESTED, data))))
	want := Link{Index: 5, Name: "bond0", Up: true, Admin: true, Kind: "bond",
		Bond: Bond{Mode: 4, HashPolicy: 1, Active: 2}}
	if !ok || got != want {
		t.Errorf("got %+v %v, want %+v", got, ok, want)
	}
	for _, c := range []struct {
		state, mii byte
		standby    bool
	}{{0, 0, false}, {1, 0, true}, {0, 2, true}} {
		if got, ok := parseLink(memberMessage(c.state, c.mii)); !ok || got.Standby != c.standby {
			t.Errorf("state %d, link %d: got %+v %v, want standby %v", c.state, c.mii, got, ok, c.standby)
		}
	}
}

// FuzzDatagram throws bytes at everything that reads netlink.
func FuzzDatagram(f *testing.F) {
	seed := func(typ uint16, payload []byte) {
		b := make([]byte, 16, 16+len(payload))
		order.PutUint32(b, uint32(16+len(payload)))
		order.PutUint16(b[4:], typ)
		f.Add(append(b, payload...))
	}
	seed(unix.RTM_NEWROUTE, rtmsg(8, unix.RT_TABLE_MAIN, unix.RTN_UNICAST, rta(unix.RTA_DST, []byte{10, 0, 0, 0}),
		rta(unix.RTA_MULTIPATH, join(nexthop(1, 4, "192.0.2.1"), nexthop(3, 5, "192.0.2.2")))))
	seed(unix.RTM_NEWNEIGH, join(ndmsg(unix.AF_INET, 2, NeighStale, 0), rta(unix.NDA_DST, []byte{10, 0, 0, 1}),
		rta(unix.NDA_LLADDR, []byte{2, 0, 0, 0, 0, 1})))
	seed(unix.RTM_NEWADDR, join([]byte{unix.AF_INET, 24, 0, 0, 2, 0, 0, 0}, rta(unix.IFA_LOCAL, []byte{10, 0, 0, 2})))
	seed(unix.RTM_NEWLINK, vlanMessage([]byte{0x81, 0x00}))
	seed(unix.RTM_NEWLINK, memberMessage(1, 2))
	seed(unix.RTM_NEWRULE, rtmsg(0, 100, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDraft(&State{})
		for m, rest, ok := next(b); ok; m, rest, ok = next(rest) {
			d.apply(m)
			isDefaultRule(m.data)
			m.typ ^= 1 // and the same as its removal: RTM_NEWx is even, RTM_DELx odd
			d.apply(m)
			d.apply(message{typ: m.typ ^ 1, data: m.data})
		}
		s := d.publish()
		s.main.all(func(p netip.Prefix, routes []Route) bool {
			if _, ok := s.Lookup(p.Addr()); !ok || len(routes) == 0 {
				t.Errorf("%s is in the table and is not found", p)
			}
			return true
		})
	})
}
