package ha

import (
	"encoding/hex"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

var (
	lvs1 = netip.MustParseAddr("198.18.0.11")
	lvs2 = netip.MustParseAddr("198.18.0.12")
	ll1  = netip.MustParseAddr("fe80::11")
	vip4 = netip.MustParseAddr("198.18.0.100")
	vip6 = netip.MustParseAddr("2001:db8:c::100")
)

func multicast(src netip.Addr) Arrival {
	dst := GroupV4
	if src.Is6() {
		dst = GroupV6
	}
	return Arrival{Src: src, Dst: dst, TTL: 255}
}

// The checksum is worked out by hand: it covers the password, has no pseudo header, and is the
// complement of 2133+6401+0101+c612+0064+3131+3131.
func TestAVersion2AdvertHasTheBytesOfRFC3768(t *testing.T) {
	a := Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Auth: AuthPass,
		Password: [8]byte{'1', '1', '1', '1'}, Addrs: []netip.Addr{vip4}}
	got := hex.EncodeToString(a.Append(nil, lvs1, GroupV4))
	if want := "21336401010150f1c61200643131313100000000"; got != want {
		t.Errorf("advert\n got %s\nwant %s", got, want)
	}
}

func TestAnAdvertSurvivesTheWire(t *testing.T) {
	for _, c := range []struct {
		name string
		a    Advert
		src  netip.Addr
	}{
		{"version 2", Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second,
			Addrs: []netip.Addr{vip4}}, lvs1},
		{"version 2, password", Advert{Version: 2, VRID: 1, Priority: 255, Interval: 255 * time.Second, Auth: AuthPass,
			Password: [8]byte{'s', 'e', 'c', 'r', 'e', 't', 'e', 'r'}, Addrs: []netip.Addr{vip4, lvs2}}, lvs1},
		{"version 3", Advert{Version: 3, VRID: 255, Priority: 0, Interval: 30 * time.Millisecond,
			Addrs: []netip.Addr{vip4}}, lvs1},
		{"version 3, slow", Advert{Version: 3, VRID: 7, Priority: 1, Interval: MaxIntervalV3,
			Addrs: []netip.Addr{vip4}}, lvs1},
		{"version 3, IPv6", Advert{Version: 3, VRID: 9, Priority: 254, Interval: time.Second,
			Addrs: []netip.Addr{vip6}}, ll1},
		{"no addresses", Advert{Version: 3, VRID: 9, Priority: 254, Interval: time.Second, Addrs: []netip.Addr{}}, ll1},
	} {
		b := c.a.Append([]byte("before"), c.src, multicast(c.src).Dst)[len("before"):]
		if len(b) != c.a.Len() {
			t.Errorf("%s: %d bytes, Len says %d", c.name, len(b), c.a.Len())
		}
		var got Advert
		got.Addrs = []netip.Addr{}
		padded := append(append([]byte(nil), b...), make([]byte, 26)...) // as Ethernet does
		if r := got.Decode(padded, multicast(c.src)); r != RejectNone || !reflect.DeepEqual(got, c.a) {
			t.Errorf("%s: %s, got %+v, want %+v", c.name, r, got, c.a)
		}
	}
}

func TestVersion3OverIPv4IsTakenWithBothChecksums(t *testing.T) {
	a := Advert{Version: 3, VRID: 7, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{vip4}}
	rfc9568 := a.Append(nil, netip.Addr{}, netip.Addr{}) // without a pseudo header
	rfc5798 := a.Append(nil, lvs1, GroupV4)
	if string(rfc9568) == string(rfc5798) {
		t.Fatal("both checksums are the same: the test says nothing")
	}
	for _, b := range [][]byte{rfc9568, rfc5798} {
		var got Advert
		if r := got.Decode(b, multicast(lvs1)); r != RejectNone {
			t.Errorf("%x: %s", b, r)
		}
	}
}

func TestEachDamageOfAnAdvertHasItsReason(t *testing.T) {
	v2 := Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{vip4, lvs1}}
	v3 := Advert{Version: 3, VRID: 51, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{vip4}}
	change := func(a Advert, at int, to byte) []byte {
		b := a.Append(nil, lvs1, GroupV4)
		b[at] = to
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		at   Arrival
		want Reject
	}{
		{"nothing", nil, multicast(lvs1), RejectShort},
		{"seven bytes", v3.Append(nil, lvs1, GroupV4)[:7], multicast(lvs1), RejectShort},
		{"an address is cut", v3.Append(nil, lvs1, GroupV4)[:11], multicast(lvs1), RejectShort},
		{"the password is cut", v2.Append(nil, lvs1, GroupV4)[:23], multicast(lvs1), RejectShort},
		{"the count lies", change(v2, 3, 200), multicast(lvs1), RejectShort},
		{"the count is less", change(v3, 3, 0), multicast(lvs1), RejectChecksum},
		{"version 1", change(v2, 0, 0x11), multicast(lvs1), RejectVersion},
		{"type 2", change(v2, 0, 0x22), multicast(lvs1), RejectType},
		{"VRID 0", change(v2, 1, 0), multicast(lvs1), RejectVRID},
		{"a flipped bit", change(v2, 9, 0xff), multicast(lvs1), RejectChecksum},
		{"a password's flipped bit", change(v2, 17, 0xff), multicast(lvs1), RejectChecksum},
		{"version 2 over IPv6", v2.Append(nil, ll1, GroupV6), multicast(ll1), RejectFamily},
		{"another source than was summed", v3.Append(nil, lvs2, GroupV4), multicast(lvs1), RejectChecksum},
	} {
		var a Advert
		if got := a.Decode(c.b, c.at); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// FuzzAdvert: no bytes panic, and what is taken comes out the same when it is sent again.
func FuzzAdvert(f *testing.F) {
	v2 := Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Auth: AuthPass, Addrs: []netip.Addr{vip4}}
	v3 := Advert{Version: 3, VRID: 51, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{vip4}}
	v6 := Advert{Version: 3, VRID: 51, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{vip6}}
	f.Add(v2.Append(nil, lvs1, GroupV4), false)
	f.Add(v3.Append(nil, lvs1, GroupV4), false)
	f.Add(v6.Append(nil, ll1, GroupV6), true)
	f.Add([]byte{0x31, 1, 1, 255, 0, 1, 0, 0}, true)
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		src := lvs1
		if six {
			src = ll1
		}
		at := multicast(src)
		var a, again Advert
		if a.Decode(b, at) != RejectNone {
			return
		}
		if a.Len() > MaxAdvertLen || a.Len() > len(b) {
			t.Fatalf("%d bytes of %d", a.Len(), len(b))
		}
		if r := again.Decode(a.Append(nil, at.Src, at.Dst), at); r != RejectNone {
			t.Fatalf("sent again: %s", r)
		}
		if !reflect.DeepEqual(a, again) && len(a.Addrs)+len(again.Addrs) > 0 {
			t.Fatalf("first %+v, again %+v", a, again)
		}
	})
}
