package ha

import (
	"net/netip"
	"testing"
	"time"

	"ulvs/internal/testutil"
)

// No bytes panic, and what is taken can be sent again.
func TestMutatedAdverts(t *testing.T) {
	var seeds [][]byte
	for _, a := range []Advert{
		{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Auth: AuthPass, Addrs: []netip.Addr{vip4}},
		{Version: 3, VRID: 51, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{vip4}},
	} {
		seeds = append(seeds, a.Append(nil, lvs1, GroupV4))
	}
	six := Advert{Version: 3, VRID: 51, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{vip6}}
	seeds = append(seeds, six.Append(nil, ll1, GroupV6))
	rng, taken := testutil.Rand(t), 0
	var buf []byte
	for range testutil.Mutations(t) {
		buf = testutil.Mutate(rng, buf, seeds, 2*MaxAdvertLen)
		at := multicast([]netip.Addr{lvs1, ll1}[rng.IntN(2)])
		var a, again Advert
		if a.Decode(buf, at) != RejectNone {
			continue
		}
		taken++
		if r := again.Decode(a.Append(nil, at.Src, at.Dst), at); r != RejectNone {
			t.Fatalf("% x sent again: %s", buf, r)
		}
	}
	t.Logf("%d of %d were taken", taken, testutil.Mutations(t))
}
