package doctor

import (
	"net"
	"net/netip"
	"testing"

	"ulvs/config"
	"ulvs/ha"
)

func FuzzFrames(f *testing.F) {
	us := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	vip := netip.MustParseAddr("192.0.2.10")
	flow := newFlow(vip, netip.MustParseAddr("192.0.2.16"), 80)
	frames, err := flow.questions(us, us)
	if err != nil {
		f.Fatal(err)
	}
	for _, frame := range frames {
		f.Add(frame)
	}
	vip6 := netip.MustParseAddr("2001:db8::10")
	flow6 := newFlow(vip6, netip.MustParseAddr("2001:db8::16"), 80)
	frames, err = flow6.questions(us, us)
	if err != nil {
		f.Fatal(err)
	}
	for _, frame := range frames {
		f.Add(frame)
	}
	ask, err := neighbourRequest(&way{tap: &tap{ifi: &net.Interface{HardwareAddr: us}}, source: vip6}, vip6)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ask)
	v := &config.VRRP{Instance: ha.Instance{VRID: 51, VIPs: []netip.Addr{vip}}}
	f.Fuzz(func(_ *testing.T, frame []byte) {
		flow.answers(frame)
		neighbourAnswer(frame, vip)
		neighbourAnswer(frame, vip6)
		flow6.answers(frame)
		stampAnswer(frame, vip, 7)
		judgeAdvert(frame, us, v)
	})
}

func FuzzRules(f *testing.F) {
	f.Add([]byte(`{"nftables":[{"chain":{"family":"ip","table":"t","name":"i","hook":"input","policy":"drop"}},` +
		`{"rule":{"family":"ip","table":"t","chain":"i","expr":[{"match":{"right":112}},{"accept":null}]}}]}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if rules, err := parseRules(text); err == nil {
			rules.keepsOut(need{"n", []string{"112", ""}})
		}
	})
}
